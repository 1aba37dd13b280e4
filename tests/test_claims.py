"""The registry of claims: its verdicts can fail, its numbers are those of the theory, and the command tells."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import exit_codes
from lsa_jax.claims import case as cases
from lsa_jax.claims import command, errors, families, minimisers, registry, report, sensitivity, shots, slips, universality
from lsa_jax.claims.findings import Claim, Finding
from lsa_jax.claims.settings import Settings, thorough

QUICK = Settings(prompts=400_000)
SIZES = [
    Settings(dim=3, shots=12, pretraining_shots=15, covariance="power_law:1", noise_std=0.5),
    Settings(dim=5),
    Settings(dim=8, shots=30, pretraining_shots=50, prior="gaussian", covariance="rotated:power_law:0.5", noise_std=0.0),
]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Claims are checked in float64."""
    with jax.enable_x64(True):
        yield


def checked(name: str, settings: Settings) -> dict[str, Finding]:
    """The findings of one claim by case."""
    claim = next(claim for claim in registry.CLAIMS if claim.name == name)
    return {finding.case: finding for finding in claim.check(cases.prepare(settings))}


def test_a_finding_objects_to_each_way_of_being_wrong() -> None:
    good = Finding(
        case="", exact=1.1, stated=1.0, at_limit=1.0, rates={"n": -1.001, "m": None}, simulated=1.101, standard_error=0.001, numerical=1.1
    )
    assert good.holds
    assert good.verdict == "agrees in the limit, +0.1 here; gap falls as n^-1.00; computed apart 1.1000"
    wrong = {
        "stated": {"at_limit": 1.01},
        "computed apart": {"numerical": 1.1001},
        "standard errors off": {"simulated": 1.106},
        "approaches its limit": {"rates": {"n": -0.5}},
        "not finite": {"simulated": float("nan")},
    }
    for reason, change in wrong.items():
        finding = dataclasses.replace(good, **change)
        assert not finding.holds
        assert len(finding.objections) == 1
        assert reason in finding.verdict


def test_a_rate_is_the_power_of_the_gap_and_none_without_one() -> None:
    numbers = cases.large_numbers(4)
    assert cases.rate(3 / numbers, 4, 1.0) == pytest.approx(-1.0)
    assert cases.rate(1e-20 * numbers, 4, 1.0) is None
    assert math.isnan(cases.rate(np.nan * numbers, 4, 1.0) or 0.0)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("settings", SIZES, ids=lambda settings: f"d={settings.dim}")
def test_the_table_of_the_paper_is_approached_at_whole_powers(settings: Settings) -> None:
    case = cases.prepare(settings)
    for regime in errors.REGIMES:
        for cell in errors.cells(regime, settings.dim):
            _, limit, by_shots, by_context = errors._limits(case, regime, cell)
            assert limit == pytest.approx(case.noise_variance + cell.excess * case.size, rel=1e-9, abs=1e-12)
            for gaps in (by_shots - limit, by_context - limit):
                power = cases.rate(gaps, settings.dim, case.size)
                assert power is None or abs(power - round(power)) < 0.05, (regime, cell)
                assert power is None or power < -0.9


def test_a_law_of_covariates_with_false_cumulants_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    false = lsa.CovariateLaw(lsa.prompts.rademacher, 0.0, 0.0)
    monkeypatch.setattr(universality, "LAWS", {"Rademacher": lsa.prompts.rademacher, "false": false})
    true, untrue = checked("universality", dataclasses.replace(SIZES[0], prompts=60_000)).values()
    assert true.holds, true.verdict
    assert true.rates["n"] == pytest.approx(-1, abs=1e-3)
    assert true.exact < 0.99 * untrue.exact, "at finite n the law matters"
    assert "standard errors off" in untrue.verdict


