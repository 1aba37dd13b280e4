"""Closed-form optima: stationary, minimal, and where optimisation lands."""

from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lsa_jax as lsa
from lsa_jax import optima

DIM = 4


@pytest.fixture
def anisotropic() -> lsa.LinearRegression:
    """A problem whose covariance is neither isotropic nor diagonal."""
    covariance = lsa.covariances.rotated(jax.random.key(1), lsa.covariances.power_law(DIM, 1.0))
    return lsa.LinearRegression(covariance=covariance, noise_std=0.4)


PRIOR_COVARIANCE = lsa.covariances.rotated(jax.random.key(2), lsa.covariances.power_law(DIM, 0.7))
PRIORS = {
    "sphere": lsa.SpherePrior(dim=DIM, radius=1.3),
    "gaussian": lsa.GaussianPrior(mean=jnp.zeros(DIM), covariance=PRIOR_COVARIANCE),
    "symmetric pool": lsa.FiniteTasks(tasks=jnp.concatenate([pool := jax.random.normal(jax.random.key(3), (DIM + 3, DIM)), -pool[::-1]])),
}


def random_params(seed: int, dim: int = DIM) -> lsa.Params:
    """Parameters with every entry of order one."""
    value, query_key = jax.random.normal(jax.random.key(seed), (2, dim + 2, dim + 2))
    return lsa.Params(value=value, query_key=query_key)


def norm(tree: lsa.Params) -> float:
    """Largest absolute entry."""
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@pytest.mark.parametrize("num_shots", [1, 20, jnp.inf])
@pytest.mark.parametrize("prior", PRIORS)
def test_pretrained_optimum_is_stationary_and_a_minimum(prior: str, num_shots: float, anisotropic: lsa.LinearRegression) -> None:
    optimum = optima.pretrained(anisotropic, PRIORS[prior], num_shots)
    flat, unflatten = jax.flatten_util.ravel_pytree(optimum)

    def risk(vector: jax.Array) -> jax.Array:
        return lsa.prior_risk(unflatten(vector), anisotropic, PRIORS[prior], num_shots)

    assert norm(jax.grad(risk)(flat)) < 1e-10
    assert np.linalg.eigvalsh(jax.hessian(risk)(flat)).min() > -1e-10


@pytest.mark.parametrize("prior", PRIORS)
def test_neighbours_of_the_pretrained_optimum_are_worse(prior: str, anisotropic: lsa.LinearRegression) -> None:
    optimum = optima.pretrained(anisotropic, PRIORS[prior], 20)
    best = lsa.prior_risk(optimum, anisotropic, PRIORS[prior], 20)
    for seed in range(20):
        neighbour = jax.tree.map(lambda leaf, move: leaf + 1e-3 * move, optimum, random_params(seed))
        assert lsa.prior_risk(neighbour, anisotropic, PRIORS[prior], 20) > best


def test_pretrained_optimum_at_infinitely_many_shots_inverts_the_covariance(anisotropic: lsa.LinearRegression) -> None:
    optimum = optima.pretrained(anisotropic, PRIORS["gaussian"], jnp.inf)
    np.testing.assert_allclose(optimum.query_key[1:-1, 1:-1] @ anisotropic.covariance, np.eye(DIM), atol=1e-12)


def test_pretrained_optimum_over_a_pool_that_spans_less_than_the_space(anisotropic: lsa.LinearRegression) -> None:
    tasks = jnp.eye(DIM)[:2]
    pool = lsa.FiniteTasks(tasks=jnp.concatenate([tasks, -tasks]))
    for shots in (20, jnp.inf):
        optimum = optima.pretrained(anisotropic, pool, shots)
        gradient = jax.grad(lsa.prior_risk)(optimum, anisotropic, pool, shots)
        assert norm(gradient) < 1e-10


