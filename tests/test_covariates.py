"""Covariates that are not Gaussian: exact risks against enumeration, their optimum, and the rows that simulations gave."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from agreement import assert_agrees

import lsa_jax as lsa
from lsa_jax import covariates, prompts

LEGENDRE = np.polynomial.legendre.leggauss(4)
SPREAD = np.array([0.3, 2.0])
SPREAD_WEIGHTS = np.array([(4 - 1) / (4 - 0.09), (1 - 0.09) / (4 - 0.09)])
RULES = {
    "rademacher": (np.array([-1.0, 1.0]), np.array([0.5, 0.5])),
    "uniform": (3**0.5 * LEGENDRE[0], LEGENDRE[1] / 2),
    "two sizes": (np.concatenate([-SPREAD, SPREAD]), np.tile(SPREAD_WEIGHTS / 2, 2)),
}
"""Nodes and weights that give averages of degree 7 over a law exactly."""

FOURTH, SIXTH = (SPREAD_WEIGHTS @ SPREAD**power for power in (4, 6))
LAWS = {
    "rademacher": covariates.rademacher,
    "uniform": covariates.uniform,
    "two sizes": lsa.CovariateLaw(prompts.gaussian, float(FOURTH) - 3, float(SIXTH - 15 * FOURTH) + 30),
}


def draw(seed: int, dim: int) -> tuple[lsa.Params, lsa.LinearRegression, np.ndarray]:
    """Random parameters, a problem whose covariance is not diagonal, and a task."""
    value, query_key = jax.random.normal(jax.random.key(seed), (2, dim + 2, dim + 2))
    covariance = lsa.covariances.rotated(jax.random.key(seed + 1), lsa.covariances.power_law(dim, 1.0))
    problem = lsa.LinearRegression(covariance=covariance, noise_std=0.6)
    return lsa.Params(value=value, query_key=query_key), problem, np.arange(1.0, dim + 1) / dim


@pytest.mark.parametrize("law", LAWS)
def test_cumulants_are_those_of_the_nodes(law: str) -> None:
    nodes, weights = RULES[law]
    moments = [weights @ nodes**power for power in range(7)]
    np.testing.assert_allclose(moments[:4], [1, 0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(LAWS[law].fourth_cumulant, moments[4] - 3, rtol=1e-12)
    np.testing.assert_allclose(LAWS[law].sixth_cumulant, moments[6] - 15 * moments[4] + 30, rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "dim", "num_shots"),
    [
        ("rademacher", 1, 3),
        ("rademacher", 2, 2),
        ("rademacher", 3, 1),
        ("rademacher", 4, 1),
        ("rademacher", 4, 0),
        ("uniform", 1, 2),
        ("uniform", 2, 1),
        ("uniform", 3, 0),
        ("two sizes", 2, 1),
        ("two sizes", 3, 0),
    ],
)
def test_risk_equals_enumeration(law: str, dim: int, num_shots: int) -> None:
    params, problem, task = draw(dim, dim)
    root = np.asarray(problem.root)
    truth = oracles.quadrature_risk(np.asarray(params.value), np.asarray(params.query_key), root, 0.6, task, num_shots, RULES[law])
    np.testing.assert_allclose(lsa.population_risk(params, problem, task, num_shots, covariates=LAWS[law]), truth, rtol=1e-12)
    gaussian = lsa.population_risk(params, problem, task, num_shots)
    assert abs(gaussian - truth) > 1e-3 * truth, "the law makes no difference here"


NORMAL = lsa.GaussianPrior(mean=jnp.array([0.5, -1.0]), covariance=jnp.array([[2.0, 0.4], [0.4, 1.0]]))
POOL = lsa.FiniteTasks(tasks=jax.random.normal(jax.random.key(8), (7, 2)))
PRIORS = {"gaussian": NORMAL, "sphere": lsa.SpherePrior(dim=2, radius=1.7), "pool": POOL}


@pytest.mark.parametrize("family", PRIORS)
def test_prior_risk_is_the_mean_over_tasks(family: str) -> None:
    params, problem, _ = draw(5, 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    circle = 2 * np.pi * np.arange(8) / 8
    tasks, probability = {
        "gaussian": (NORMAL.mean[None] + grid @ NORMAL.root.T, np.outer(weights, weights).ravel() / weights.sum() ** 2),
        "sphere": (1.7 * np.stack([np.cos(circle), np.sin(circle)], axis=1), np.full(8, 1 / 8)),
        "pool": (POOL.tasks, np.full(7, 1 / 7)),
    }[family]
    risk = jax.jit(jax.vmap(lambda task, n: lsa.population_risk(params, problem, task, n, covariates=covariates.uniform), (0, None)))
    for num_shots in (0.0, 3.0):
        exact = lsa.prior_risk(params, problem, PRIORS[family], num_shots, covariates=covariates.uniform)
        np.testing.assert_allclose(exact, probability @ risk(jnp.asarray(tasks), num_shots), rtol=1e-12)


ROWS = {"uniform": 0.3111, "rademacher": 0.2883, "student_t": 0.3643}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name == "student_t" else []) for name in ROWS])
def test_recorded_errors_of_the_pretrained_optimum(
    name: str, problem: lsa.LinearRegression, target_task: jax.Array, pretrained: lsa.Params
) -> None:
    law = covariates.student_t(13.0) if name == "student_t" else LAWS[name]
    exact = float(lsa.population_risk(pretrained, problem, target_task, 20, covariates=law))
    assert exact == pytest.approx(ROWS[name], abs=5e-5)
    estimate = lsa.empirical_risk(jax.random.key(0), pretrained, problem, target_task, 20, 400_000, sampler="tokens", covariates=law)
    assert_agrees(float(estimate.mean), float(estimate.standard_error), exact)


def test_the_law_matters_through_its_covariance_alone_in_the_limit() -> None:
    params, problem, task = draw(6, 4)
    limits = [lsa.population_risk(params, problem, task, jnp.inf, covariates=law) for law in (prompts.gaussian, *LAWS.values())]
    np.testing.assert_allclose(limits, limits[0], rtol=1e-12)


@pytest.mark.thinned(12)
@pytest.mark.parametrize("num_shots", [3, jnp.inf])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("tasks", [3, 2])
def test_pretrained_optimum_is_stationary_and_a_minimum_in_its_class(tasks: int, law: str, num_shots: float) -> None:
    _, problem, _ = draw(7, 3)
    pool = jax.random.normal(jax.random.key(1), (tasks, 3))
    prior = lsa.FiniteTasks(tasks=jnp.concatenate([pool, -pool]))
    optimum = lsa.optima.pretrained(problem, prior, num_shots, covariates=LAWS[law])
    gradient = jax.grad(lambda params: lsa.prior_risk(params, problem, prior, num_shots, covariates=LAWS[law]))(optimum)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < 1e-10

    def risk(block: jax.Array) -> jax.Array:
        params = optimum.replace(query_key=optimum.query_key.at[1:-1, 1:-1].set(block.reshape(3, 3)))
        return lsa.prior_risk(params, problem, prior, num_shots, covariates=LAWS[law])

    assert np.linalg.eigvalsh(jax.hessian(risk)(optimum.query_key[1:-1, 1:-1].ravel())).min() > -1e-10


def test_what_is_not_exact_is_refused() -> None:
    params, problem, task = draw(8, 2)
    with pytest.raises(ValueError, match=r"covariates have no known cumulants, so nothing is exact: use empirical_risk"):
        lsa.population_risk(params, problem, task, 3, covariates=jax.random.normal)
    with pytest.raises(ValueError, match=r"covariates have no known cumulants"):
        lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), 3, covariates=jax.random.normal)
    heads = lsa.MultiHeadParams(value=params.value[None], query_key=params.query_key[None])
    with pytest.raises(ValueError, match=r"risks of several heads are exact for Gaussian covariates only"):
        lsa.population_risk(heads, problem, task, 3, covariates=covariates.uniform)
    with pytest.raises(ValueError, match=r"cumulants are -3 and 0; both must be finite, and the fourth at least -2"):
        lsa.CovariateLaw(prompts.gaussian, -3.0, 0.0)
