"""Training as theory: the flow of four numbers, the moments of stochastic descent and the bias of clipping, each against its definition."""

import functools
import itertools
from collections.abc import Callable

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from agreement import assert_agrees
from oracles import heads_prediction

import lsa_jax as lsa
from lsa_jax import dynamics
from lsa_jax.claims import case as cases
from lsa_jax.claims import forgetting, stochastic
from lsa_jax.claims.findings import Finding
from lsa_jax.claims.settings import Settings
from lsa_jax.dynamics.flow import follow, motion, velocity

GRADIENT = jax.jit(jax.grad(lsa.population_risk))
SETTINGS = [(2, 5, 0.0, 1.0), (3, 8, 0.5, 0.49), (5, 20, 0.1**0.5, 1.0), (1, 4, 0.3, 1.0), (6, 12, 0.2, 1.7)]
"""Dimension, pretraining shots, noise and variance of the covariates."""


def prepared(dim: int, shots: int, noise_std: float, variance: float) -> tuple[lsa.LinearRegression, jax.Array, lsa.Params]:
    """A problem, a target task of no special length, and a pretrained start at a scale of its own."""
    problem = lsa.LinearRegression(covariance=variance * jnp.eye(dim), noise_std=noise_std)
    start = lsa.optima.balanced(lsa.optima.pretrained(problem, lsa.SpherePrior(dim=dim), shots), 0.3)
    return problem, jax.random.normal(jax.random.key(dim), (dim,)), start


def filled(start: lsa.Params) -> lsa.Params:
    """The start with numbers in all entries that no zero-shot gradient touches."""
    other = jax.random.normal(jax.random.key(1), start.value.shape) / 4
    query_key = start.query_key.at[:-1, :-1].add(other[:-1, :-1] - other[:-1, :-1].T).at[-1].add(other[-1])
    return lsa.Params(value=start.value.at[0].add(other[0]), query_key=query_key)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_gradients_of_the_four_numbers_are_those_of_all_parameters(setting: tuple[int, int, float, float]) -> None:
    problem, task, start = prepared(*setting)
    moving = motion(problem, task, filled(start))
    for seed in range(3):
        state = jax.random.normal(jax.random.key(seed), (4,)).at[3].multiply(problem.dim > 1)
        slope = GRADIENT(moving.params(state), problem, task, 0)
        change = velocity(np.asarray(state), problem.dim, float(moving.size), float(moving.variance))
        moved = jax.jvp(moving.params, (state,), (jnp.array(change).at[3].multiply(problem.dim > 1),))[1]
        size = float(jnp.abs(slope.query_key).max())
        for name in ("value", "query_key"):
            np.testing.assert_allclose(getattr(moved, name), -getattr(slope, name), atol=1e-12 * size)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_path_is_that_of_the_full_gradient_flow(setting: tuple[int, int, float, float]) -> None:
    problem, task, start = prepared(*setting)
    prior = lsa.SpherePrior(dim=problem.dim)
    times = np.array([0.05, 0.5, 1.0, 1.5]) * dynamics.forgetting_time(problem, prior, task, start, jnp.inf)
    start = filled(start)
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    slope = jax.jit(lambda entries: jax.flatten_util.ravel_pytree(GRADIENT(unravel(entries), problem, task, 0))[0])
    full = scipy.integrate.solve_ivp(
        lambda _, entries: -np.asarray(slope(entries)), (0, times[-1]), flat, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-12
    )
    path = jax.vmap(lambda params: jax.flatten_util.ravel_pytree(params)[0])(dynamics.full_tuning(problem, task, start, times))
    np.testing.assert_allclose(path, full.y.T, atol=1e-8 * float(jnp.abs(flat).max()))
    assert np.abs(full.y[:, -1] - flat).max() > 0.1, "it moved"