def test_pretrained_scale_on_the_unit_sphere(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    np.testing.assert_allclose(pretrained.query_key[1:-1, 1:-1], 21 / (21 + 5 + 5 * 0.1) * np.eye(5), rtol=1e-12)


def minimise(risk: Callable[[Any], jax.Array], start: Any, steps: int) -> jax.Array:
    """Risk that L-BFGS reaches from one start."""
    solver = optax.lbfgs()

    def step(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        params, memory = state
        value, gradient = optax.value_and_grad_from_state(risk)(params, state=memory)
        updates, memory = solver.update(gradient, memory, params, value=value, grad=gradient, value_fn=risk)
        return (optax.apply_updates(params, updates), memory), None

    with jax.numpy_rank_promotion("allow"):
        (params, _), _ = jax.lax.scan(step, (start, solver.init(start)), length=steps)
    return risk(params)


@pytest.mark.slow
def test_no_optimisation_from_a_random_start_goes_below_the_pretrained_optimum() -> None:
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(3, 0.5), noise_std=0.3)
    prior = lsa.GaussianPrior(mean=jnp.zeros(3), covariance=jnp.eye(3))
    best = float(lsa.prior_risk(optima.pretrained(problem, prior, 10), problem, prior, 10))
    risk = lambda params: lsa.prior_risk(params, problem, prior, 10)  # noqa: E731
    starts = jax.vmap(lambda key: lsa.models.LINEAR.init(key, 3, 1.0))(jax.random.split(jax.random.key(0), 32))
    reached = np.asarray(jax.jit(jax.vmap(lambda start: minimise(risk, start, 300)))(starts))
    assert reached.min() > best - 1e-9
    assert 1 <= (reached < best + 1e-6).sum() < 32, "some reach it, some end in a spurious local minimum"


@pytest.mark.slow
def test_every_published_initialisation_reaches_the_pretrained_optimum(problem: lsa.LinearRegression) -> None:
    prior = lsa.SpherePrior(dim=5)
    best = float(lsa.prior_risk(optima.pretrained(problem, prior, 20), problem, prior, 20))
    objective = lsa.regimes.stages("pretrained", lsa.objectives.population_gradient(problem, prior), 20)[0]
    settings = lsa.training.Settings(steps=5000, history_stride=5000)

    def trained_risk(key: jax.Array) -> jax.Array:
        start = lsa.models.LINEAR.init(key, 5)
        run = lsa.training.train(key, objective, start, lsa.optimizers.sgd(0.01, 5000), settings)
        return lsa.prior_risk(run.params, problem, prior, 20)

    reached = jax.jit(jax.vmap(trained_risk))(jax.random.split(jax.random.key(1), 64))
    np.testing.assert_allclose(reached, best, rtol=1e-8)


def test_prior_with_a_mean_or_an_asymmetric_pool_is_refused(anisotropic: lsa.LinearRegression) -> None:
    with_mean = lsa.GaussianPrior(mean=jnp.ones(DIM), covariance=jnp.eye(DIM))
    for prior in (with_mean, lsa.FiniteTasks(tasks=jnp.eye(DIM))):
        with pytest.raises(ValueError, match=r"not symmetric about 0.*centre it"):
            optima.pretrained(anisotropic, prior, 20)


def test_formula_for_centred_priors_is_not_optimal_for_a_prior_with_a_mean(anisotropic: lsa.LinearRegression) -> None:
    centred = optima.pretrained(anisotropic, PRIORS["gaussian"], 20)
    shifted = lsa.GaussianPrior(mean=0.5 * jnp.ones(DIM), covariance=PRIOR_COVARIANCE)
    assert norm(jax.grad(lsa.prior_risk)(centred, anisotropic, shifted, 20)) > 1e-2


@pytest.mark.parametrize("scale", [0.3, -2.0])
def test_full_optimum_has_the_noise_floor_as_its_zero_shot_error(scale: float, anisotropic: lsa.LinearRegression) -> None:
    task = jax.random.normal(jax.random.key(5), (DIM,))
    optimum = optima.full(anisotropic, task, scale, random_params(6))
    assert lsa.population_risk(optimum, anisotropic, task, 0) == pytest.approx(0.4**2, abs=1e-12)
    assert norm(jax.grad(lsa.population_risk)(optimum, anisotropic, task, 0)) < 1e-10


def test_second_family_has_the_same_zero_shot_error_and_its_own_few_shot_limits() -> None:
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(3, 1.0), noise_std=0.4)
    task, scale, label = jnp.array([1.0, -0.5, 0.25]), 0.7, 1.3
    value = jnp.zeros((5, 5)).at[-1, 0].set(scale).at[-1, -1].set(label)
    half = task / (2 * scale)
    query_key = jnp.zeros((5, 5)).at[0, 1:-1].set(half).at[1:-1, 0].set(half)
    params = lsa.Params(value=value, query_key=query_key)
    size = float(task @ problem.covariance @ task)
    assert lsa.population_risk(params, problem, task, 0) == pytest.approx(0.16, abs=1e-12)
    extra = size**2 * label**2 / (4 * scale**2)
    for sign, factor in ((1, 0.25), (-1, 2.25)):
        limit = float(lsa.population_risk(params, problem, sign * task, jnp.inf))
        assert limit == pytest.approx(0.16 + factor * size + extra, abs=1e-10)


