"""What is refused where its value is known leaves NaN where it is traced, never a plausible number."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import objectives, optima, prompts

KEY = jax.random.key(0)
PROBLEM = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.3)
TASK = jnp.ones(3)
PARAMS = lsa.optima.pretrained(PROBLEM, lsa.SpherePrior(dim=3), 20)
SPHERE = lsa.SpherePrior(dim=3)
POOL = prompts.sample_pool(KEY, PROBLEM, TASK, 100)

RESERVED = 8
OF_SHOTS: dict[str, tuple[float, Callable[[jax.Array], object]]] = {
    "population_risk": (np.inf, lambda n: lsa.population_risk(PARAMS, PROBLEM, TASK, n)),
    "prior_risk": (np.inf, lambda n: lsa.prior_risk(PARAMS, PROBLEM, SPHERE, n)),
    "empirical_risk": (np.inf, lambda n: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, n, 16).mean),
    "empirical_risk of tokens": (
        RESERVED,
        lambda n: lsa.empirical_risk(KEY, PARAMS, PROBLEM, TASK, n, 16, sampler="tokens", max_shots=RESERVED).mean,
    ),
    "fresh prompts": (np.inf, lambda n: objectives.fresh_prompts(PROBLEM, SPHERE, 4)(KEY, PARAMS, n)),
    "fresh tokens": (
        RESERVED,
        lambda n: objectives.fresh_prompts(PROBLEM, TASK, 4, sampler="tokens", max_shots=RESERVED)(KEY, PARAMS, n),
    ),
    "pooled prompts": (RESERVED, lambda n: objectives.pooled_prompts(POOL, 4, max_shots=RESERVED)(KEY, PARAMS, n)),
    "sample_prompt": (RESERVED, lambda n: prompts.sample_prompt(KEY, PROBLEM, TASK, n, max_shots=RESERVED)),
    "sample_pool_prompt": (RESERVED, lambda n: prompts.sample_pool_prompt(KEY, POOL, n, max_shots=RESERVED)),
    "sample_context_means": (
        np.inf,
        lambda n: prompts.sample_context_means(KEY, PROBLEM, TASK[:, None], PARAMS.value[-1:].T, jnp.eye(5), n),
    ),
}


def holds_nan(tree: object) -> list[bool]:
    """Whether each leaf holds a NaN."""
    return [bool(jnp.isnan(leaf).any()) for leaf in jax.tree.leaves(tree)]


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", OF_SHOTS)
def test_traced_numbers_of_shots_out_of_range_leave_nan(name: str) -> None:
    largest, function = OF_SHOTS[name]
    traced = jax.jit(function)
    for shots in (-2.0, -1.0, 1.5, np.nan, *([RESERVED + 1.0, 32.0, np.inf] if largest == RESERVED else [])):
        assert all(holds_nan(traced(shots))), shots
    for shots in (0.0, 3.0, 8.0, *([np.inf] if largest == np.inf else [])):
        for one, other in zip(jax.tree.leaves(traced(shots)), jax.tree.leaves(function(jnp.asarray(shots))), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("shots", [0.0, 0.5, -3.0])
def test_traced_optima_want_at_least_one_example(shots: float) -> None:
    pretrained = jax.jit(lambda n: optima.pretrained(PROBLEM, SPHERE, n).query_key)(shots)
    assert jnp.isnan(pretrained[1:-1, 1:-1]).all()
    assert jnp.isnan(jax.jit(lambda n: optima.value_auxiliary(PARAMS, PROBLEM, TASK, n).value)(shots)[-1, -1])


def symmetric_pool(count: int) -> jax.Array:
    """A pool and its mirror image, in another order, one task of it twice."""
    tasks = jax.random.normal(jax.random.key(count), (count, 3))
    tasks = jnp.concatenate([tasks, tasks[:1]])
    return jnp.concatenate([tasks, -tasks[::-1]])


@pytest.mark.parametrize(
    "tasks",
    [
        jnp.array([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 1]]),
        symmetric_pool(4).at[0, 0].multiply(1.001),
        symmetric_pool(4)[1:],
        1e-9 * jnp.ones((1, 3)),
    ],
    ids=["no mirror", "one task moved", "one task less", "one tiny task"],
)
def test_traced_pool_that_is_not_symmetric_has_no_optimum(tasks: jax.Array) -> None:
    optimum = jax.jit(lambda tasks: optima.pretrained(PROBLEM, lsa.FiniteTasks(tasks), 20))(tasks)
    assert jnp.isnan(optimum.query_key[1:-1, 1:-1]).all()


@pytest.mark.parametrize("count", [1, 4, 30])
def test_traced_symmetric_pool_has_the_optimum_it_has_when_known(count: int) -> None:
    tasks = symmetric_pool(count)
    traced = jax.jit(lambda tasks: optima.pretrained(PROBLEM, lsa.FiniteTasks(tasks), 20))(tasks)
    np.testing.assert_allclose(traced.query_key, optima.pretrained(PROBLEM, lsa.FiniteTasks(tasks), 20).query_key, rtol=1e-9, atol=1e-12)


def test_traced_prior_with_a_mean_has_no_optimum() -> None:
    def block(mean: jax.Array) -> jax.Array:
        return optima.pretrained(PROBLEM, lsa.GaussianPrior(mean=mean, covariance=jnp.eye(3)), 20).query_key[1:-1, 1:-1]

    without, with_mean = jax.vmap(block)(jnp.array([[0.0, 0, 0], [0, 0, 1e-3]]))
    np.testing.assert_allclose(without, block(jnp.zeros(3)), rtol=1e-12)
    assert jnp.isnan(with_mean).all()


OTHERS: dict[str, tuple[Callable[[jax.Array], object], object, object]] = {
    "noise_std": (lambda noise: lsa.LinearRegression(jnp.eye(3), noise).noise_std, 0.1, -0.1),
    "radius": (lambda radius: lsa.SpherePrior(dim=3, radius=radius).radius, 0.1, -0.1),
    "radius 0": (lambda radius: lsa.SpherePrior(dim=3, radius=radius).radius, 0.1, 0.0),
    "covariance not symmetric": (lambda matrix: lsa.LinearRegression(matrix, 0.1).root, [[2.0, 1], [1, 2]], [[2.0, 1], [0.5, 2]]),
    "covariance not positive": (lambda matrix: lsa.LinearRegression(matrix, 0.1).root, [[2.0, 1], [1, 2]], [[1.0, 2], [2, 1]]),
    "task zero": (lambda task: optima.full(PROBLEM, task, 1.0).value, [1.0, 0, 0], [0.0, 0, 0]),
    "scale zero": (lambda scale: optima.full(PROBLEM, TASK, scale).query_key, 1.0, 0.0),
    "learning rate": (lambda rate: lsa.optimizers.decayed(rate, 10)(0), 0.1, -0.1),
    "nothing to balance": (lambda size: optima.balanced(lsa.Params(value=size * jnp.eye(5), query_key=jnp.eye(5)), 1.0), 1.0, 0.0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_traced_values_out_of_range_leave_nan(name: str) -> None:
    function, good, bad = OTHERS[name]
    traced = jax.jit(function)
    assert not any(holds_nan(traced(jnp.asarray(good))))
    assert all(holds_nan(traced(jnp.asarray(bad))))