def test_in_context_learning_is_lost_late_and_the_first_gains_are_free() -> None:
    problem, task, start = prepared(5, 20, 0.1**0.5, 1.0)
    prior = lsa.SpherePrior(dim=5)
    lost = dynamics.forgetting_time(problem, prior, task, start, 20, share=0.25)
    path = dynamics.full_tuning(problem, task, start, np.array([0.0, 1e-5, 1e-4, lost, 100 * lost]))
    errors = dynamics.errors_along(path, problem, prior, task, 20)
    nothing = 0.1 + 1.0
    assert float((nothing - errors.prior[3]) / (nothing - errors.prior[0])) == pytest.approx(0.75, abs=1e-8)
    assert errors.zero_shot[-1] == pytest.approx(0.1, abs=1e-9)
    gain, price = (np.abs(np.asarray(one[1:3] - one[0])) for one in (errors.zero_shot, errors.prior))
    assert gain[1] / gain[0] == pytest.approx(10, rel=0.1)
    assert price[1] / price[0] == pytest.approx(100, rel=0.1)
    np.testing.assert_allclose(errors.target, jax.vmap(lambda one: lsa.population_risk(one, problem, task, 20))(path), rtol=1e-12)
    np.testing.assert_allclose(errors.opposite, jax.vmap(lambda one: lsa.population_risk(one, problem, -task, 20))(path), rtol=1e-12)


@pytest.mark.parametrize("angle", [0.5, 1.2])
def test_forgetting_in_high_dimension_follows_its_law(angle: float) -> None:
    scale, size = 0.8, 1.3

    def relative(dim: int) -> float:
        def fallen(_: float, state: np.ndarray) -> float:
            return state[3] - scale * np.cos(angle)

        fallen.terminal = True  # ty: ignore[missing-attribute]
        law = scale**2 * dim**2.5 / (8 * size**2) * (angle + np.sin(angle) * np.cos(angle))
        return follow(np.array([0, 0, scale, scale]), dim, size, 1.0, 100 * law, events=fallen).t_events[0][0] / law

    first, second, third = (relative(4**power) for power in (5, 6, 7))
    assert abs(third - 1) < 0.02
    assert (second - 1) / (third - 1) == pytest.approx(2, rel=0.15), "the distance falls as the root of the dimension"
    assert (4 * (2 * third - second) - (2 * second - first)) / 3 == pytest.approx(1, abs=1e-3)


Descent = tuple[np.ndarray, np.ndarray, np.ndarray]


def prompts_by_quadrature(dim: int, scale: float, variance: float, task: np.ndarray, noise_std: float) -> Descent:
    """Features, targets and weights of zero-shot prompts at the nodes of a rule that is exact to degree 15, by the definition."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    grid = np.array(list(itertools.product(nodes, repeat=dim + 1)))
    probability = np.array(list(itertools.product(weights / weights.sum(), repeat=dim + 1))).prod(axis=1)
    x = variance**0.5 * grid[:, :dim]
    tokens = np.concatenate([np.ones((len(x), 1)), x, np.zeros((len(x), 1))], axis=1)[:, None]
    query_key = np.zeros((dim + 2, dim + 2))
    query_key[1:-1, 1:-1] = scale * np.eye(dim)
    features = [heads_prediction(np.outer(np.eye(dim + 2)[-1], row)[None], query_key[None], tokens) for row in np.eye(dim + 2)[:-1]]
    return np.stack(features, axis=1), x @ task + noise_std * grid[:, dim], probability


def second_moment_map(prompts: Descent, rate: float, batch: float, momentum: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map of the second moments of (error, momentum) by one step, what it adds, and the Hessian; all from full matrices."""
    features, targets, probability = prompts
    size = features.shape[1]
    hessian = np.einsum("p,pi,pj->ij", probability, features, features)
    best = np.linalg.solve(hessian, np.einsum("p,pi,p->i", probability, features, targets))
    pull = 2 * np.einsum("pi,pj->pij", features, features)
    identity = np.broadcast_to(np.eye(size), pull.shape)
    step = np.block([[identity - rate * pull, -rate * momentum * identity], [pull, momentum * identity]])
    push = 2 * features * (features @ best - targets)[:, None]
    noise = np.concatenate([-rate * push, push], axis=1)
    mean = np.einsum("p,pij->ij", probability, step)
    both = np.einsum("p,pij,pkl->ikjl", probability, step, step, optimize=True).reshape(4 * size**2, -1)
    both = both / batch + (1 - 1 / batch) * np.kron(mean, mean)
    return both, (np.einsum("p,pi,pj->ij", probability, noise, noise) / batch).ravel(), hessian