def test_one_full_optimum_keeps_in_context_learning(anisotropic: lsa.LinearRegression) -> None:
    task, scale = jax.random.normal(jax.random.key(7), (DIM,)), 0.6
    size = float(task @ anisotropic.covariance @ task)
    value = jnp.zeros((DIM + 2, DIM + 2)).at[-1, 1:-1].set(scale * task)
    query_key = jnp.zeros((DIM + 2, DIM + 2)).at[0, 0].set(1 / scale).at[-1, 1:-1].set(task / (scale * size))
    params = lsa.Params(value=value, query_key=query_key)
    for sign, shots in ((1, 0), (1, jnp.inf), (-1, jnp.inf)):
        assert lsa.population_risk(params, anisotropic, sign * task, shots) == pytest.approx(0.16, abs=1e-12)


def test_gradient_flow_conserves_the_quantity_that_fixes_the_scale(anisotropic: lsa.LinearRegression) -> None:
    params, task = random_params(8), jnp.ones(DIM)
    for shots in (0, 3, jnp.inf):
        gradient = jax.grad(lsa.population_risk)(params, anisotropic, task, shots)
        change = jax.jvp(optima.conserved_quantity, (params,), (gradient,))[1]
        assert abs(change) < 1e-9 * norm(gradient)


def test_balancing_keeps_predictions_and_sets_the_conserved_quantity(anisotropic: lsa.LinearRegression) -> None:
    params = random_params(9)
    for conserved in (-3.0, 0.0, 5.0):
        balanced = optima.balanced(params, conserved)
        assert optima.conserved_quantity(balanced) == pytest.approx(conserved, abs=1e-10)
        before, after = (lsa.population_risk(p, anisotropic, jnp.ones(DIM), 4) for p in (params, balanced))
        np.testing.assert_allclose(after, before, rtol=1e-10)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_flow_of_all_parameters_ends_at_the_conserved_scale(sign: float, problem: lsa.LinearRegression) -> None:
    task = jnp.array([0.6, -0.8, 0.0, 0.0, 0.0])
    start = optima.pretrained(problem, lsa.SpherePrior(dim=5), 20)
    start = lsa.Params(value=sign * start.value, query_key=sign * start.query_key)
    risk = lsa.objectives.population_gradient(problem, task)
    (objective,) = lsa.regimes.stages("full", risk, 20)
    settings = lsa.training.Settings(steps=20_000, history_stride=20_000)
    run = jax.jit(lambda: lsa.training.train(jax.random.key(0), objective, start, optax.sgd(3e-3), settings))()
    scale = optima.conserved_scale(problem, task, start)
    assert np.sign(scale) == sign
    np.testing.assert_allclose(run.params.value[-1, 1:-1], scale * task, atol=0.005)
    np.testing.assert_allclose(run.params.query_key[0, 0], 1 / scale, rtol=0.005)


def test_the_scale_is_refused_from_a_start_that_is_not_pretrained(problem: lsa.LinearRegression) -> None:
    value, query_key = jax.random.normal(jax.random.key(0), (2, 7, 7))
    start = lsa.Params(value=value, query_key=query_key)
    for call in (optima.conserved_scale, lambda problem, task, start: optima.full(problem, task, start=start)):
        with pytest.raises(ValueError, match=r"start has 9.% of its squares outside v_y .*: train it, or give a scale"):
            call(problem, jnp.ones(5), start)
    assert jnp.isnan(jax.jit(optima.conserved_scale)(problem, jnp.ones(5), start))


@pytest.mark.parametrize("seed", range(3))
def test_value_optimum_is_the_nearest_minimiser_for_any_query_key(seed: int, anisotropic: lsa.LinearRegression) -> None:
    start, task = random_params(seed), jax.random.normal(jax.random.key(10 + seed), (DIM,))
    optimum = optima.value(start, anisotropic, task)
    gradient = jax.grad(lsa.population_risk)(optimum, anisotropic, task, 0)
    assert norm(gradient.value) < 1e-9
    np.testing.assert_array_equal(optimum.query_key, start.query_key)
    np.testing.assert_array_equal(optimum.value[:-1], start.value[:-1])
    assert optimum.value[-1, -1] == start.value[-1, -1]


