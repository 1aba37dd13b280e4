"""Public functions under jit, vmap and grad give what they give alone, and keep the type of their input."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import evaluation, optima, prompts

DIM = 3
SHOTS = 5
KEY = jax.random.key(0)


def inputs(seed: int, dtype: type = jnp.float64) -> tuple[lsa.Params, lsa.LinearRegression, jax.Array]:
    """Parameters, problem and task of one draw."""
    value, query_key = jax.random.normal(jax.random.key(seed), (2, DIM + 2, DIM + 2), dtype)
    covariance = lsa.covariances.power_law(DIM, 1.0).astype(dtype)
    problem = lsa.LinearRegression(covariance=covariance, noise_std=jnp.asarray(0.3, dtype))
    return lsa.Params(value=value, query_key=query_key), problem, jnp.arange(1, DIM + 1).astype(dtype)


def gaussian(task: jax.Array) -> lsa.GaussianPrior:
    """A prior around a task."""
    return lsa.GaussianPrior(mean=task, covariance=jnp.eye(DIM, dtype=task.dtype))


def doubled(params: lsa.Params) -> lsa.MultiHeadParams:
    """Two heads, one of them with value and query-key exchanged."""
    return lsa.MultiHeadParams(value=jnp.stack([params.value, params.query_key]), query_key=jnp.stack([params.query_key, params.value.T]))


def near_pretrained(params: lsa.Params) -> lsa.Params:
    """Parameters of which all entries that a pretrained model has not are small."""
    block = params.query_key[1:-1, 1:-1]
    symmetric = (0.05 * params.query_key).at[1:-1, 1:-1].add(block @ block.T)
    return lsa.Params(value=(0.05 * params.value).at[-1, -1].add(1), query_key=symmetric)


Function = Callable[[lsa.Params, lsa.LinearRegression, jax.Array], object]
TABLE: dict[str, Function] = {
    "predict": lambda params, problem, task: lsa.predict(params, jnp.outer(jnp.ones(4, task.dtype), jnp.append(task, task[:2]))),
    "population_risk": lambda params, problem, task: lsa.population_risk(params, problem, task, SHOTS),
    "prior_risk": lambda params, problem, task: lsa.prior_risk(params, problem, gaussian(task), SHOTS),
    "empirical_risk projected": lambda params, problem, task: lsa.empirical_risk(KEY, params, problem, task, SHOTS, 64),
    "empirical_risk tokens": lambda params, problem, task: lsa.empirical_risk(KEY, params, problem, task, SHOTS, 64, sampler="tokens"),
    "population_risk of heads": lambda params, problem, task: lsa.population_risk(doubled(params), problem, task, SHOTS),
    "prediction_distance": lambda params, problem, task: lsa.prediction_distance(doubled(params), params, problem, task, SHOTS),
    "fisher_diagonal": lambda params, problem, task: lsa.fisher_diagonal(params, problem, task, SHOTS),
    "optima.pretrained": lambda params, problem, task: optima.pretrained(problem, gaussian(jnp.zeros(DIM, task.dtype)), SHOTS),
    "optima.full": lambda params, problem, task: optima.full(problem, task, None, near_pretrained(params)),
    "optima.value": lambda params, problem, task: optima.value(params, problem, task),
    "optima.value_auxiliary": lambda params, problem, task: optima.value_auxiliary(params, problem, task, SHOTS),
    "prior_risk sphere": lambda params, problem, task: lsa.prior_risk(
        params, problem, lsa.SpherePrior(dim=DIM, radius=jnp.sqrt(jnp.sum(task**2))), SHOTS
    ),
    "prior_risk pool": lambda params, problem, task: lsa.prior_risk(params, problem, lsa.FiniteTasks(jnp.stack([task, -task])), SHOTS),
    "predict_from_gram": lambda params, problem, task: lsa.predict_from_gram(
        params, jnp.eye(DIM + 2, dtype=task.dtype), jnp.append(task, task[:2]), 3
    ),
    "optima.conserved_scale": lambda params, problem, task: optima.conserved_scale(problem, task, near_pretrained(params)),
    "sample_context_means": lambda params, problem, task: prompts.sample_context_means(
        KEY, problem, task[:, None], params.value[-1:].T, params.query_key, SHOTS
    ),
    "optima.balanced": lambda params, problem, task: optima.balanced(params, 1.0),
    "sample_prompt": lambda params, problem, task: prompts.sample_prompt(KEY, problem, task, SHOTS),
    "sample_pool": lambda params, problem, task: prompts.sample_pool(KEY, problem, task, 8),
    "sample_task": lambda params, problem, task: prompts.sample_task(KEY, gaussian(task)),
    "error_curves": lambda params, problem, task: evaluation.error_curves(params, problem, task[None], jnp.array([0.0, 2.0, jnp.inf])),
    "simulated_curves": lambda params, problem, task: evaluation.simulated_curves(
        KEY, params, problem, task[None], jnp.array([0.0, 2.0]), 64
    ),
    "task_at_cosine": lambda params, problem, task: evaluation.task_at_cosine(KEY, problem, task, 0.3),
}


def assert_same(left: object, right: object) -> None:
    """Assert that two results agree leaf by leaf."""
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", TABLE)
def test_jit_and_vmap_change_nothing(name: str) -> None:
    function, draws = TABLE[name], [inputs(0), inputs(1)]
    alone = [function(*draw) for draw in draws]
    assert_same(jax.jit(function)(*draws[0]), alone[0])
    together = jax.jit(jax.vmap(function))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *draws))
    for index, single in enumerate(alone):
        assert_same(jax.tree.map(lambda leaf, index=index: leaf[index] if jnp.ndim(leaf) else leaf, together), single)


def difference(tree: object, other: object) -> float:
    """Largest distance between the leaves of two results."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return max(float(jnp.abs(one - two).max()) for one, two in pairs)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", [name for name in TABLE if name not in {"sample_task"}])
def test_derivative_is_that_of_finite_differences(name: str) -> None:
    point = inputs(3)
    moves = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape, leaf.dtype), point)
    direction = (moves[0], jax.tree.map(lambda move: 0.1 * jnp.tril(move) if move.ndim else 0.1 * move, moves[1]), moves[2])
    step = 1e-6

    def at(shift: float) -> object:
        return jax.tree.map(lambda leaf, move: leaf + shift * move, point, direction)

    function = jax.jit(lambda point: jax.tree.map(lambda leaf: leaf.astype(jnp.float64), TABLE[name](*point)))
    slope = jax.jit(lambda point: jax.jvp(lambda point: function(point), (point,), (direction,))[1])(point)
    secant = jax.tree.map(lambda one, two: (one - two) / (2 * step), function(at(step)), function(at(-step)))
    size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    assert difference(slope, secant) < 1e-5 * max(size, 1.0)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("name", TABLE)
def test_float32_stays_float32_where_float64_is_enabled(name: str) -> None:
    for leaf in jax.tree.leaves(TABLE[name](*inputs(2, jnp.float32))):
        assert not hasattr(leaf, "dtype") or leaf.dtype.name in {"float32", "int32"}
