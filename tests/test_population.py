"""Exact risks: against quadrature that shares no code, against the recorded numbers, and as functions of their arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import lsa_jax as lsa


def draw(seed: int, dim: int, dtype: type = jnp.float64) -> tuple[lsa.Params, lsa.LinearRegression, jax.Array]:
    """Random parameters, a problem whose covariance is not diagonal, and a task."""
    value, query_key, spectrum, task = jax.random.split(jax.random.key(seed), 4)
    size = (dim + 2, dim + 2)
    params = lsa.Params(value=jax.random.normal(value, size, dtype), query_key=jax.random.normal(query_key, size, dtype))
    covariance = lsa.covariances.rotated(spectrum, lsa.covariances.power_law(dim, 1.0)).astype(dtype)
    problem = lsa.LinearRegression(covariance=covariance, noise_std=jnp.asarray(0.7, dtype))
    return params, problem, jax.random.normal(task, (dim,), dtype)


SECTION_6 = {
    "pretrained": [(1, 0, 1.1), (1, 1, 1.4850124600), (1, 20, 0.3452830189)],
    "value": [(1, 0, 0.3222222222), (1, 20, 0.3472801528), (-1, 20, 0.3916048009)],
    "value_auxiliary": [(1, 0, 0.3222222222), (1, 20, 0.3242716483), (-1, 20, 0.4606303147)],
    "full": [(1, 0, 0.1), (1, 1, 2.5785502959), (1, 20, 1.4113016410), (1, np.inf, 1.1)],
}


@pytest.mark.parametrize("regime", SECTION_6)
def test_recorded_errors_of_each_regime(regime: str, problem: lsa.LinearRegression, target_task: jax.Array, pretrained: lsa.Params) -> None:
    params = {
        "pretrained": pretrained,
        "value": lsa.optima.value(pretrained, problem, target_task),
        "value_auxiliary": lsa.optima.value_auxiliary(pretrained, problem, target_task, 20),
        "full": lsa.optima.full(problem, target_task, 0.52, pretrained),
    }[regime]
    for sign, shots, error in SECTION_6[regime]:
        assert lsa.population_risk(params, problem, sign * target_task, shots) == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize(("dim", "num_shots"), [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_risk_equals_gauss_hermite_quadrature(dim: int, num_shots: int, seed: int) -> None:
    params, problem, task = draw(seed, dim)
    truth = oracles.quadrature_risk(
        np.asarray(params.value),
        np.asarray(params.query_key),
        np.linalg.cholesky(np.asarray(problem.covariance)),
        float(problem.noise_std),
        np.asarray(task),
        num_shots,
    )
    np.testing.assert_allclose(lsa.population_risk(params, problem, task, num_shots), truth, rtol=1e-10)


def gauss_hermite_tasks(mean: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights over Gaussian tasks, exact for the degree 4 with which a task enters the risk."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    dim = len(mean)
    grid = np.stack(np.meshgrid(*[nodes] * dim, indexing="ij"), -1).reshape(-1, dim)
    weight = np.stack(np.meshgrid(*[weights / weights.sum()] * dim, indexing="ij"), -1).reshape(-1, dim).prod(1)
    return mean + grid @ root.T, weight


@pytest.mark.parametrize("num_shots", [0, 3, np.inf])
@pytest.mark.parametrize("centred", [True, False])
def test_gaussian_prior_risk_is_the_mean_over_tasks(num_shots: float, centred: bool) -> None:
    params, problem, task = draw(2, 3)
    mean = jnp.zeros(3) if centred else task
    prior = lsa.GaussianPrior(mean=mean, covariance=lsa.covariances.rotated(jax.random.key(9), jnp.diag(jnp.array([2.0, 1.0, 0.3]))))
    tasks, weights = gauss_hermite_tasks(np.asarray(mean), np.asarray(prior.root))
    risks = jax.vmap(lambda task: lsa.population_risk(params, problem, task, num_shots))(jnp.asarray(tasks))
    np.testing.assert_allclose(lsa.prior_risk(params, problem, prior, num_shots), weights @ risks, rtol=1e-10)


@pytest.mark.parametrize("num_shots", [0, 3, np.inf])
def test_sphere_prior_risk_is_the_mean_over_the_circle(num_shots: float) -> None:
    params, problem, _ = draw(3, 2)
    angles = 2 * np.pi * np.arange(8) / 8  # exact for trigonometric polynomials of degree 4
    tasks = 1.7 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    risks = jax.vmap(lambda task: lsa.population_risk(params, problem, task, num_shots))(tasks)
    exact = lsa.prior_risk(params, problem, lsa.SpherePrior(dim=2, radius=1.7), num_shots)
    np.testing.assert_allclose(exact, risks.mean(), rtol=1e-10)


def test_finite_prior_risk_is_the_mean_over_its_tasks() -> None:
    params, problem, _ = draw(4, 3)
    tasks = jax.random.normal(jax.random.key(5), (300, 3))
    risks = jax.vmap(lambda task: lsa.population_risk(params, problem, task, 7))(tasks)
    np.testing.assert_allclose(lsa.prior_risk(params, problem, lsa.FiniteTasks(tasks=tasks), 7), risks.mean(), rtol=1e-12)


def test_risk_tends_to_its_value_at_infinity_as_one_over_n() -> None:
    params, problem, task = draw(5, 4)
    limit = lsa.population_risk(params, problem, task, jnp.inf)
    gaps = [abs(lsa.population_risk(params, problem, task, n) - limit) for n in (10**4, 10**5, 10**6)]
    slopes = np.diff(np.log(gaps)) / np.log(10)
    np.testing.assert_allclose(slopes, -1, atol=0.01)


@pytest.mark.parametrize("num_shots", [0, 1, 20, 10**3, 10**6, np.inf])
@pytest.mark.parametrize("dim", [1, 8, 64])
def test_float32_keeps_four_digits(dim: int, num_shots: float) -> None:
    params, problem, task = draw(6, dim)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, problem, task))
    exact, rounded = lsa.population_risk(params, problem, task, num_shots), lsa.population_risk(*single, num_shots)
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, rtol=1e-4)


@pytest.mark.parametrize("prior", [lsa.SpherePrior, lsa.GaussianPrior])
def test_float32_keeps_four_digits_over_a_prior(prior: type) -> None:
    params, problem, _ = draw(7, 16)
    law = lsa.SpherePrior(dim=16) if prior is lsa.SpherePrior else lsa.GaussianPrior(mean=jnp.ones(16), covariance=jnp.eye(16))
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, problem, law))
    np.testing.assert_allclose(lsa.prior_risk(*single, 20), lsa.prior_risk(params, problem, law, 20), rtol=1e-4)


def test_gradient_equals_finite_differences() -> None:
    params, problem, task = draw(8, 3)
    step = 1e-6
    direction = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(1), leaf.shape), params)

    def risk(shift: float) -> jax.Array:
        return lsa.population_risk(jax.tree.map(lambda leaf, move: leaf + shift * move, params, direction), problem, task, 4)

    slope = jax.jvp(risk, (0.0,), (1.0,))[1]
    np.testing.assert_allclose((risk(step) - risk(-step)) / (2 * step), slope, rtol=1e-6)


def test_rotating_covariates_task_and_parameters_together_changes_nothing() -> None:
    params, problem, task = draw(9, 3)
    rotation = jax.random.orthogonal(jax.random.key(2), 3)
    lift = jnp.eye(5).at[1:4, 1:4].set(rotation)
    rotated = lsa.Params(value=lift @ params.value @ lift.T, query_key=lift @ params.query_key @ lift.T)
    covariance = rotation @ problem.covariance @ rotation.T
    turned = lsa.LinearRegression(covariance=(covariance + covariance.T) / 2, noise_std=problem.noise_std)
    np.testing.assert_allclose(
        lsa.population_risk(rotated, turned, rotation @ task, 6),
        lsa.population_risk(params, problem, task, 6),
        rtol=1e-11,
    )


def test_scaling_value_against_query_key_changes_no_risk() -> None:
    params, problem, task = draw(10, 3)
    scaled = lsa.Params(value=-3.0 * params.value, query_key=params.query_key / -3.0)
    np.testing.assert_allclose(lsa.population_risk(scaled, problem, task, 6), lsa.population_risk(params, problem, task, 6), rtol=1e-12)


def test_few_shot_beats_zero_shot_from_the_break_even_number_of_shots(
    problem: lsa.LinearRegression, target_task: jax.Array, pretrained: lsa.Params
) -> None:
    scale = float(pretrained.query_key[1, 1])
    break_even = scale * 5 * (1 + 0.1) / (2 - scale) - 1
    assert break_even == pytest.approx(2.609375, abs=1e-9)
    zero_shot = lsa.population_risk(pretrained, problem, target_task, 0)
    assert lsa.population_risk(pretrained, problem, target_task, 2) > zero_shot
    assert lsa.population_risk(pretrained, problem, target_task, 3) < zero_shot


def test_cost_does_not_depend_on_the_number_of_shots() -> None:
    params, problem, task = draw(11, 3)
    program = str(jax.make_jaxpr(lambda n: lsa.population_risk(params, problem, task, n))(20.0))
    assert "while" not in program
    assert "scan" not in program
    sizes = [eqn.outvars[0].aval.size for eqn in jax.make_jaxpr(lambda: lsa.population_risk(params, problem, task, 10**6))().eqns]
    assert max(sizes) <= 5 * 5