def test_value_optimum_of_the_paper_s_limit(problem: lsa.LinearRegression, target_task: jax.Array) -> None:
    start = optima.pretrained(problem, lsa.SpherePrior(dim=5), jnp.inf)
    row = optima.value(start, problem, target_task).value[-1]
    np.testing.assert_allclose(row, jnp.concatenate([jnp.zeros(1), target_task / 9, jnp.ones(1)]), atol=1e-12)


@pytest.mark.parametrize("num_shots", [1, 20, jnp.inf])
@pytest.mark.parametrize("seed", range(3))
def test_auxiliary_optimum_minimises_the_few_shot_error_inside_the_zero_shot_argmin_set(
    seed: int, num_shots: float, anisotropic: lsa.LinearRegression
) -> None:
    start, task = random_params(seed), jax.random.normal(jax.random.key(10 + seed), (DIM,))
    stage_one = optima.value(start, anisotropic, task)
    optimum = optima.value_auxiliary(start, anisotropic, task, num_shots)
    zero_shot = lsa.population_risk(optimum, anisotropic, task, 0)
    np.testing.assert_allclose(zero_shot, lsa.population_risk(stage_one, anisotropic, task, 0), rtol=1e-10)
    gradient = jax.grad(lsa.population_risk)(optimum, anisotropic, task, num_shots)
    assert abs(gradient.value[-1, -1]) < 1e-9
    np.testing.assert_allclose(optimum.value[-1, :-1], stage_one.value[-1, :-1], atol=1e-12)


@pytest.mark.parametrize(
    ("num_shots", "scale"), [(20, (21 - 33 / 9) / (21 + 5 + 0.5)), (1, (2 - 14 / 9) / (2 + 5 + 0.5)), (jnp.inf, 8 / 9)]
)
def test_auxiliary_scale_of_the_paper_s_limit(
    num_shots: float, scale: float, problem: lsa.LinearRegression, target_task: jax.Array
) -> None:
    start = optima.pretrained(problem, lsa.SpherePrior(dim=5), jnp.inf)
    optimum = optima.value_auxiliary(start, problem, target_task, num_shots)
    assert optimum.value[-1, -1] == pytest.approx(scale, abs=1e-10)


def closed_scale(whitened: np.ndarray, tau: np.ndarray, noise_variance: float, num_shots: int) -> float:
    """Scale of the auxiliary optimum for a symmetric pretrained block, by the formula written out with traces."""
    trace, square = np.trace(whitened), np.trace(whitened @ whitened)
    system = (trace**2 + 2 * square) * np.eye(len(tau)) + 4 * trace * whitened + 8 * whitened @ whitened
    best = np.linalg.solve(system, trace * tau + 2 * whitened @ tau)
    overlap = (num_shots + 3) * tau @ whitened @ whitened @ best + (tau @ best) * square + (tau @ whitened @ best) * trace
    size = (num_shots + 1) * tau @ whitened @ whitened @ tau + (tau @ tau + noise_variance) * square
    return ((num_shots + 1) * tau @ whitened @ tau - overlap) / size


@pytest.mark.parametrize("num_shots", [1, 5, 50])
def test_auxiliary_scale_equals_its_trace_formula(num_shots: int, anisotropic: lsa.LinearRegression) -> None:
    task = jnp.array([1.0, -0.5, 0.2, 0.3])
    start = optima.pretrained(anisotropic, PRIORS["sphere"], 20)
    root = np.linalg.cholesky(np.asarray(anisotropic.covariance))
    whitened = root.T @ np.asarray(start.query_key[1:-1, 1:-1]) @ root
    scale = closed_scale(whitened, root.T @ np.asarray(task), 0.16, num_shots)
    optimum = optima.value_auxiliary(start, anisotropic, task, num_shots)
    assert optimum.value[-1, -1] == pytest.approx(scale, rel=1e-10)


def test_where_no_zero_shot_prediction_is_possible_the_whole_row_is_free(anisotropic: lsa.LinearRegression) -> None:
    block = random_params(11).query_key
    start = lsa.Params(value=random_params(12).value, query_key=(block - block.T).at[-1].set(block[-1]))
    task = jnp.ones(DIM)
    np.testing.assert_array_equal(optima.value(start, anisotropic, task).value, start.value)
    optimum = optima.value_auxiliary(start, anisotropic, task, 5)
    gradient = jax.grad(lsa.population_risk)(optimum, anisotropic, task, 5)
    assert norm(gradient.value) < 1e-9
    assert lsa.population_risk(optimum, anisotropic, task, 5) < lsa.population_risk(start, anisotropic, task, 5)


