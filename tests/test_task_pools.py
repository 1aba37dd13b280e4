"""Pools of pretraining tasks as an axis of sweeps: drawn once a seed, measured on themselves, on their law and on single tasks."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from agreement import assert_agrees

import lsa_jax as lsa
from lsa_jax import estimators, experiment, optima

SMALL = {
    "dim": 3,
    "num_tasks": 4,
    "regime": "pretrained",
    "seed": "0:2",
    "pretraining_shots": 12,
    "evaluation_shots": [0, 12, "inf"],
    "test_tasks": ["target", "pool", "prior"],
    "dtype": "float64",
}


def errors(records: pd.DataFrame, **chosen: Any) -> np.ndarray:
    """Values of records in the order of their seeds."""
    rows = records
    for name, value in chosen.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("seed")["value"].to_numpy()


def drawn(seed: int, num_tasks: float) -> experiment.Lineage:
    """The lineage of a seed."""
    with jax.enable_x64(True):
        setting = lsa.Setting(dim=3, seed=seed, num_tasks=num_tasks)
        return experiment.draw(setting, jnp.eye(3), lsa.SpherePrior(dim=3))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A sweep of closed forms, with simulated errors and two baselines beside them."""
    spec = {**SMALL, "gradient": "closed_form", "simulation_prompts": 20_000, "simulation_shots": [12], "baselines": ["ridge"]}
    out = tmp_path_factory.mktemp("closed")
    lsa.run_sweep(spec, out)
    return lsa.load(out).frame


def test_pools_differ_by_seed_and_are_their_own_law() -> None:
    one, other, again = (drawn(seed, 4.0).prior for seed in (0, 1, 0))
    assert isinstance(one, lsa.FiniteTasks)
    assert isinstance(other, lsa.FiniteTasks)
    assert isinstance(again, lsa.FiniteTasks)
    assert one.tasks.shape == (4, 3)
    assert jnp.array_equal(one.tasks, again.tasks)
    assert not jnp.allclose(one.tasks, other.tasks)
    assert isinstance(drawn(0, jnp.inf).prior, lsa.SpherePrior)


def test_records_hold_exact_averages_over_pool_and_prior(closed: pd.DataFrame) -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.1**0.5)
    for seed in (0, 1):
        lineage = drawn(seed, 4.0)
        model = optima.pretrained_slice(problem, lineage.prior, 12)
        for law, name in ((lineage.prior, "pool"), (lineage.law, "prior")):
            told = errors(closed, regime="pretrained", metric="risk", test_task=name, evaluation_shots=12.0)
            assert told[seed] == pytest.approx(float(lsa.prior_risk(model, problem, law, 12)), rel=1e-9)
    on_pool, on_prior = (errors(closed, metric="risk", test_task=name, evaluation_shots=12.0) for name in ("pool", "prior"))
    assert np.all(on_pool < on_prior)
    assert np.isfinite(closed["value"]).all()


def test_simulated_errors_over_laws_are_the_exact_ones(closed: pd.DataFrame) -> None:
    where = {"regime": "pretrained", "evaluation_shots": 12.0}
    for name in ("pool", "prior"):
        exact, mean, error = (
            errors(closed, metric=metric, test_task=name, **where) for metric in ("risk", "simulated_risk", "standard_error")
        )
        assert np.all(np.abs(mean - exact) < 5 * error)
        assert np.all(error < 0.02 * exact)
    ridge = errors(closed, regime="ridge", metric="simulated_risk", test_task="prior")
    others = errors(closed, regime="pretrained", metric="risk", test_task="prior", evaluation_shots=12.0)
    assert np.all(ridge < others), "fitted to the law, not to the pool"


def test_averages_over_a_law_are_simulated_where_they_are_not_exact(tmp_path: Path) -> None:
    deep = {"model": "transformer", "layers": 2, "gradient": "sampled", "steps": 5, "batch_size": 8, "simulation_prompts": 200_000}
    asked = {"num_tasks": "inf", "seed": 0, "evaluation_shots": [0, "inf"], "test_tasks": ["target", "opposite", "prior"]}
    lsa.run_sweep({**SMALL, **deep, **asked}, tmp_path)
    records = lsa.load(tmp_path).frame
    assert set(records.loc[records["metric"] == "risk", "test_task"]) == {"target", "opposite"}
    drawn = records[records["evaluation_shots"] == 0].pivot_table(index="test_task", columns="metric", values="value", observed=True)
    means, spread = drawn["simulated_risk"], drawn["standard_error"]
    # Without examples a prediction knows no task, so that two opposite ones of unit length are as good as all of them.
    error = (spread["prior"] ** 2 + (spread["target"] ** 2 + spread["opposite"] ** 2) / 4) ** 0.5
    assert_agrees(means["prior"], error, (means["target"] + means["opposite"]) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["population", "sampled"])
def test_training_on_a_pool_ends_no_higher_than_its_slice_unless_it_is_flagged(gradient: str, tmp_path: Path) -> None:
    spec = {**SMALL, "gradient": gradient, "num_tasks": [4, "inf"], "steps": 3000, "batch_size": 512, "learning_rate": 0.02}
    lsa.run_sweep(spec, tmp_path)
    records = lsa.load(tmp_path).frame
    for num_tasks in (4.0, np.inf):
        where = {"regime": "pretrained", "test_task": "pool", "num_tasks": num_tasks, "evaluation_shots": 12.0}
        trained, closed = (errors(records, metric=metric, **where) for metric in ("risk", "optimum_risk"))
        flagged = errors(records.assign(value=records["above_minimum"]), metric="risk", **where).astype(bool)
        assert not flagged.all(), "some starts end in a spurious minimum, as they do without a pool"
        assert np.all(trained[~flagged] < 1.02 * closed[~flagged])
        assert np.all(trained[flagged] > 1.1 * closed[flagged])
        assert np.all(trained > 0.1)


def test_risks_of_estimators_over_a_pool_come_with_standard_errors() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
    pool = lsa.FiniteTasks(tasks=jnp.array([[1.0, 0.0], [0.0, 2.0]]))
    zero = lsa.empirical_risk(jax.random.key(0), None, problem, pool, 3, 200_000, model=estimators.zero)
    assert_agrees(float(zero.mean), float(zero.standard_error), 0.25 + (1 + 4) / 2)
    params = lsa.models.LINEAR.init(jax.random.key(1), 2, 0.3)
    for sampler in ("tokens", "projected"):
        found = lsa.empirical_risk(jax.random.key(2), params, problem, pool, 3, 400_000, sampler=sampler)
        assert_agrees(float(found.mean), float(found.standard_error), float(lsa.prior_risk(params, problem, pool, 3)))


BAD = {
    "laws alone": ({"test_tasks": ["pool"]}, "test_tasks has no single task beside pool: add 'target'"),
    "no tasks": ({"num_tasks": 0}, "num_tasks is 0; it must be a whole number, at least 1"),
    "deep": (
        {"model": "transformer", "layers": 2, "gradient": "sampled", "evaluation_shots": ["inf"], "test_tasks": ["target", "prior"]},
        "has no exact average over prior sphere: set simulation_prompts, or leave prior out of test_tasks",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_pools_are_refused(case: str, tmp_path: Path) -> None:
    spec, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        lsa.run_sweep(spec, tmp_path)
