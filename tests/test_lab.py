"""The lab: closed-form fronts against direct minimisation, followed fronts against closed forms, and the best front below all of them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from agreement import assert_agrees

import lsa_jax as lsa
from lsa_jax import lab
from lsa_jax.errors import InputError
from lsa_jax.lab.settings import Settings
from lsa_jax.objectives import TERMS

DIM, SHOTS = 2, 10.0
KEY = jax.random.key(0)
PROBLEM = lsa.LinearRegression(covariance=jnp.array([[1.0, 0.3], [0.3, 0.5]]), noise_std=0.4)
PRIOR, TASK = lsa.SpherePrior(dim=DIM), jnp.array([0.8, -0.6])
START = lab.pretrained(PROBLEM, PRIOR, SHOTS)
VALUE = lab.exact_inputs(PROBLEM, PRIOR, TASK, SHOTS, train="value")
ALL = dataclasses.replace(VALUE, train="all")
TERM_NAMES = [name for name in TERMS if name != "zero_shot"]


def with_row(row: Any) -> lsa.Params:
    """The start with another last row of V."""
    return START.replace(value=START.value.at[-1].set(row))


def zero_shot(params: lsa.Params) -> float:
    """The zero-shot error on the target."""
    return float(lsa.population_risk(params, PROBLEM, TASK, 0))


def prior_risk(params: lsa.Params) -> float:
    """The few-shot risk on the prior."""
    return float(lsa.prior_risk(params, PROBLEM, PRIOR, SHOTS))


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", TERM_NAMES)
def test_closed_fronts_are_those_of_direct_minimisation(name: str) -> None:
    term, weight = TERMS[name], 0.7
    prepared = term.prepare(VALUE, KEY, START)

    def loss(row: jax.Array) -> jax.Array:
        return VALUE.target_risk(KEY, with_row(row), 0) + weight * term.loss(VALUE, KEY, with_row(row), prepared)

    compiled = jax.jit(jax.value_and_grad(loss))
    run = scipy.optimize.minimize(lambda row: tuple(map(np.asarray, compiled(row))), START.value[-1], jac=True, tol=1e-13)
    (row,) = lab.value_front(VALUE, START, name, [weight])
    np.testing.assert_allclose(compiled(row)[0], run.fun, rtol=1e-9)
    np.testing.assert_allclose(compiled(row)[1], 0, atol=1e-9)


def test_stopping_early_is_the_gradient_flow() -> None:
    compiled = jax.jit(jax.grad(lambda row: VALUE.target_risk(KEY, with_row(row), 0)))
    run = scipy.integrate.solve_ivp(lambda _, row: -np.asarray(compiled(row)), (0, 1.3), START.value[-1], rtol=1e-10, atol=1e-12)
    (row,) = lab.value_front(VALUE, START, "early_stopping", [1.3])
    np.testing.assert_allclose(row, run.y[:, -1], rtol=1e-7, atol=1e-9)


def test_averaging_ends_at_the_value_optimum() -> None:
    rows = lab.value_front(VALUE, START, "averaging", [0.0, 1.0])
    np.testing.assert_allclose(rows[0], START.value[-1], rtol=1e-12)
    np.testing.assert_allclose(rows[1], lsa.optima.value(START, PROBLEM, TASK).value[-1], atol=1e-10)


@pytest.mark.parametrize("name", ["l2_sp", pytest.param("prior", marks=pytest.mark.slow), pytest.param("ewc", marks=pytest.mark.slow)])
def test_followed_fronts_are_the_closed_ones(name: str) -> None:
    (front,) = lab.fronts(VALUE, START, [name], number=5)
    rows = lab.value_front(VALUE, START, name, front.knobs * front.unit)
    start = zero_shot(START)
    for params, row in zip(front.params.value[:, -1], rows, strict=True):
        assert abs(zero_shot(with_row(params)) - zero_shot(with_row(row))) < 1e-3 * start


def test_early_stopping_of_all_parameters_goes_from_the_start_to_the_noise() -> None:
    (front,) = lab.fronts(ALL, START, ["early_stopping"], number=6)
    errors = lab.table(ALL, [front], START)
    assert (np.diff(errors["zero_shot"]) < 1e-9).all()
    np.testing.assert_allclose(errors["zero_shot"].iloc[0], zero_shot(START), rtol=1e-12)
    np.testing.assert_allclose(errors["zero_shot"].iloc[-1], 0.4**2, rtol=1e-6)
    np.testing.assert_allclose(errors["gain"].iloc[[0, -1]], [0, 1], atol=1e-6)


def test_low_rank_sets_are_stopped_early() -> None:
    (front,) = lab.fronts(ALL, START, ["lora(1)"], number=3)
    for leaf, start in zip(jax.tree.leaves(front.params), jax.tree.leaves(START), strict=True):
        assert [np.linalg.matrix_rank(change, tol=1e-7) for change in np.asarray(leaf - start[None])] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("heads", [1, 2])
def test_no_remedy_is_better_than_the_best_front(heads: int) -> None:
    best, params = lab.best_front(ALL, START, heads, number=7, searches=1)
    for place, row in best.iterrows():
        model = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        np.testing.assert_allclose(lsa.population_risk(model, PROBLEM, TASK, 0), row["zero_shot"], rtol=1e-9)
        np.testing.assert_allclose(lsa.prior_risk(model, PROBLEM, PRIOR, SHOTS), row["prior"], rtol=1e-9)
    replay = lab.table(ALL, lab.fronts(ALL, START, ["prior", "early_stopping"], number=9), START)
    for _, row in best.iterrows():
        better = replay[(replay["zero_shot"] <= row["zero_shot"]) & (replay["prior"] < row["prior"] * (1 - 1e-3))]
        assert better.empty, better


@pytest.mark.slow
def test_a_second_head_lowers_the_best_front() -> None:
    one, two = (lab.best_front(ALL, START, heads, number=4, searches=1)[0] for heads in (1, 2))
    assert two["prior"].iloc[-1] < one["prior"].iloc[-1] - 0.05


def test_errors_at_a_cosine_are_means_over_tasks_in_random_directions() -> None:
    problem, target = lsa.LinearRegression(jnp.diag(jnp.array([2.0, 0.7, 0.3])), 0.4), jnp.array([0.8, -0.6, 0.3])
    moves = 0.5 * jax.random.normal(KEY, (2, 5, 5))
    params = lsa.Params(value=moves[0], query_key=moves[1])
    tasks = jax.vmap(lambda key: lsa.evaluation.task_at_cosine(key, problem, target, 0.3))(jax.random.split(KEY, 4000))
    drawn = lsa.evaluation.error_curves(params, problem, tasks, jnp.array([SHOTS]))[:, 0]
    found = lsa.prior_risk(params, problem, lsa.evaluation.tasks_at_cosine(problem, target, 0.3), SHOTS)
    assert_agrees(float(drawn.mean()), float(drawn.std()) / len(drawn) ** 0.5, float(found))


def test_the_table_holds_errors_by_cosine() -> None:
    row = lab.table(ALL, [], START).iloc[0]
    signed = {"cosine_0.5": 0.5, "cosine_0": 0.0, "cosine_-0.5": -0.5}
    for column, cosine in signed.items():  # in two dimensions there are two tasks at a cosine
        sines = np.array([1.0, -1.0]) * (1 - cosine**2) ** 0.5
        target = np.asarray(PROBLEM.root).T @ TASK
        pair = np.outer([cosine, cosine], target) + np.outer(sines, [-target[1], target[0]])
        tasks = np.linalg.solve(np.asarray(PROBLEM.root).T, pair.T).T
        wanted = np.mean([lsa.population_risk(START, PROBLEM, jnp.asarray(task), SHOTS) for task in tasks])
        np.testing.assert_allclose(row[column], wanted, rtol=1e-10)
    assert (row["gain"], row["forgotten"]) == (0.0, 0.0)


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("name", "unit"), [("l2_sp", 4.0), ("ewc", 1.0), ("early_stopping", 0.25), ("averaging", 1.0)])
def test_over_v_alone_the_scale_of_the_start_changes_the_knob_and_nothing_else(name: str, unit: float) -> None:
    scaled = lsa.Params(value=2.0 * START.value, query_key=START.query_key / 2.0)
    rows = [lab.value_front(VALUE, start, name, [knob]) for start, knob in ((scaled, 0.3), (START, 0.3 * unit))]
    np.testing.assert_allclose(rows[0], 2.0 * rows[1], rtol=1e-8, atol=1e-10)


def test_regime_points_are_those_of_the_closed_forms() -> None:
    points = lab.regime_points(ALL, START).set_index("regime")
    np.testing.assert_allclose(points.loc["pretrained", "prior"], prior_risk(START), rtol=1e-12)
    np.testing.assert_allclose(points.loc["full", "zero_shot"], 0.4**2, rtol=1e-9)


@pytest.mark.slow
def test_the_lab_compares_all_remedies_at_equal_gains() -> None:
    found = lab.run(Settings(dim=2, shots=10, knobs=7))
    compared = lab.compare(found)
    assert set(compared["remedy"]) >= {"prior", "ewc", "averaging", "lora(1)"}
    reached = compared.dropna(subset=["knob"])
    start, floor = found.fronts["zero_shot"].iloc[0], found.noise_variance
    assert ((start - reached["zero_shot"]) / (start - floor) >= reached["gain"] - 1e-6).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: lab.value_front(VALUE, START, "prior", [-1.0]), "knobs go from -1 to -1; they must be above 0"),
        (lambda: lab.value_front(VALUE, START, "prior", []), "the front is empty: give at least one value of the knob"),
        (lambda: lab.value_front(VALUE, START, "averaging", [2.0]), "they must be at least 0 and at most 1"),
        (lambda: lab.value_front(VALUE, START, "replay", [1.0]), "remedy"),
        (lambda: lab.value_front(ALL, START, "prior", [1.0]), "make the inputs with train='value'"),
        (lambda: lab.fronts(ALL, START, []), "give one remedy and two values at least"),
        (lambda: lab.fronts(ALL, START, ["lora(5)"]), "rank is 5; it must be from 1 to 4"),
        (lambda: lab.fronts(ALL, START, ["lora(1, query_key)"]), "zero_shot has no curvature in lora(1, query_key)"),
        (lambda: lab.fronts(ALL, START, ["lora(0)"]), "rank is 0; it must be from 1 to 4"),
        (lambda: lab.fronts(ALL, START, ["lora"]), "low rank is written"),
        (lambda: lab.fronts(ALL, START, ["lora([1, 1])"]), "with several different ranks"),
        (lambda: lab.fronts(ALL, START, ["lora([1, 2], value)"]), "is a sweep of ranks: here give one, such as lora(2, value)"),
        (lambda: lab.fronts(ALL, START, ["lora([0, 2])"]), "is a sweep of ranks"),
        (lambda: lab.pretrained(PROBLEM, PRIOR, SHOTS, gauge="flat"), "gauge"),
        (lambda: lab.exact_inputs(PROBLEM, PRIOR, TASK, SHOTS, model=lsa.models.SOFTMAX), "no exact risk"),
        (lambda: lsa.Regime(name="a", loss={"few_shot": 1.0}, train="lora(1)", within="zero_shot"), "only plain trainable sets"),
        (lambda: lsa.Regime(name="a", loss={"ewc": -1.0}), "weight of ewc"),
    ],
)
def test_bad_input_is_one_sentence(call: Any, told: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert told in str(error.value)