@pytest.mark.parametrize("noise_std", [0.3, 0.01])
def test_rounding_is_no_zero_shot_ability_after_a_pool_of_one_task(noise_std: float) -> None:
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(DIM, 2.0), noise_std=noise_std)
    tasks, target = jax.random.normal(jax.random.key(0), (2, DIM)), jnp.ones(DIM)
    one = optima.pretrained_slice(problem, lsa.FiniteTasks(tasks=tasks[:1]), 20)
    assert jnp.abs(one.query_key[1:-1, 1:-1]).max() > 0, "rounding, where nothing is to be known"
    np.testing.assert_array_equal(optima.value(one, problem, target).value, one.value)
    two = optima.pretrained_slice(problem, lsa.FiniteTasks(tasks=tasks), 20)
    tuned = optima.value(two, problem, target)
    assert lsa.population_risk(tuned, problem, target, 0) < lsa.population_risk(two, problem, target, 0) - 0.01
    auxiliary = optima.value_auxiliary(one, problem, target, 20)
    assert lsa.population_risk(auxiliary, problem, target, 20) <= lsa.population_risk(one, problem, target, 20)
    assert jnp.abs(auxiliary.value).max() < 1e3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("unit", [1e-3, 1e-2, 1.0, 1e2])
def test_units_of_the_covariates_do_not_decide_which_directions_are_free(
    unit: float, dtype: type, anisotropic: lsa.LinearRegression
) -> None:
    block, value = random_params(11).query_key, random_params(12).value
    block = (block - block.T).at[-1].set(block[-1])
    start = lsa.Params(value=value, query_key=block)
    best = lsa.population_risk(optima.value_auxiliary(start, anisotropic, jnp.ones(DIM), 20), anisotropic, jnp.ones(DIM), 20)
    scale = jnp.ones(DIM + 2).at[1:-1].set(1 / unit)
    measured = lsa.Params(value=(value * scale[None]).astype(dtype), query_key=(block * jnp.outer(scale, scale)).astype(dtype))
    problem = lsa.LinearRegression(
        covariance=(unit**2 * anisotropic.covariance).astype(dtype), noise_std=anisotropic.noise_std.astype(dtype)
    )
    task = jnp.full(DIM, 1 / unit, dtype)
    found = lsa.population_risk(optima.value_auxiliary(measured, problem, task, 20), problem, task, 20)
    np.testing.assert_allclose(found, best, rtol=1e-5 if dtype == jnp.float32 else 1e-10)


@pytest.mark.parametrize("regime", ["value", "value_auxiliary"])
@pytest.mark.parametrize("sign", [1, -1])
def test_few_shot_limits_of_the_paper(regime: str, sign: int, anisotropic: lsa.LinearRegression) -> None:
    task = jax.random.normal(jax.random.key(13), (DIM,))
    start = optima.pretrained(anisotropic, PRIORS["sphere"], jnp.inf)
    fine_tuned = {
        "value": optima.value(start, anisotropic, task),
        "value_auxiliary": optima.value_auxiliary(start, anisotropic, task, jnp.inf),
    }[regime]
    limits = lsa.regimes.paper_limits(regime, DIM)
    wanted = limits.few_shot_target if sign == 1 else limits.few_shot_opposite
    size = float(task @ anisotropic.covariance @ task)
    risk = lsa.population_risk(fine_tuned, anisotropic, sign * task, jnp.inf)
    assert (risk - 0.16) / size == pytest.approx(wanted, abs=1e-10)
    zero_shot = (lsa.population_risk(fine_tuned, anisotropic, task, 0) - 0.16) / size
    assert zero_shot == pytest.approx(limits.zero_shot_target, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("single", ["start", "problem", "task"])
def test_mixed_floating_types_give_the_wider_one(single: str, problem: lsa.LinearRegression, target_task: jax.Array) -> None:
    given = {"start": optima.pretrained(problem, lsa.SpherePrior(dim=5), 20), "problem": problem, "task": target_task}
    mixed = given | {single: jax.tree.map(lambda leaf: leaf.astype(jnp.float32), given[single])}
    for form in (
        lambda start, problem, task: optima.full(problem, task, 0.5, start),
        lambda start, problem, task: optima.value(start, problem, task),
        lambda start, problem, task: optima.value_auxiliary(start, problem, task, 20),
    ):
        found, wanted = form(**mixed), form(**given)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float64")}
        np.testing.assert_allclose(found.value, wanted.value, atol=1e-6)
