"""Samplers: their laws, their keys, and what padding and pools must not change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lsa_jax as lsa
from lsa_jax import prompts
from lsa_jax.normal_rows import sample_normals

LAWS = {
    "gaussian": prompts.gaussian,
    "uniform": prompts.uniform,
    "rademacher": prompts.rademacher,
    "student_t": prompts.student_t(13.0),
}


def problem_in(dim: int) -> lsa.LinearRegression:
    """A problem whose covariance is not diagonal."""
    covariance = lsa.covariances.rotated(jax.random.key(7), lsa.covariances.power_law(dim, 1.0))
    return lsa.LinearRegression(covariance=covariance, noise_std=0.5)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("law", LAWS)
def test_covariates_have_the_problem_s_covariance_whatever_their_law(law: str) -> None:
    problem, task = problem_in(3), jnp.array([1.0, -2.0, 0.5])
    pool = prompts.sample_pool(jax.random.key(0), problem, task, 200_000, LAWS[law])
    x, noise = np.asarray(pool.x), np.asarray(pool.y - pool.x @ task)
    error = 5 * np.sqrt(10 / 200_000) * np.asarray(problem.covariance).max()
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=error)
    np.testing.assert_allclose(np.cov(x.T), problem.covariance, atol=error)
    assert noise.std() == pytest.approx(0.5, rel=5 / np.sqrt(2 * 200_000))
    np.testing.assert_allclose(x.T @ noise / len(x), 0, atol=error)


@pytest.mark.slow
def test_laws_differ_in_their_fourth_moment() -> None:
    kurtosis = {name: float((law(jax.random.key(1), (400_000,), jnp.float64) ** 4).mean()) for name, law in LAWS.items()}
    assert kurtosis["rademacher"] == 1
    assert kurtosis["uniform"] == pytest.approx(9 / 5, abs=0.02)
    assert kurtosis["gaussian"] == pytest.approx(3, abs=0.1)
    assert kurtosis["student_t"] == pytest.approx(3 + 6 / 9, abs=0.25)


def test_student_t_without_twelve_moments_is_refused() -> None:
    with pytest.raises(ValueError, match=r"it must be finite and above 12"):
        prompts.student_t(12.0)


@pytest.mark.parametrize("num_shots", [0, 1, 4])
def test_prompt_holds_context_padding_and_query(num_shots: int) -> None:
    problem, task = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.0), jnp.array([1.0, 2.0, 3.0])
    prompt = prompts.sample_prompt(jax.random.key(0), problem, task, num_shots, max_shots=6)
    tokens = np.asarray(prompt.tokens)
    assert tokens.shape == (7, 5)
    assert prompt.num_tokens == num_shots + 1
    np.testing.assert_allclose(tokens[:num_shots, -1], tokens[:num_shots, 1:-1] @ task)
    assert np.all(tokens[[*range(num_shots), 6], 0] == 1)
    assert not np.any(tokens[num_shots:6])
    assert tokens[6, -1] == 0
    np.testing.assert_allclose(prompt.target, tokens[6, 1:-1] @ task)


@pytest.mark.slow
def test_padding_does_not_change_what_is_drawn() -> None:
    problem, task, key = problem_in(3), jnp.ones(3), jax.random.key(4)
    short = prompts.sample_prompt(key, problem, task, 3)
    long = prompts.sample_prompt(key, problem, task, 3, max_shots=50)
    traced = jax.jit(lambda n: prompts.sample_prompt(key, problem, task, n, max_shots=50))(3)
    for padded in (long, traced):
        np.testing.assert_array_equal(padded.tokens[:3], short.tokens[:3])
        np.testing.assert_array_equal(padded.tokens[-1], short.tokens[-1])
        assert padded.target == short.target


def test_prediction_does_not_see_the_target() -> None:
    problem, params = problem_in(3), lsa.Params(value=jnp.ones((5, 5)), query_key=jnp.ones((5, 5)))
    pool = prompts.sample_pool(jax.random.key(0), problem, jnp.ones(3), 1)

    def prediction_and_target(label: jax.Array) -> tuple[jax.Array, jax.Array]:
        prompt = prompts.sample_pool_prompt(jax.random.key(0), dataclasses.replace(pool, y=label), 0)
        return lsa.predict(params, prompt.tokens), prompt.target

    prediction_slope, target_slope = jax.jacobian(prediction_and_target)(pool.y)
    assert not prediction_slope.any()
    assert target_slope == 1


@pytest.mark.slow
def test_pool_prompts_hold_pool_examples_only() -> None:
    pool = prompts.sample_pool(jax.random.key(0), problem_in(2), jnp.ones(2), 5)
    drawn = jax.vmap(lambda key: prompts.sample_pool_prompt(key, pool, 3))(jax.random.split(jax.random.key(1), 2000))
    queries = np.concatenate([drawn.tokens[:, -1, 1:-1], drawn.target[:, None]], axis=1)
    examples = np.concatenate([np.asarray(pool.x), np.asarray(pool.y)[:, None]], axis=1)
    for rows in (np.asarray(drawn.tokens[:, :3, 1:]).reshape(-1, 3), queries):
        which = np.abs(rows[:, None] - examples).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(rows, examples[which])
        assert stats.chisquare(np.bincount(which, minlength=5)).pvalue > 1e-4


@pytest.mark.parametrize(
    "prior",
    [
        lsa.GaussianPrior(mean=jnp.array([1.0, -1.0]), covariance=jnp.array([[2.0, 0.5], [0.5, 1.0]])),
        lsa.SpherePrior(dim=2, radius=1.5),
        lsa.FiniteTasks(tasks=jnp.array([[1.0, 0.0], [0.0, 3.0], [-1.0, 1.0]])),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_tasks_have_the_moments_of_their_prior(prior: lsa.GaussianPrior | lsa.SpherePrior | lsa.FiniteTasks) -> None:
    tasks = np.asarray(prompts.sample_tasks(jax.random.key(0), prior, 200_000))
    match prior:
        case lsa.GaussianPrior():
            mean, second = prior.mean, prior.covariance + jnp.outer(prior.mean, prior.mean)
        case lsa.SpherePrior():
            mean, second = jnp.zeros(2), jnp.eye(2) * 1.5**2 / 2
            np.testing.assert_allclose((tasks**2).sum(axis=0), 1.5**2)
        case _:
            mean, second = prior.tasks.mean(axis=0), prior.tasks.T @ prior.tasks / 3
    np.testing.assert_allclose(tasks.mean(axis=1), mean, atol=0.02)
    np.testing.assert_allclose(tasks @ tasks.T / 200_000, second, atol=0.05)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("num_shots", [1, 2, 3, 20])
@pytest.mark.parametrize("noise_std", [0.0, 0.5])
def test_projected_context_has_the_law_of_the_tokens(num_shots: int, noise_std: float) -> None:
    count, task = 50_000, jnp.array([0.5, -1.0, 2.0])
    problem = lsa.LinearRegression(covariance=problem_in(3).covariance, noise_std=noise_std)
    left, right = jax.random.normal(jax.random.key(5), (2, 5))
    columns = jnp.broadcast_to(right[:, None], (5, count))
    projected = prompts.sample_context_means(jax.random.key(6), problem, task[:, None], left[:, None], columns, num_shots)

    def from_tokens(key: jax.Array) -> jax.Array:
        context = prompts.sample_prompt(key, problem, task, num_shots).tokens[:-1]
        return jnp.mean((context @ left) * (context @ right))

    tokens = jax.vmap(from_tokens)(jax.random.split(jax.random.key(7), count))
    assert stats.ks_2samp(projected, tokens).pvalue > 1e-3
    control = stats.ks_2samp(projected, 1.1 * tokens).pvalue
    assert control < 1e-3, "a law 10 % wider would have passed"


def test_projected_context_is_zero_without_examples_and_its_mean_with_infinitely_many() -> None:
    problem, task = problem_in(3), jnp.array([0.5, -1.0, 2.0])
    left, right = jax.random.normal(jax.random.key(5), (2, 5))
    tokens = prompts.sample_prompt(jax.random.key(0), problem, task, 10**6).tokens[:-1]
    for shots, wanted, tolerance in ((0, 0.0, 0.0), (jnp.inf, jnp.mean((tokens @ left) * (tokens @ right)), 0.05)):
        drawn = prompts.sample_context_means(
            jax.random.key(1), problem, task[:, None], left[:, None], jnp.broadcast_to(right[:, None], (5, 3)), shots
        )
        np.testing.assert_allclose(drawn, jnp.full(3, wanted), atol=tolerance)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("num_shots", [0, 1, 2, 20])
def test_projected_gradient_is_that_of_the_exact_risk(num_shots: int) -> None:
    problem, task = problem_in(2), jnp.array([0.5, -1.0])
    keys = jax.random.split(jax.random.key(3), 2)
    params = lsa.Params(value=0.5 * jax.random.normal(keys[0], (4, 4)), query_key=0.5 * jax.random.normal(keys[1], (4, 4)))
    risk = lsa.objectives.fresh_prompts(problem, task, 20_000)
    gradients = jax.jit(jax.vmap(jax.grad(lambda p, key: risk(key, p, num_shots)), (None, 0)))(
        params, jax.random.split(jax.random.key(4), 64)
    )
    exact = jax.grad(lsa.population_risk)(params, problem, task, num_shots)
    for sampled, truth in zip(jax.tree.leaves(gradients), jax.tree.leaves(exact), strict=True):
        error = np.maximum(sampled.std(axis=0, ddof=1) / 8, 1e-12)
        assert np.all(np.abs(sampled.mean(axis=0) - truth) < 5 * error)
        assert np.linalg.norm(error) < 0.03 * np.linalg.norm(truth)


@pytest.mark.slow
def test_gradient_is_finite_where_the_square_roots_vanish() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.0)
    flat = lsa.Params(value=jnp.zeros((3, 3)), query_key=jnp.eye(3))
    family = lsa.optima.full(problem, jnp.ones(1), 0.5, lsa.Params(value=jnp.eye(3), query_key=jnp.zeros((3, 3))))
    risk = lsa.objectives.fresh_prompts(problem, jnp.ones(1), 8)
    for params in (flat, family):
        gradient = jax.grad(lambda p: risk(jax.random.key(0), p, 3.0))(params)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_tokens_of_a_traced_or_infinite_number_of_shots_are_refused() -> None:
    problem = problem_in(2)
    with pytest.raises(ValueError, match=r"num_shots is traced.*give max_shots"):
        jax.jit(lambda n: prompts.sample_prompt(jax.random.key(0), problem, jnp.ones(2), n))(3)
    with pytest.raises(ValueError, match=r"num_shots is infinite"):
        prompts.sample_prompt(jax.random.key(0), problem, jnp.ones(2), jnp.inf)
    with pytest.raises(ValueError, match=r"num_shots is 3, above max_shots 2"):
        prompts.sample_prompt(jax.random.key(0), problem, jnp.ones(2), 3, max_shots=2)


@pytest.mark.slow
def test_draws_are_the_same_with_and_without_x64() -> None:
    def draws() -> list[np.ndarray]:
        key, tasks = jax.random.key(3), lsa.FiniteTasks(tasks=jnp.eye(5, dtype=jnp.float32))
        pool = prompts.Pool(x=jnp.arange(20, dtype=jnp.float32)[:, None], y=jnp.zeros(20, jnp.float32))
        laws = [law(key, (8,), jnp.dtype("float32")) for law in LAWS.values()]
        return [np.asarray(x) for x in (*laws, prompts.sample_tasks(key, tasks, 6), prompts.sample_pool_prompt(key, pool, 4).tokens)]

    with jax.enable_x64(False):
        single = draws()
    for one, other in zip(draws(), single, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_of_normals_are_the_same_in_a_loop_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        drawn.append(np.asarray(sample_normals(jax.random.key(3), 4, 1000, jnp.float32)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert abs(np.corrcoef(drawn[0]) - np.eye(4)).max() < 5 / 1000**0.5
    assert abs(drawn[0].std() - 1) < 5 / 8000**0.5