@pytest.mark.slow
def test_rates_of_the_isotropic_case_are_those_of_the_closed_forms() -> None:
    case = cases.prepare(QUICK)
    for regime, expected in (("pretrained", -2), ("value", -1), ("value_auxiliary", None)):
        _, limit, _, by_context = errors._limits(case, regime, errors.cells(regime, 5)[1])
        assert cases.rate(by_context - limit, 5, case.size) == (expected if expected is None else pytest.approx(expected, abs=1e-3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["pretrained", "full", "value", "value_auxiliary", "break-even", "value minimiser", "value_auxiliary scale", "universality"]
)
def test_claims_hold_with_a_precise_simulation(name: str) -> None:
    for finding in checked(name, QUICK).values():
        assert finding.holds, finding.verdict
        assert finding.precise, finding.verdict
        assert finding.standard_error is not None or "across" in finding.case


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretraining optimum", "where full ends", "zero-shot minimisers", "a minimiser that keeps ICL"])
def test_minimisers_are_minima_and_are_reached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minimisers, "STARTS", 4)
    for finding in checked(name, QUICK).values():
        assert finding.holds, finding.verdict
        assert finding.numerical is not None or "order one" in finding.case or name not in {"pretraining optimum", "where full ends"}


def test_break_even_below_the_first_example() -> None:
    (finding,) = shots.break_even(cases.prepare(dataclasses.replace(QUICK, pretraining_shots=1, prompts=50_000)))
    assert finding.exact < 0
    assert finding.holds, finding.verdict
    assert not finding.precise
    assert "too noisy to count" in finding.verdict


def test_a_jackknife_estimates_a_ratio_without_bias() -> None:
    def sums(key: jax.Array, prompts: int) -> tuple[jax.Array, jax.Array]:
        x = jax.random.normal(key, (prompts,)) + 1
        return jnp.sum(x**2), jnp.sum(x)

    case = cases.prepare(dataclasses.replace(QUICK, prompts=500))
    mean, error = case.jackknife(0, sums, lambda total: total[0] / total[1])
    assert abs(mean - 2) < 5 * error
    assert error == pytest.approx((2 / 500) ** 0.5, rel=0.5)


def test_the_pretraining_optimum_is_isolated_but_for_its_scale() -> None:
    (flat, negative) = minimisers.pretraining_is_isolated(cases.prepare(SIZES[0]))
    assert (flat.exact, negative.exact) == (1, 0)


def test_a_false_closed_form_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case, true = cases.prepare(QUICK), cases.prepare(QUICK).pretrained()
    monkeypatch.setattr(minimisers, "STARTS", 1)
    monkeypatch.setattr(cases.Case, "pretrained", lambda self, shots=None: lsa.Params(value=true.value, query_key=1.02 * true.query_key))
    monkeypatch.setattr(cases.Case, "jackknife", lambda *_: (None, None))
    assert not all(finding.holds for finding in minimisers.pretraining_minimum(case))


def test_numbers_of_the_theory() -> None:
    case = cases.prepare(QUICK)
    assert float(shots.break_even_shots(case, case.pretrained())) == pytest.approx(2.609375, abs=1e-12)
    scale, late, *_ = slips.slips(case)
    assert (scale.used, scale.right) == pytest.approx((20 / 26, 21 / 26.5))
    assert scale.risk_used > scale.risk_right
    assert (late.used, late.right) == pytest.approx((0.6626262626, 0.6540880503))


def test_members_of_both_families_are_no_accident() -> None:
    case = cases.prepare(SIZES[0])
    for params in families.members(case).values():
        moved = lsa.Params(value=params.value, query_key=params.query_key.at[0, 0].add(0.1))
        assert lsa.population_risk(params, case.problem, case.target_task, 0) == pytest.approx(0.25, abs=1e-12)
        assert lsa.population_risk(moved, case.problem, case.target_task, 0) > 0.251