DESCENTS = [(1, 0.7, 1.0, 1, 0.0), (2, 0.8, 1.0, 4, 0.0), (2, 1.1, 0.6, 16, 0.5), (2, 0.9, 1.5, 3, 0.9)]
"""Dimension, scale of Q, variance of the covariates, batch size and momentum."""


@pytest.mark.parametrize("setting", DESCENTS, ids=str)
@pytest.mark.parametrize("noisy", [True, False])
def test_moments_of_descent_are_those_of_all_second_moments(setting: tuple[int, float, float, int, float], *, noisy: bool) -> None:
    dim, scale, variance, batch, momentum = setting
    task, noise_std = np.array([0.9, -0.5])[:dim], 0.4
    problem = lsa.LinearRegression(covariance=variance * jnp.eye(dim), noise_std=noise_std)
    prompts = prompts_by_quadrature(dim, scale, variance, task, noise_std * noisy)
    edge = float(dynamics.largest_rate(problem, scale, batch, momentum=momentum))

    def radius(rate: float) -> float:
        return np.abs(np.linalg.eigvals(second_moment_map(prompts, rate, batch, momentum)[0])).max()

    assert radius(edge) == pytest.approx(1, abs=1e-9)
    assert radius(0.99 * edge) < 1 < radius(1.01 * edge)
    for part in (0.1, 0.9):
        both, noise, hessian = second_moment_map(prompts, part * edge, batch, momentum)
        moments = np.linalg.solve(np.eye(len(noise)) - both, noise).reshape(2 * dim + 2, -1)
        wanted = np.sum(hessian * moments[: dim + 1, : dim + 1])
        found = dynamics.stationary_excess(problem, task, scale, part * edge, batch, momentum=momentum, noisy_labels=noisy)
        assert float(found) == pytest.approx(wanted, rel=1e-9)
    assert dynamics.stationary_excess(problem, task, scale, 1.001 * edge, batch, momentum=momentum) == jnp.inf


def test_numbers_of_the_published_size() -> None:
    problem, task = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.3), jnp.eye(5)[0]
    rates = jax.vmap(lambda batch: dynamics.largest_rate(problem, 0.8, batch))(jnp.array([1, 32, jnp.inf]))
    np.testing.assert_allclose(rates, [0.0007, 0.0120, 0.0248], atol=5e-5)
    assert rates[-1] == pytest.approx(1 / (0.64 * 7 * 9))
    assert dynamics.largest_rate(problem, 0.8, jnp.inf, momentum=0.9) == pytest.approx(1.9 / (0.64 * 7 * 9))
    assert dynamics.stationary_excess(problem, task, 0.8, 1e-3, 64, noisy_labels=False) == pytest.approx(0.004043, abs=5e-7)
    assert dynamics.stationary_excess(problem, task, 0.8, 1e-3, jnp.inf) == 0


def test_small_excesses_fall_as_one_over_the_batch_and_grow_as_the_rate() -> None:
    problem, task = lsa.LinearRegression(covariance=jnp.eye(4), noise_std=0.3), jnp.ones(4)
    excess = functools.partial(dynamics.stationary_excess, problem, task, 0.8)
    assert float(excess(1e-7, 16) / excess(1e-7, 32)) == pytest.approx(2, rel=1e-3)
    assert float(excess(2e-7, 16) / excess(1e-7, 16)) == pytest.approx(2, rel=1e-3)
    assert float(excess(1e-7, 16, momentum=0.9) / excess(1e-6, 16)) == pytest.approx(1, rel=1e-2)


