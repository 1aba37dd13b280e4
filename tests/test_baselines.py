"""Baselines, quantiles and rates of regimes in sweeps: their numbers against the estimators themselves, and what is refused."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lsa_jax as lsa
from lsa_jax import estimators, plotting, squared_errors
from lsa_jax.sweeps import plan, spec

SPEC: dict[str, Any] = {
    "dim": 3,
    "seed": "0:2",
    "steps": 30,
    "regime": "tuned",
    "regimes": {"tuned": {"loss": {"zero_shot": 1.0}, "train": "value", "rate": [0.003, 0.01], "steps": 20}},
    "evaluation_shots": [0, 5, "inf"],
    "simulation_prompts": 4000,
    "simulation_quantiles": [0.5, 0.9],
    "baselines": ["zero", "ridge"],
    "dtype": "float64",
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Records of the sweep."""
    out = tmp_path_factory.mktemp("baselines")
    lsa.run_sweep(SPEC, out)
    return lsa.load(out).frame


def of(records: pd.DataFrame, **chosen: Any) -> pd.Series:
    """Values of the rows that have these entries."""
    for name, value in chosen.items():
        records = records[records[name] == value]
    return records["value"]


def test_baselines_have_rows_of_their_own(records: pd.DataFrame) -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.1**0.5)
    assert set(records["regime"]) == {"tuned", *SPEC["baselines"]}
    for name in SPEC["baselines"]:
        rows = records[records["regime"] == name]
        assert set(rows["metric"]) == {"simulated_risk", "standard_error", "quantile_0.5", "quantile_0.9"}
        assert set(rows["evaluation_shots"]) == {0.0, 5.0}
        assert not rows["diverged"].any()
    task = jnp.array([0.6, -0.8, 0.0])
    penalty = estimators.ridge_penalty(problem, lsa.SpherePrior(dim=3))
    alone = lsa.empirical_risk(jax.random.key(1), penalty, problem, task, 5, 40_000, model=estimators.ridge)
    for seed in (0, 1):
        found, error = (
            float(of(records, regime="ridge", seed=seed, evaluation_shots=5, metric=name).mean())
            for name in ("simulated_risk", "standard_error")
        )
        assert abs(found - float(alone.mean)) < 5 * (error**2 + float(alone.standard_error) ** 2) ** 0.5
        zero = of(records, regime="zero", seed=seed, metric="simulated_risk")
        np.testing.assert_allclose(zero, 1.1, atol=5 * 1.1 * (2 / 4000) ** 0.5)


def test_quantiles_are_those_of_the_drawn_errors(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    task, key = jnp.eye(5)[0], jax.random.key(3)
    estimate = lsa.empirical_risk(key, pretrained, problem, task, 7, 1000, quantiles=(0.1, 0.5))
    drawn = squared_errors.projected_errors(jax.random.fold_in(key, 0), pretrained, problem, task[:, None], 7, 1000)
    assert estimate.quantiles is not None
    np.testing.assert_allclose(np.asarray(estimate.quantiles), np.quantile(np.asarray(drawn), [0.1, 0.5]), rtol=1e-12)
    assert lsa.empirical_risk(key, pretrained, problem, task, 7, 1000).quantiles is None


def test_quantiles_stand_in_order_in_records(records: pd.DataFrame) -> None:
    half, most = (of(records, metric=name).to_numpy() for name in ("quantile_0.5", "quantile_0.9"))
    assert len(half) == len(most) > 0
    assert np.all(half < most)


def test_rates_branch_from_one_pretraining(records: pd.DataFrame) -> None:
    (group,) = plan.plan(spec.read(SPEC))
    assert [branch.regime for branch in group.trainings] == ["pretrained", "tuned", "tuned"]
    slow, fast = (of(records, rate=rate, metric="risk", test_task="target", evaluation_shots=0) for rate in (0.003, 0.01))
    assert len(slow) == len(fast) == 2
    assert np.all(fast.to_numpy() < slow.to_numpy())


@pytest.mark.slow
def test_rate_and_steps_of_the_setting_are_the_default(tmp_path: Path) -> None:
    own = {"rate": 0.01, "steps": 30}
    found = []
    for name, table in (("own", own), ("plain", {})):
        regimes = {"tuned": {"loss": {"zero_shot": 1.0}, "train": "value", "stream": 70, **table}}
        lsa.run_sweep({**SPEC, "regimes": regimes, "simulation_prompts": 0, "simulation_quantiles": [], "baselines": []}, tmp_path / name)
        found.append(lsa.load(tmp_path / name).frame)
    np.testing.assert_array_equal(found[0]["value"], found[1]["value"])


def test_baselines_are_lines_in_every_panel(records: pd.DataFrame) -> None:
    numbers = plotting.sweep_numbers(records, "evaluation_shots")
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    assert [axes.get_title() for axes in figure.axes][:1] == ["tuned"]
    greys = [line for line in figure.axes[0].lines if line.get_color() == "0.55"]
    assert len(greys) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"zero", "ridge"} <= set(labels)


BAD = {
    "unknown": ({"baselines": ["rigde"]}, r"unknown baseline 'rigde'.*Did you mean 'ridge'"),
    "no prompts": (
        {"simulation_prompts": 0},
        r"simulation_quantiles and baselines are measured on simulated prompts: set simulation_prompts",
    ),
    "no noise": ({"noise_std": [0.0, 1.0]}, r"baseline 'ridge' needs noise_std above 0: leave it out, or take least_squares"),
    "no pool": ({"baselines": ["pool_mean"]}, r"baseline 'pool_mean' is the Bayes estimator of a finite pool of tasks: take ridge"),
    "infinite": (
        {"pretraining_shots": "inf", "baselines": ["descent_1"]},
        r"baseline 'descent_1' is fitted to contexts of pretraining_shots examples, which are infinite",
    ),
    "all infinite": ({"evaluation_shots": ["inf"]}, r"baselines see finite prompts, but all simulation_shots are infinite"),
    "level": ({"simulation_quantiles": [1.5]}, r"simulation_quantiles is 1.5; it must be a finite number, at least 0 and at most 1"),
    "rate": ({"regimes": {"tuned": {"loss": {"zero_shot": 1.0}, "rate": 0.0}}}, r"rate of regime 'tuned' is 0.0; it must be .* above 0"),
    "steps": ({"regimes": {"tuned": {"loss": {"zero_shot": 1.0}, "steps": 0}}}, r"steps of regime 'tuned' is 0; it must be a whole number"),
    "name": ({"regime": "ridge", "regimes": {"ridge": {"loss": {"zero_shot": 1.0}}}}, r"ridge is a baseline and the name of a regime"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_measured_is_refused(case: str) -> None:
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        plan.plan(spec.read({**SPEC, **changes}))