@pytest.mark.slow
def test_dropped_assumptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "LAWS", {"Rademacher": lsa.prompts.rademacher})
    monkeypatch.setattr(sensitivity, "STEPS", (100,))
    case = cases.prepare(QUICK)
    rows = {(row.dropped, row.error): row for row in sensitivity.sensitivities(case)}
    outside = rows["query token outside the sum", "value, n = 0, θ₀"]
    assert (outside.assumed, outside.changed) == pytest.approx((0.3222222222, 1.1))
    assert rows["normaliser 1/n, pretrained with it", "pretrained, n = 20, θ₀"].changed == pytest.approx(0.3452830189)
    small, large = (rows[f"a pool of {pool} pairs", "value, n = 0, θ₀"] for pool in (1000, 100_000))
    assert large.changed - large.assumed == pytest.approx((small.changed - small.assumed) / 100, rel=0.5)
    light = rows["covariates: Rademacher", "pretrained, n = 20, θ₀"]
    assert light.changed + 5 * light.standard_error < light.assumed
    assert rows["published optimiser, not flow", "scale w of full"].changed == pytest.approx(0.6653, rel=0.01)


def test_without_the_query_in_the_sum_nothing_is_predicted_from_it() -> None:
    params = lsa.Params(value=jnp.ones((4, 4)), query_key=jnp.ones((4, 4)))
    query, example = jnp.array([1.0, 2.0, 3.0, 0.0]), jnp.array([1.0, 1.0, 0.0, 2.0])
    assert sensitivity.predict_without_query(params, query[None], 1) == 0
    assert sensitivity.predict_without_query(params, jnp.stack([example, query]), 2) == pytest.approx(4 * (4 * 6) / 2)


def test_the_command_exits_with_1_and_says_why_when_a_claim_is_false(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = registry.CLAIMS[0]
    false = dataclasses.replace(true, name="false", check=lambda case: [Finding(case="zero-shot", stated=1.0, exact=1.1)])
    for module in (report, command):
        monkeypatch.setattr(module, "CLAIMS", (dataclasses.replace(true, check=lambda case: [Finding(case="all", exact=1.0)]), false))
        monkeypatch.setattr(report, "slips", lambda case: [])
        monkeypatch.setattr(report, "sensitivities", lambda case: [])
    assert command.run(QUICK, grid=False, out=tmp_path, quiet=True) == exit_codes.CLAIM_FAILED
    assert "is 1.1 where 1 is stated" in capsys.readouterr().out
    content = json.loads((tmp_path / "verify.json").read_text())
    assert [row["holds"] for row in content["findings"]] == [True, False]
    assert "## false" in (tmp_path / "verify.md").read_text()
    assert command.run(QUICK, grid=True, out=None, quiet=True) == exit_codes.CLAIM_FAILED


def test_an_audit_that_cannot_be_written_is_not_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command.reports, "verify", lambda *_: pytest.fail("claims were checked"))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        command.run(QUICK, grid=False, out=tmp_path / "file", quiet=True)


def test_bad_settings_are_refused_before_anything_is_computed() -> None:
    for change in ({"dim": 0}, {"shots": 0}, {"prompts": 10}, {"seed": -1}, {"covariance": "isotropc"}, {"prior": "sphere:-1"}):
        with pytest.raises(ValueError, match=r".") as error:
            cases.prepare(dataclasses.replace(QUICK, **change))
        assert "\n" not in str(error.value)


def test_every_claim_says_what_it_rests_on() -> None:
    names = [claim.name for claim in registry.CLAIMS]
    assert len(set(names)) == len(names)
    for claim in registry.CLAIMS:
        assert all(getattr(claim, field.name) for field in dataclasses.fields(Claim))


@pytest.mark.slow
def test_the_grid_holds() -> None:
    found = report.verify(thorough(QUICK))
    worst = report.worst_cases(found)
    assert found.holds, worst["verdict"].tolist()
    assert np.isfinite(worst["worst_deviation"]).all()
