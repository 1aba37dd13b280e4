"""Several heads, merged or separate: exact risks against quadrature and simulation, and what two heads can do that one cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.integrate
from agreement import LARGEST_RELATIVE_ERROR, assert_agrees
from jax.flatten_util import ravel_pytree

import lsa_jax as lsa
from lsa_jax.params import LayerParams
from lsa_jax.population import risk_function

NOISE_STD = 0.7


def problem_in(dim: int) -> lsa.LinearRegression:
    """A problem whose covariance is not diagonal."""
    covariance = lsa.covariances.rotated(jax.random.key(dim), lsa.covariances.power_law(dim, 1.0))
    return lsa.LinearRegression(covariance=covariance, noise_std=NOISE_STD)


def heads(seed: int, dim: int, num_heads: int, scale: float = 1.0) -> lsa.MultiHeadParams:
    """Heads with every entry of order `scale`."""
    value, query_key = scale * jax.random.normal(jax.random.key(seed), (2, num_heads, dim + 2, dim + 2))
    return lsa.MultiHeadParams(value=value, query_key=query_key)


def separate(seed: int, dim: int, num_heads: int) -> lsa.SeparateParams:
    """Heads with separate query and key."""
    value, query, key = jax.random.normal(jax.random.key(seed), (3, num_heads, dim + 2, dim + 2))
    return lsa.SeparateParams(value=value, query=query, key=key)


def truth(params: lsa.MultiHeadParams, dim: int, task: np.ndarray, num_shots: int) -> float:
    """Risk by quadrature."""
    root = np.linalg.cholesky(np.asarray(problem_in(dim).covariance))
    return oracles.quadrature_risk(np.asarray(params.value), np.asarray(params.query_key), root, NOISE_STD, task, num_shots)


@pytest.mark.parametrize(("dim", "num_shots", "num_heads"), [(1, 0, 2), (1, 2, 2), (2, 1, 1), (2, 0, 3), (2, 1, 3), (3, 0, 4)])
def test_risk_of_heads_equals_quadrature(dim: int, num_shots: int, num_heads: int) -> None:
    task = np.arange(1.0, dim + 1)
    params = heads(num_heads, dim, num_heads)
    exact = lsa.population_risk(params, problem_in(dim), task, num_shots)
    np.testing.assert_allclose(exact, truth(params, dim, task, num_shots), rtol=1e-10)


def test_risk_of_separate_query_and_key_equals_quadrature() -> None:
    params, task = separate(5, 2, 2), np.array([1.0, -0.5])
    merged = lsa.MultiHeadParams(value=params.value, query_key=jnp.einsum("hij,hik->hjk", params.key, params.query))
    exact = lsa.population_risk(params, problem_in(2), task, 1)
    np.testing.assert_allclose(exact, truth(merged, 2, task, 1), rtol=1e-10)


PRIORS = {
    "gaussian": lsa.GaussianPrior(mean=jnp.array([0.5, -1.0]), covariance=jnp.array([[2.0, 0.4], [0.4, 1.0]])),
    "sphere": lsa.SpherePrior(dim=2, radius=1.7),
    "pool": lsa.FiniteTasks(tasks=jax.random.normal(jax.random.key(8), (7, 2))),
}


def tasks_of(family: str) -> tuple[jax.Array, np.ndarray]:
    """Tasks and weights that give averages of polynomials of degree 4 exactly."""
    match PRIORS[family]:
        case lsa.GaussianPrior(mean=mean, root=root):
            nodes, weights = np.polynomial.hermite_e.hermegauss(3)
            grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
            return mean[None] + grid @ root.T, np.outer(weights, weights).ravel() / weights.sum() ** 2
        case lsa.SpherePrior(radius=radius):
            angles = 2 * np.pi * np.arange(8) / 8
            return radius * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1), np.full(8, 1 / 8)
        case lsa.FiniteTasks(tasks=tasks):
            return tasks, np.full(len(tasks), 1 / len(tasks))


@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize("family", PRIORS)
def test_prior_risk_of_heads_is_the_mean_over_tasks(family: str, num_heads: int) -> None:
    params, problem = heads(3, 2, num_heads), problem_in(2)
    tasks, weights = tasks_of(family)
    risks = jax.jit(jax.vmap(lambda task, n: lsa.population_risk(params, problem, task, n), (0, None)))
    for num_shots in (0.0, 3.0, np.inf):
        exact = lsa.prior_risk(params, problem, PRIORS[family], num_shots)
        np.testing.assert_allclose(exact, weights @ risks(tasks, num_shots), rtol=1e-11)


def test_one_head_and_copies_of_it_predict_what_params_do() -> None:
    one = heads(1, 3, 1)
    params = lsa.Params(value=one.value[0], query_key=one.query_key[0])
    copies = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf, leaf]), one)
    problem, task = problem_in(3), jnp.array([1.0, 0.5, -1.0])
    for num_shots in (0, 4, np.inf):
        for same in (one, copies):
            np.testing.assert_allclose(
                lsa.population_risk(same, problem, task, num_shots), lsa.population_risk(params, problem, task, num_shots), rtol=1e-12
            )


@pytest.mark.parametrize("params", [heads(2, 2, 3), separate(2, 2, 3)], ids=["merged", "separate"])
def test_prediction_of_heads_is_that_of_the_definition(params: LayerParams) -> None:
    tokens = jax.random.normal(jax.random.key(4), (5, 4)).at[:, 0].set(1.0).at[-1, -1].set(0.0)
    rows = params.merged if isinstance(params, lsa.SeparateParams) else params
    outputs = [
        oracles.loop_prediction(np.asarray(value), np.asarray(query_key), np.asarray(tokens))
        for value, query_key in zip(rows.value, rows.query_key, strict=True)
    ]
    np.testing.assert_allclose(lsa.predict(params, tokens), np.mean(outputs), rtol=1e-12)
    np.testing.assert_allclose(lsa.predict_from_gram(params, tokens.T @ tokens, tokens[-1], 5), np.mean(outputs), rtol=1e-12)


def two_heads(problem: lsa.LinearRegression, pretrained: lsa.Params, task: jax.Array, scale: float) -> lsa.MultiHeadParams:
    """The pretrained head beside one that knows the task without examples; twice the values, since outputs are averaged."""
    new = lsa.Params(value=jnp.zeros((7, 7)).at[-1, 1:-1].set(scale * task), query_key=jnp.zeros((7, 7)).at[0, 0].set(1 / scale))
    return lsa.MultiHeadParams(
        value=2 * jnp.stack([pretrained.value, new.value]), query_key=jnp.stack([pretrained.query_key, new.query_key])
    )


def test_two_heads_need_not_forget(problem: lsa.LinearRegression, pretrained: lsa.Params, target_task: jax.Array) -> None:
    params = two_heads(problem, pretrained, target_task, scale=0.7)
    other = jnp.array([0.0, 0.0, 0.0, 0.6, 0.8])
    table = {(20, 1): 0.3695, (20, -1): 0.4163, (1000, 1): 0.1481, (1000, -1): 0.1489}
    for (num_shots, sign), error in table.items():
        assert lsa.population_risk(params, problem, sign * target_task, num_shots) == pytest.approx(error, abs=1e-4)
    assert lsa.population_risk(pretrained, problem, target_task, 1000) == pytest.approx(0.1475, abs=1e-4)
    np.testing.assert_allclose(lsa.population_risk(params, problem, target_task, 0), problem.noise_std**2, rtol=1e-12)
    for task in (target_task, -target_task, other):
        limits = [lsa.population_risk(model, problem, task, jnp.inf) for model in (params, pretrained)]
        np.testing.assert_allclose(*limits, rtol=1e-12)
        excess = [lsa.population_risk(params, problem, task, n) - lsa.population_risk(pretrained, problem, task, n) for n in (10**4, 10**5)]
        np.testing.assert_allclose(excess[0] / excess[1], 10.0, rtol=1e-2)


@pytest.mark.slow
def test_two_heads_that_all_move_forget_the_other_tasks(
    problem: lsa.LinearRegression, pretrained: lsa.Params, target_task: jax.Array
) -> None:
    value, query_key = 0.01 * jax.random.normal(jax.random.key(0), (2, 7, 7))
    start = lsa.MultiHeadParams(value=2 * jnp.stack([pretrained.value, value]), query_key=jnp.stack([pretrained.query_key, query_key]))
    risk = risk_function(problem, target_task)
    flat, unravel = ravel_pytree(start)
    slope = jax.jit(jax.grad(lambda entries: risk(unravel(entries), 0)))
    path = scipy.integrate.solve_ivp(lambda _, entries: -np.asarray(slope(entries)), (0, 200.0), np.asarray(flat), rtol=1e-8, atol=1e-10)
    end = unravel(jnp.asarray(path.y[:, -1]))
    assert float(risk(end, 0)) < 0.101
    on_target, elsewhere = (float(lsa.population_risk(end, problem, sign * target_task, jnp.inf)) for sign in (1, -1))
    assert on_target == pytest.approx(0.18, abs=0.01)
    assert elsewhere == pytest.approx(0.73, abs=0.02)


@pytest.mark.parametrize("params", [heads(2, 2, 3, 0.7), separate(2, 2, 3)], ids=["merged", "separate"])
def test_heads_are_simulated_from_gram_matrices(params: LayerParams) -> None:
    task = jnp.array([1.0, -0.5])
    for num_shots in (0, 3, 20):
        estimate = lsa.empirical_risk(jax.random.key(num_shots), params, problem_in(2), task, num_shots, 200_000)
        exact = float(lsa.population_risk(params, problem_in(2), task, num_shots))
        assert abs(float(estimate.mean) - exact) < 5 * float(estimate.standard_error)
        assert float(estimate.standard_error) < 0.05 * exact
    with pytest.raises(ValueError, match=r"num_shots is infinite, which only one layer of one head is simulated at: use population_risk"):
        lsa.empirical_risk(jax.random.key(0), params, problem_in(2), task, jnp.inf)


SETTINGS = [(dim, num_shots, num_heads) for dim in (1, 2, 5) for num_shots in (0, 1, 3, 20) for num_heads in (1, 2, 4)]
SETTINGS += [(3, 10, 3), (3, 50, 3), (3, 100, 2), (8, 5, 2)]
DEFAULT_SUBSET = {(2, 3, 2)}


@pytest.mark.parametrize(
    ("dim", "num_shots", "num_heads"),
    [pytest.param(*setting, marks=[] if setting in DEFAULT_SUBSET else pytest.mark.slow) for setting in SETTINGS],
)
def test_simulated_risk_of_heads_agrees_with_the_exact_one(dim: int, num_shots: int, num_heads: int) -> None:
    params = heads(100 * dim + 10 * num_heads, dim, num_heads, scale=dim**-0.5)
    task = jax.random.normal(jax.random.key(num_shots), (dim,))
    params, problem, task = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, problem_in(dim), task))
    exact = float(lsa.population_risk(params, problem, task, num_shots))

    def simulate(key: int, num_prompts: int) -> lsa.RiskEstimate:
        return lsa.empirical_risk(jax.random.key(key), params, problem, task, num_shots, num_prompts, sampler="tokens")

    pilot = simulate(1, 40_000)
    needed = int(40_000 * (float(pilot.standard_error) / (0.7 * LARGEST_RELATIVE_ERROR * exact)) ** 2)
    estimate = simulate(2, int(np.clip(needed, 40_000, 6_000_000)))
    assert_agrees(float(estimate.mean), float(estimate.standard_error), exact)
