"""Baselines against plain formulas, against published numbers, and on the same prompts as the models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import estimators, prompts
from lsa_jax.squared_errors import prompt_errors

SPHERE = lsa.SpherePrior(dim=5, radius=jnp.float32(1.0))
PUBLISHED = lsa.LinearRegression(covariance=jnp.eye(5, dtype=jnp.float32), noise_std=jnp.float32(0.1**0.5))
TASK = jnp.array([0.6, -0.8, 0.0, 0.0, 0.0], jnp.float32)


def examples(num_shots: int, dim: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, jax.Array]:
    """Covariates, labels and query, and all as tokens."""
    random = np.random.default_rng(num_shots)
    x, y, query = random.normal(size=(num_shots, dim)), random.normal(size=num_shots), random.normal(size=dim)
    rows = np.concatenate([np.ones((num_shots, 1)), x, y[:, None]], axis=1)
    return x, y, query, jnp.asarray(np.concatenate([rows, np.concatenate([[1.0], query, [0.0]])[None]]))


def simulated(model: Any, params: Any, num_shots: int, count: int = 100_000) -> tuple[float, float]:
    """Mean error and its standard error in the published setting."""

    @jax.jit
    def errors(key: jax.Array) -> jax.Array:
        return prompt_errors(key, model, params, lambda key: prompts.sample_prompt(key, PUBLISHED, TASK, num_shots), 2000)

    drawn = np.asarray(jax.lax.map(errors, jax.random.split(jax.random.key(num_shots), count // 2000)))
    return float(drawn.mean()), float(drawn.std() / count**0.5)


@pytest.mark.parametrize("num_shots", [2, 7])
def test_estimators_are_their_formulas(num_shots: int) -> None:
    x, y, query, tokens = examples(num_shots)
    penalty, step = np.diag([1.0, 2.0, 0.5]), np.diag([0.3, 0.1, 0.2])
    descended = np.zeros(3)
    for size in (0.3, 0.1):
        descended = descended + size * sum((y[i] - descended @ x[i]) * x[i] for i in range(num_shots)) / num_shots
    known: dict[str, tuple[Any, Any, Any]] = {
        "zero": (estimators.zero, None, 0.0),
        "averaging": (estimators.averaging, None, query @ x.T @ y / num_shots),
        "least squares": (estimators.least_squares, None, query @ np.linalg.lstsq(x, y)[0]),
        "ridge": (estimators.ridge, 0.7, query @ np.linalg.solve(x.T @ x + 0.7 * np.eye(3), x.T @ y)),
        "ridge by matrix": (estimators.ridge, penalty, query @ np.linalg.solve(x.T @ x + penalty, x.T @ y)),
        "descent": (estimators.gradient_descent, jnp.array([0.3, 0.1]), query @ descended),
        "preconditioned": (estimators.gradient_descent, jnp.asarray(step)[None], query @ step @ x.T @ y / num_shots),
    }
    padded = jnp.concatenate([tokens[:-1], jnp.zeros((3, 5)), tokens[-1:]])
    for name, (estimator, params, truth) in known.items():
        np.testing.assert_allclose(estimator(params, tokens), truth, rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(estimator(params, padded, num_shots + 1), truth, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("num_tasks", [1, 128, 300])
def test_pool_mean_is_the_posterior_mean_in_any_number_of_chunks(num_tasks: int) -> None:
    x, y, query, tokens = examples(4)
    tasks = np.random.default_rng(1).normal(size=(num_tasks, 3))
    logs = np.array([-sum((y[i] - task @ x[i]) ** 2 for i in range(4)) / (2 * 0.3**2) for task in tasks])
    weights = np.exp(logs - logs.max())
    truth = query @ (weights @ tasks / weights.sum())
    pool = estimators.KnownPool(tasks=tasks, noise_std=0.3)
    np.testing.assert_allclose(estimators.pool_mean(pool, tokens), truth, rtol=1e-10)
    np.testing.assert_allclose(estimators.pool_mean(pool, tokens[-1:]), query @ tasks.mean(axis=0), rtol=1e-10)


def test_pool_of_a_million_tasks_finds_the_right_one() -> None:
    tasks = jax.random.normal(jax.random.key(0), (2**20, 8), jnp.float32)
    problem = lsa.LinearRegression(covariance=jnp.eye(8, dtype=jnp.float32), noise_std=jnp.float32(0.01))
    prompt = prompts.sample_prompt(jax.random.key(1), problem, tasks[777_777], 24)
    predict = jax.jit(estimators.pool_mean).lower(estimators.KnownPool(tasks=tasks, noise_std=0.01), prompt.tokens).compile()
    predicted = predict(estimators.KnownPool(tasks=tasks, noise_std=0.01), prompt.tokens)
    assert float(predicted) == pytest.approx(float(tasks[777_777] @ prompt.tokens[-1, 1:-1]), rel=1e-5)
    memory: Any = predict.memory_analysis()
    assert memory.temp_size_in_bytes < 2**20 * 8 * 4 + 2**22, "more than a copy of the tasks and 4 MB"


# fmt: off
RIDGE = [
    1.1, 0.926, 0.763, 0.617, 0.494, 0.397, 0.326, 0.276, 0.240, 0.215, 0.196,
    0.182, 0.172, 0.163, 0.156, 0.151, 0.146, 0.143, 0.139, 0.136, 0.134,
]
# fmt: on


@pytest.mark.parametrize("num_shots", [n if n in {1, 20} else pytest.param(n, marks=pytest.mark.slow) for n in range(21)])
def test_bayes_ridge_has_the_reference_errors(num_shots: int) -> None:
    penalty = estimators.ridge_penalty(PUBLISHED, SPHERE)
    np.testing.assert_allclose(penalty, 0.5 * np.eye(5), rtol=1e-6)
    mean, error = simulated(estimators.ridge, penalty, num_shots)
    assert abs(mean - RIDGE[num_shots]) < 5 * error + 5e-4
    assert error < 0.01 * mean


@pytest.mark.parametrize(
    ("steps", "reference"),
    [pytest.param(*case, marks=pytest.mark.slow) for case in ((1, 0.3457), (2, 0.1969), (3, 0.1564), (4, 0.1433))],
)
def test_best_gradient_descent_has_the_reference_errors(steps: int, reference: float) -> None:
    fitted = estimators.fit_gradient_descent(jax.random.key(0), PUBLISHED, SPHERE, 20, steps)
    mean, error = simulated(estimators.gradient_descent, fitted, 20)
    assert abs(mean - reference) < 5 * error + 5e-5
    assert error < 0.01 * mean
    worse, _ = simulated(estimators.gradient_descent, 1.15 * fitted, 20)
    assert worse > mean, "on the same prompts"


@pytest.mark.slow
def test_preconditioners_serve_covariates_of_unequal_size() -> None:
    problem = lsa.LinearRegression(covariance=jnp.diag(jnp.array([2.0, 0.5, 0.1])), noise_std=0.3)
    prior = lsa.GaussianPrior(mean=jnp.zeros(3), covariance=jnp.eye(3))

    def draw(key: jax.Array) -> prompts.Prompt:
        return prompts.sample_prompt(jax.random.fold_in(key, 0), problem, prompts.sample_task(jax.random.fold_in(key, 1), prior), 30)

    losses = {}
    for preconditioned in (False, True):
        steps = estimators.fit_gradient_descent(jax.random.key(0), problem, prior, 30, 1, preconditioned=preconditioned)
        losses[preconditioned] = float(jnp.mean(prompt_errors(jax.random.key(1), estimators.gradient_descent, steps, draw, 20_000)))
    assert losses[True] < 0.95 * losses[False]
    # The best single preconditioner of masked descent, by the stationarity of its exact risk (theory of one layer at normaliser n).
    second = problem.covariance
    wanted = jnp.linalg.inv(31 / 30 * second + (jnp.trace(second) + 0.09) / 30 * jnp.eye(3))
    np.testing.assert_allclose(steps[0], wanted, atol=0.05 * float(jnp.abs(wanted).max()))


def position_errors(estimator: Any, params: Any, prior: Any, count: int) -> tuple[float, float]:
    """Mean over 16 positions of the squared error on the noisy target over d, and its standard error.

    Predictions are linear in the query and queries isotropic, so a sum over the axes is the mean over queries; noise adds its variance.
    """
    problem = lsa.LinearRegression(covariance=jnp.eye(8, dtype=jnp.float32), noise_std=jnp.float32(0.5))

    @jax.jit
    def error(key: jax.Array) -> jax.Array:
        task = prompts.sample_task(jax.random.fold_in(key, 0), prior)

        def at(num_shots: jax.Array) -> jax.Array:
            prompt = prompts.sample_prompt(jax.random.fold_in(key, 1), problem, task, num_shots, max_shots=15)

            def on_axis(axis: jax.Array) -> jax.Array:
                return estimator(params, prompt.tokens.at[-1, 1:-1].set(axis), prompt.num_tokens)

            return jnp.sum((jax.vmap(on_axis)(jnp.eye(8, dtype=jnp.float32)) - task) ** 2)

        return (jnp.mean(jax.lax.map(at, jnp.arange(16, dtype=jnp.float32))) + 0.25) / 8

    errors = np.asarray(jax.lax.map(error, jax.random.split(jax.random.key(5), count), batch_size=256))
    return errors.mean(), errors.std() / count**0.5


@pytest.mark.slow
def test_few_and_many_tasks_have_the_published_errors() -> None:
    gaussian = lsa.GaussianPrior(mean=jnp.zeros(8, jnp.float32), covariance=jnp.eye(8, dtype=jnp.float32))
    mean, error = position_errors(estimators.ridge, jnp.float32(0.25), gaussian, 8192)
    assert abs(mean - 0.3758) < 5 * error
    assert error < 0.01 * mean
    tasks = jax.random.normal(jax.random.key(64), (64, 8), jnp.float32)
    pool = estimators.KnownPool(tasks=tasks, noise_std=0.5)
    on_pool, error_on_pool = position_errors(estimators.pool_mean, pool, lsa.FiniteTasks(tasks=tasks), 4096)
    on_true, error_on_true = position_errors(estimators.pool_mean, pool, gaussian, 4096)
    # One pool of 64 differs from the published one: its mean square alone by one part in sqrt(64 * 8 / 2).
    assert abs(on_pool - 0.192) < 5 * error_on_pool + 0.192 / 16
    assert abs(on_true - 0.901) < 5 * error_on_true + 0.901 / 16


BAD = {
    "penalty 0": (lambda: estimators.ridge(0.0, jnp.ones((2, 4))), r"penalty is 0; it must not be zero"),
    "penalty shape": (lambda: estimators.ridge(jnp.eye(3), jnp.ones((2, 4))), r"penalty has shape \(3, 3\); it must have shape \(2, 2\)"),
    "steps": (lambda: estimators.gradient_descent(jnp.eye(2), jnp.ones((2, 4))), r"steps have shape \(2, 2\); they must have shape"),
    "tokens": (lambda: estimators.zero(None, jnp.ones((2, 2))), r"tokens have shape \(2, 2\); rows must have at least 3 entries"),
    "noise 0": (lambda: estimators.KnownPool(tasks=jnp.eye(2), noise_std=0.0), r"noise_std is 0; it must not be zero"),
    "pool of another size": (
        lambda: estimators.pool_mean(estimators.KnownPool(tasks=jnp.eye(2), noise_std=1.0), jnp.ones((2, 5))),
        r"tokens have shape \(2, 5\); this pool wants rows of 4 entries",
    ),
    "ridge of a pool": (
        lambda: estimators.ridge_penalty(PUBLISHED, lsa.FiniteTasks(tasks=jnp.eye(5))),
        r"for a pool of tasks use pool_mean",
    ),
    "no shots to fit": (
        lambda: estimators.fit_gradient_descent(jax.random.key(0), PUBLISHED, SPHERE, 0, 1),
        r"num_shots is 0; it must be a whole number, at least 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_estimators_are_refused(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()
