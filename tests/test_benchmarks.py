"""Benchmarks: ratios are ratios, and the report says what the committed results hold."""

import json
import statistics
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import report, risk, timing
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
    assert record["environment"]["versions"]["jax"] in text


def test_the_timed_programs_do_what_they_are_counted_for() -> None:
    values = np.asarray(risk.repeated(8, 5)(jnp.float32(1e3)))
    assert values.shape == (5,)
    assert np.isfinite(values).all()
    assert risk.products(8, 2)().shape == (8, 8)


def test_the_bench_command_tells_rates_and_writes_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "cases", lambda: [bench.Case("work", "things/s", 10, lambda key: jax.random.normal(key))])
    assert bench.run(tmp_path / "bench.json") == 0
    assert "things/s" in capsys.readouterr().out
    (case,) = json.loads((tmp_path / "bench.json").read_text())["cases"]
    assert len(case["seconds"]) == bench.ROUNDS
    assert case["rate"] == 10 / statistics.median(case["seconds"])


def test_what_the_bench_command_times_is_finite_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("STEPS", 2), ("PROMPTS", 50), ("TASKS", 3)):
        monkeypatch.setattr(bench, name, value)
    for case in bench.cases()[:5]:
        assert np.isfinite(jax.jit(case.call)(jax.random.key(0))).all(), case.name
