"""Benchmarks: ratios are ratios, and the report says what the committed results hold."""

import json
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import agreement, limits, points, prediction, regression, report, risk, samplers, scaling, timing
from lsa_jax import bench

RESULTS = sorted((Path(__file__).parents[1] / "benchmarks" / "results").rglob("*.json"))


def test_a_ratio_is_that_of_the_medians_inside_its_interval() -> None:
    random = np.random.default_rng(0)
    slow, fast = (list(scale * random.uniform(0.9, 1.1, 9)) for scale in (10.0, 2.0))
    ratio, low, high = timing.ratio_interval(slow, fast)
    assert ratio == statistics.median(slow) / statistics.median(fast)
    assert 4 < low <= ratio <= high < 6


def test_ways_are_timed_in_turn_after_one_untimed_call() -> None:
    calls: list[str] = []
    seconds = timing.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert {way: len(rounds) for way, rounds in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_report_tells_medians_and_ratios(path: Path) -> None:
    record = json.loads(path.read_text())
    text = report.report(record)
    for way, rounds in record["seconds"].items():
        assert f"| {way} | {statistics.median(rounds):.3g} |" in text
    for way, (ratio, *_) in record.get("speedup", {}).items():
        assert f"* {way}: {ratio:.3g} times as fast" in text
    for point in record.get("points", []):
        assert f"| {point['name']} |" in text
    assert record["environment"]["versions"]["jax"] in text


def test_answers_that_differ_are_not_timed() -> None:
    drawn = list(np.random.default_rng(0).normal(1.0, 0.1, 40))
    assert abs(agreement.deviation("a peer", drawn, 1.0)["deviation_in_standard_errors"]) < 5
    with pytest.raises(RuntimeError, match="nothing is timed"):
        agreement.deviation("a peer", drawn, 1.2)


def _study() -> dict[str, Any]:
    """A record whose time grows as n² and not with d, and whose memory grows as n."""
    members: list[dict[str, Any]] = []
    for dim, shots in [(2, 8), (4, 8), (8, 8), (8, 16), (8, 32), (8, 64)]:
        sizes = {"d": float(dim), "n": float(shots)}
        members.append({"name": f"d = {dim}, n = {shots}", "series": "work", "sizes": sizes, "memory": 100 * shots})
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (6, 9))
    seconds = {point["name"]: list(point["sizes"]["n"] ** 2 * row) for point, row in zip(members, noise, strict=True)}
    environment = {"device": "cpu", "machine": "test", "versions": {"jax": "0"}}
    shares = {point["name"]: [0.5, 0.4, 0.6, "bytes"] for point in members}
    record = {"case": "study", "unit": "seconds a thing", "points": members, "seconds": seconds, "share_of_limit": shares}
    return {**record, "environment": environment}


def test_exponents_are_those_of_the_work() -> None:
    record = _study()
    found = {line["size"]: scaling.exponents(record, line) for line in scaling.lines(record)}
    assert found["n"]["time"][0] == pytest.approx(2, abs=0.02)
    assert found["n"]["time"][1] <= found["n"]["time"][0] <= found["n"]["time"][2]
    assert found["n"]["memory"] == pytest.approx(1)
    assert found["d"]["time"][0] == pytest.approx(0, abs=0.02)


def test_the_scaling_figure_shows_medians_limits_and_memory() -> None:
    figure = scaling.plot(_study())
    _, by_shots, _, memory = figure.axes
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "d", "n"]
    np.testing.assert_allclose(np.asarray(memory.lines[0].get_ydata()), np.array([800, 1600, 3200, 6400]) / 2**20)
    drawn, limit = (np.asarray(line.get_ydata()) for line in (by_shots.lines[0], by_shots.lines[-1]))
    np.testing.assert_allclose(drawn, np.array([8, 16, 32, 64]) ** 2, rtol=0.02)
    np.testing.assert_allclose(limit, 0.5 * drawn)


def test_the_regression_check_hears_a_fallen_ratio_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, ratio in (("old", 10.0), ("same", 9.0), ("slow", 5.0)):
        (tmp_path / name).mkdir()
        record = {"speedup": {"engine": [ratio, 0.9 * ratio, 1.1 * ratio]}}
        (tmp_path / name / "case.json").write_text(json.dumps(record))
    for name, code in (("same", 0), ("slow", 1)):
        with pytest.raises(SystemExit) as ended:
            regression.main(tmp_path / name, tmp_path / "old")
        assert ended.value.code == code
    assert "speedup of engine is 5" in capsys.readouterr().out


@pytest.mark.slow
def test_a_point_is_measured_beside_what_the_machine_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PRODUCT_SIZE", 8), ("BLOCK", 64), ("NORMALS", 16), ("DRAWS", 2)):
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(samplers, "PROMPTS", 32)
    measured = [prediction.from_tokens(2, 4, 3), prediction.from_gram(2, 4, 3), samplers.simulated("projected", 2, 4)]
    record = points.measured("case", measured, 2, "prompt", {})
    assert [point["name"] for point in record["points"]] == list(record["seconds"])
    for point in measured:
        share, low, high, binding = record["share_of_limit"][point.name]
        assert 0 < low <= share <= high
        assert binding in point.needs
        assert point.memory > 0
    assert set(record["rates"]) == set(limits.RESOURCES)


def test_the_timed_programs_do_what_they_are_counted_for() -> None:
    values = np.asarray(risk.repeated(8, 5)(jnp.float32(1e3)))
    assert values.shape == (5,)
    assert np.isfinite(values).all()
    assert risk.products(8, 2)(jnp.eye(8)).shape == (8, 8)


def test_the_bench_command_tells_rates_and_writes_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "cases", lambda: [bench.Case("work", "things/s", 10, lambda key: jax.random.normal(key))])
    assert bench.run(tmp_path / "bench.json") == 0
    assert "things/s" in capsys.readouterr().out
    (case,) = json.loads((tmp_path / "bench.json").read_text())["cases"]
    assert len(case["seconds"]) == bench.ROUNDS
    assert case["rate"] == 10 / statistics.median(case["seconds"])


@pytest.mark.slow
def test_what_the_bench_command_times_is_finite_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("STEPS", 2), ("PROMPTS", 50), ("TASKS", 3)):
        monkeypatch.setattr(bench, name, value)
    for case in bench.cases()[:5]:
        assert np.isfinite(jax.jit(case.call)(jax.random.key(0))).all(), case.name