def clipped_gradient(dim: int, scale: float, variance: float, task: np.ndarray, clip_norm: float) -> Callable[[float], np.ndarray]:
    """The component along the target of the clipped gradient of each of many drawn prompts, as a function of v_x over its optimum."""
    x = variance**0.5 * np.random.default_rng(0).standard_normal((1_000_000, dim))
    response = scale * np.sum(x**2, axis=1)
    features, direction = response[:, None] * np.concatenate([np.ones((len(x), 1)), x], axis=1), task / np.linalg.norm(task)
    optimum = task / (scale * variance * (dim + 4))

    def gradient(factor: float) -> np.ndarray:
        gradients = 2 * features * (features[:, 1:] @ (factor * optimum) - x @ task)[:, None]
        return gradients[:, 1:] @ direction * np.minimum(1, clip_norm / np.linalg.norm(gradients, axis=1))

    return gradient


@pytest.mark.parametrize(
    ("dim", "scale", "variance", "clip_norm"), [(5, 0.8, 1.0, 1.0), (1, 0.7, 1.0, 2.0), (2, 1.1, 1.6, 0.3), (3, 1.0, 0.5, 20.0)]
)
def test_clipped_gradients_vanish_on_average_at_the_fixed_point(dim: int, scale: float, variance: float, clip_norm: float) -> None:
    task = np.array([0.9, -0.5, 0.3, 0.2, 0.1])[:dim]
    problem = lsa.LinearRegression(covariance=variance * jnp.eye(dim), noise_std=0.0)
    gradient = clipped_gradient(dim, scale, variance, task, clip_norm)
    near = scipy.optimize.brentq(lambda factor: gradient(factor)[::50].mean(), 0.5, 8.0)
    slope = (gradient(1.01 * near) - gradient(0.99 * near)).mean() / (0.02 * near)
    here = gradient(near)
    error = here.std() / len(here) ** 0.5 / slope
    assert_agrees(near - here.mean() / slope, error, dynamics.clipped_fixed_point(problem, task, scale, clip_norm))


def test_the_bias_of_clipping_lies_between_none_and_that_of_a_median() -> None:
    problem, task = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.0), jnp.eye(5)[0]
    factors = [dynamics.clipped_fixed_point(problem, task, 0.8, norm) for norm in (1e-5, 1.0, 10.0, 1e5)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(1, abs=1e-6)
    lengths = np.linalg.norm(np.random.default_rng(0).standard_normal((1_000_000, 5)), axis=1)
    lengths.sort()
    weights = np.cumsum(lengths / np.sqrt(1 + lengths**2))
    median = lengths[np.searchsorted(weights, weights[-1] / 2)]
    assert factors[0] == pytest.approx(9 / median**2, rel=5e-3)


@pytest.mark.slow
def test_the_claim_about_clipping_holds_and_a_false_point_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.prepare(Settings(dim=3, prompts=200_000))
    monkeypatch.setattr(stochastic, "CLIPPED", (1.0,))
    (finding,) = stochastic.clipping(case)
    assert finding.holds, finding.verdict
    true = dynamics.clipped_fixed_point
    monkeypatch.setattr(dynamics, "clipped_fixed_point", lambda *given: 1.05 * true(*given))
    assert not stochastic.clipping(case)[0].holds


@pytest.mark.slow
@pytest.mark.parametrize("check", [forgetting.forgetting, stochastic.descent, stochastic.clipping])
@pytest.mark.parametrize("dim", [3, 5])
def test_claims_about_training_hold_with_a_precise_simulation(check: Callable[[cases.Case], list[Finding]], dim: int) -> None:
    for finding in check(cases.prepare(Settings(dim=dim, covariance="power_law:1"))):
        assert finding.holds, finding.verdict
        assert finding.precise or dim < 5, finding.verdict
