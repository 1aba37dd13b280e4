"""Terms that protect what was learned, and low-rank sets: against exact Fisher matrices, gradients on prompts, and definitions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import STANDARD_ERRORS
from jax.flatten_util import ravel_pytree
from oracles import quadrature_prompts

import lsa_jax as lsa
from lsa_jax import experiment, objectives, prompts
from lsa_jax.objectives import TERMS, empirical_fisher

DIM, SHOTS = 2, 6
KEY = jax.random.key(0)
PROBLEM = lsa.LinearRegression(covariance=jnp.array([[1.0, 0.3], [0.3, 0.5]]), noise_std=0.4)
PRIOR, TASK = lsa.SpherePrior(dim=DIM), jnp.array([0.8, -0.6])
START = lsa.optima.balanced(lsa.optima.pretrained(PROBLEM, PRIOR, SHOTS), 0.0)
SETTING = lsa.Setting(dim=DIM, steps=200, batch_size=64, pretraining_shots=SHOTS, learning_rate=0.02)


def inputs(train: str = "all") -> objectives.Inputs:
    """Exact risks and distances."""
    return lsa.lab.exact_inputs(PROBLEM, PRIOR, TASK, SHOTS, train=train)


def elsewhere(seed: int) -> lsa.Params:
    """Parameters a random step away from the start."""
    moves = 0.3 * jax.random.normal(jax.random.key(seed), (2, DIM + 2, DIM + 2))
    return lsa.Params(value=START.value + moves[0], query_key=START.query_key + moves[1])


def value_of(term: str, params: lsa.Params, given: objectives.Inputs) -> float:
    """A term at some parameters, for a run from START."""
    one = TERMS[term]
    return float(jax.jit(lambda params: one.loss(given, KEY, params, one.prepare(given, KEY, START)))(params))


def test_ewc_weighs_moves_with_the_diagonal_of_the_exact_fisher() -> None:
    moved = elsewhere(1)
    step, fisher = (ravel_pytree(tree)[0] for tree in (moved, lsa.fisher_diagonal(START, PROBLEM, PRIOR, SHOTS)))
    wanted = np.sum(fisher * (step - ravel_pytree(START)[0]) ** 2) / 2
    np.testing.assert_allclose(value_of("ewc", moved, inputs()), wanted, rtol=1e-10)


def test_ewc_knows_no_scale_and_l2_sp_does() -> None:
    scaled = [lsa.Params(value=2.0 * one.value, query_key=one.query_key / 2.0) for one in (START, elsewhere(1))]
    for term, same in (("ewc", True), ("l2_sp", False)):
        prepared = TERMS[term].prepare(inputs(), KEY, scaled[0])
        found = float(TERMS[term].loss(inputs(), KEY, scaled[1], prepared))
        assert np.isclose(found, value_of(term, elsewhere(1), inputs()), rtol=1e-10) == same


@pytest.mark.slow
def test_full_ewc_weighs_moves_with_the_exact_fisher() -> None:
    moved = elsewhere(1)
    step = ravel_pytree(moved)[0] - ravel_pytree(START)[0]
    fisher = lsa.fisher(START, PROBLEM, PRIOR, SHOTS)
    np.testing.assert_allclose(value_of("ewc_full", moved, inputs()), step @ fisher @ step / 2, rtol=1e-10)


@pytest.mark.slow
def test_ewc_of_a_set_sees_that_set_alone() -> None:
    moved = elsewhere(2)
    only_value = moved.replace(query_key=START.query_key)
    assert value_of("ewc", moved, inputs("value")) == pytest.approx(value_of("ewc", only_value, inputs()), rel=1e-10)


@pytest.mark.parametrize("term", ["distillation", "distillation_target", "distillation_zero_shot"])
def test_distillation_is_the_distance_of_predictions_on_its_prompts(term: str) -> None:
    moved = elsewhere(3)
    tasks = PRIOR if term == "distillation" else TASK
    shots = 0 if term == "distillation_zero_shot" else SHOTS
    wanted = lsa.prediction_distance(moved, START, PROBLEM, tasks, shots)
    np.testing.assert_allclose(value_of(term, moved, inputs()), wanted, rtol=1e-12)


@pytest.mark.parametrize("tasks", [PRIOR, TASK], ids=["prior", "task"])
def test_sampled_distance_has_the_exact_mean(tasks: Any) -> None:
    moved, exact = elsewhere(4), objectives.exact_distance(PROBLEM, tasks)
    sampled = jax.jit(objectives.sampled_distance(PROBLEM, tasks, 4000), static_argnums=3)
    batches = np.array([sampled(jax.random.key(seed), moved, START, SHOTS) for seed in range(100)])
    error = batches.std(ddof=1) / len(batches) ** 0.5
    wanted = float(jax.jit(exact)(KEY, moved, START, SHOTS))
    assert error < 0.01 * wanted
    assert abs(batches.mean() - wanted) < STANDARD_ERRORS * error


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_fisher_is_the_mean_square_of_gradients_on_drawn_prompts(count: int) -> None:
    def squares(key: jax.Array) -> jax.Array:
        task = prompts.sample_task(jax.random.fold_in(key, 0), PRIOR)
        tokens = prompts.sample_prompt(jax.random.fold_in(key, 1), PROBLEM, task, SHOTS).tokens
        return ravel_pytree(jax.grad(lsa.predict)(START, tokens))[0] ** 2

    drawn = jax.jit(jax.vmap(squares))(jax.random.split(jax.random.key(5), count))
    error = jnp.std(drawn, axis=0) / count**0.5
    exact = ravel_pytree(lsa.fisher_diagonal(START, PROBLEM, PRIOR, SHOTS))[0]
    acts = np.asarray(exact) > 0
    assert acts.sum() == (DIM + 2) + (DIM + 2) * (DIM + 1)
    assert (np.abs(drawn.mean(axis=0) - exact) <= STANDARD_ERRORS * error)[acts].all()
    assert (error[acts] < 0.2 * exact[acts]).all()


RULE = np.polynomial.hermite_e.hermegauss(7)
"""Nodes and weights for covariates, in which squared gradients of the loss are of degree 8."""


def test_the_empirical_fisher_is_that_of_quadrature() -> None:
    problem, prior, shots = lsa.LinearRegression(jnp.eye(1), 0.5), lsa.SpherePrior(dim=1), 1
    given = lsa.lab.exact_inputs(problem, prior, jnp.ones(1), shots)
    start = lsa.optima.pretrained(problem, prior, shots)
    row, block, wanted = start.value[-1], start.query_key, 0
    for sign in (-1.0, 1.0):
        coordinates = RULE[0], RULE[1] / RULE[1].sum()
        tokens, labels, weights = quadrature_prompts(np.eye(1), 0.5, np.array([sign]), shots, coordinates)
        grams, queries = np.einsum("pti,ptj->pij", tokens, tokens) / (shots + 1), tokens[:, -1]
        slope_value = np.einsum("pij,jk,pk->pi", grams, block, queries)
        slope_block = np.einsum("i,pij,pk->pjk", row, grams, queries)
        residual = labels - np.einsum("i,pi->p", row, slope_value)
        slopes = np.concatenate([slope_value, slope_block.reshape(len(labels), -1)], axis=1)
        wanted = wanted + (weights * residual**2) @ slopes**2 / 2
    diagonal = jax.jit(lambda key: empirical_fisher.empirical_diagonal(given, key, start))
    found = np.array([diagonal(jax.random.key(seed)) for seed in range(16)])
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5
    of_row = jnp.zeros((3, 3)).at[-1].set(wanted[:3])
    exact = np.asarray(ravel_pytree(lsa.Params(value=of_row, query_key=jnp.asarray(wanted[3:]).reshape(3, 3)))[0])
    acts = exact > 0
    assert acts.sum() >= 6
    np.testing.assert_array_equal(found[:, ~acts], 0)
    assert (np.abs(found.mean(axis=0) - exact) < STANDARD_ERRORS * error)[acts].all()
    assert (error < 0.05 * exact)[acts].all()


@pytest.mark.slow
def test_squares_of_batch_gradients_are_the_empirical_fisher_over_the_batch() -> None:
    batch, count = 8, 40_000
    given = dataclasses.replace(inputs(), prior_risk=objectives.fresh_prompts(PROBLEM, PRIOR, batch, sampler="tokens"))
    slope = jax.grad(lambda params, key: given.prior_risk(key, params, SHOTS) / 2)
    squares = jax.jit(lambda keys: jax.lax.map(lambda key: ravel_pytree(slope(START, key))[0] ** 2, keys, batch_size=500))
    drawn = batch * np.asarray(squares(jax.random.split(jax.random.key(6), count)))
    diagonal = jax.jit(lambda key: empirical_fisher.empirical_diagonal(given, key, START))
    single = np.array([diagonal(jax.random.key(seed)) for seed in range(8)])
    exact, found = single.mean(axis=0), drawn.mean(axis=0)
    error = np.hypot(*(one.std(axis=0, ddof=1) / len(one) ** 0.5 for one in (drawn, single)))
    acts = exact > 0
    assert (np.abs(found - exact) < STANDARD_ERRORS * error)[acts].all()
    assert (error < 0.05 * exact)[acts].all()


@pytest.mark.parametrize("term", ["ewc", pytest.param("ewc_empirical", marks=pytest.mark.slow)])
@pytest.mark.parametrize("gradient", ["population", "sampled"])
def test_terms_train_in_both_engines_and_a_heavy_one_holds_the_model(gradient: str, term: str) -> None:
    setting = dataclasses.replace(SETTING, gradient=gradient)
    lineage = experiment.draw(setting, PROBLEM.covariance, PRIOR, TASK)
    parent = experiment.train(setting, lineage, lsa.regimes.PAPER[0], {})
    moved = []
    for weight in (0.01, 100.0):
        regime = lsa.Regime(name="held", loss={"zero_shot": 1.0, term: weight})
        run = experiment.train(setting, lineage, regime, {}, parent)
        moved.append(float(jnp.sum((ravel_pytree(run.params)[0] - ravel_pytree(parent.params)[0]) ** 2)))
    assert 0 < moved[1] < moved[0] / 10


def test_low_rank_moves_its_set_alone_and_by_no_more_than_its_rank() -> None:
    lineage = experiment.draw(SETTING, PROBLEM.covariance, PRIOR, TASK)
    parent = experiment.train(SETTING, lineage, lsa.regimes.PAPER[0], {})
    regime = lsa.Regime(name="adapted", loss={"zero_shot": 1.0}, train="lora(1, query_key)")
    run = experiment.train(SETTING, lineage, regime, {}, parent)
    change = np.asarray(run.params.query_key - parent.params.query_key)
    np.testing.assert_array_equal(run.params.value, parent.params.value)
    spectrum = np.linalg.svd(change)[1]
    assert spectrum[0] > 1e-3
    assert spectrum[1] < 1e-12 * spectrum[0]


def test_columns_beyond_a_swept_rank_do_not_move() -> None:
    def descended(train: str, **knobs: float) -> lsa.Params:
        given = dataclasses.replace(inputs(), knobs={**inputs().knobs, **knobs})
        goal = lsa.Regime(name="adapted", loss={"zero_shot": 1.0}, train=train).objective(given)
        aux, factors = goal.prepare(KEY, START), goal.enter(KEY, START)
        slope = jax.jit(jax.grad(lambda factors: goal.loss(KEY, factors, 0.0, aux)))
        for _ in range(3):
            factors = jax.tree.map(lambda leaf, change: leaf - 0.05 * change, factors, slope(factors))
        return goal.leave(factors, aux)

    alone, low, high = descended("lora(1)"), *(descended("lora([1, 3])", **{"adapted.rank": rank}) for rank in (1.0, 3.0))
    np.testing.assert_allclose(ravel_pytree(low)[0], ravel_pytree(alone)[0], rtol=1e-12, atol=1e-12)
    assert np.abs(low.value - START.value).max() > 1e-3
    assert np.abs(high.value - low.value).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear", "transformer"])
def test_a_rank_of_a_sweep_trains_what_it_trains_alone(model: str, tmp_path: Any) -> None:
    deep = {"model": "transformer", "layers": 2, "heads": 2, "simulation_prompts": 10, "simulation_shots": [4]}
    spec: dict[str, Any] = {"dim": 2, "seed": [0], "steps": 40, "gradient": "sampled", "batch_size": 8, "evaluation_shots": [4, "inf"]}
    spec |= {"dtype": "float64", "learning_rate": 0.05, "test_tasks": ["target"], **(deep if model == "transformer" else {})}
    found = {}
    for name, train in (("swept", "lora([1, 3], value)"), ("alone", "lora(1, value)")):
        regime = lsa.Regime(name="adapted", loss={"zero_shot": 1.0}, train=train)
        lsa.run_sweep({**spec, "regimes": [regime], "regime": ["adapted"]}, tmp_path / name)
        frame = lsa.load(tmp_path / name).frame
        found[name] = frame[(frame["metric"] == "risk") & np.isinf(frame["evaluation_shots"])]
    swept = found["swept"].set_index("rank")["value"]
    assert list(swept.index) == [1.0, 3.0]
    np.testing.assert_allclose(swept[1.0], found["alone"]["value"].iloc[0], rtol=1e-9)
    assert abs(swept[3.0] / swept[1.0] - 1) > 1e-6


def test_rank_one_on_v_reaches_every_v() -> None:
    lineage = experiment.draw(SETTING, PROBLEM.covariance, PRIOR, TASK)
    start = experiment.train(SETTING, lineage, lsa.regimes.PAPER[0], {})
    setting = dataclasses.replace(SETTING, steps=4000)
    regime = lsa.Regime(name="adapted", loss={"zero_shot": 1.0}, train="lora(1, value)")
    run = experiment.train(setting, lineage, regime, {}, start)
    reached = lsa.population_risk(run.params, PROBLEM, TASK, 0)
    least = lsa.population_risk(lsa.optima.value(start.params, PROBLEM, TASK), PROBLEM, TASK, 0)
    before = lsa.population_risk(start.params, PROBLEM, TASK, 0)
    assert before > least + 0.01
    assert abs(reached - least) < 1e-3 * (before - least)


def test_remedies_are_axes_of_a_sweep(tmp_path: Any) -> None:
    regimes = [
        lsa.Regime(name="kept", loss={"zero_shot": 1.0, "distillation": [0.1, 1.0]}, train="value"),
        lsa.Regime(name="adapted", loss={"zero_shot": 1.0}, train="lora(1)"),
    ]
    spec = {"regimes": regimes, "regime": ["kept", "adapted"], "dim": 2, "seed": [0], "steps": 50, "gradient": "sampled", "batch_size": 16}
    progress = lsa.run_sweep({**spec, "evaluation_shots": [0, 20]}, tmp_path / "sweep")
    frame = lsa.load(tmp_path / "sweep").frame
    assert progress.failed == 0
    risks = frame[frame["metric"] == "risk"]
    assert sorted(risks.loc[risks["regime"] == "kept", "weight_distillation"].unique()) == [0.1, 1.0]
    assert np.isfinite(risks["value"]).all()
