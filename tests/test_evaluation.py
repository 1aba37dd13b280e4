"""Error curves, and tasks at a given similarity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import ArrayLike

import lsa_jax as lsa
from lsa_jax import empirical, evaluation, squared_errors


@pytest.fixture
def anisotropic() -> lsa.LinearRegression:
    """A problem whose covariance is not diagonal."""
    return lsa.LinearRegression(covariance=lsa.covariances.rotated(jax.random.key(0), lsa.covariances.power_law(4, 1.0)), noise_std=0.3)


@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.0, 0.9, 1.0])
def test_task_has_the_size_and_the_cosine_asked_for(cosine: float, anisotropic: lsa.LinearRegression) -> None:
    target = jnp.array([1.0, -2.0, 0.5, 0.0])
    task = evaluation.task_at_cosine(jax.random.key(1), anisotropic, target, cosine)
    inner = lambda a, b: a @ anisotropic.covariance @ b  # noqa: E731
    assert inner(task, task) == pytest.approx(float(inner(target, target)), rel=1e-12)
    assert inner(task, target) / inner(target, target) == pytest.approx(cosine, abs=1e-12)
    if abs(cosine) == 1:
        np.testing.assert_allclose(task, cosine * target, atol=1e-12)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("cosine", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_damage_is_flat_for_value_and_grows_with_the_angle_for_value_auxiliary(cosine: float, anisotropic: lsa.LinearRegression) -> None:
    target = jnp.array([1.0, -2.0, 0.5, 0.0])
    size = float(target @ anisotropic.covariance @ target)
    start = lsa.optima.pretrained(anisotropic, lsa.SpherePrior(dim=4), jnp.inf)
    task = evaluation.task_at_cosine(jax.random.key(1), anisotropic, target, cosine)
    for params, damage in (
        (lsa.optima.value(start, anisotropic, target), 1 / 64),
        (lsa.optima.value_auxiliary(start, anisotropic, target, jnp.inf), 2 * (1 - cosine) / 64),
    ):
        excess = float(lsa.population_risk(params, anisotropic, task, jnp.inf)) - 0.09
        assert excess == pytest.approx(damage * size, abs=1e-10)


def test_in_dimension_one_there_are_two_cosines() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.3)
    for cosine in (-1.0, 1.0):
        task = evaluation.task_at_cosine(jax.random.key(0), problem, jnp.array([2.0]), cosine)
        np.testing.assert_allclose(task, [2 * cosine])
    with pytest.raises(ValueError, match=r"cosine is 0.5; in dimension 1 it must be -1 or 1"):
        evaluation.task_at_cosine(jax.random.key(0), problem, jnp.array([2.0]), 0.5)


def test_simulated_curves_lie_around_the_exact_ones(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    tasks, shots = jnp.eye(5)[:2], jnp.array([0.0, 1.0, 7.0, 100.0, jnp.inf])
    exact = evaluation.error_curves(pretrained, problem, tasks, shots)
    simulated = evaluation.simulated_curves(jax.random.key(2), pretrained, problem, tasks, shots, 20_000)
    deviation = np.abs(simulated.mean - exact) / simulated.standard_error
    assert deviation.shape == (2, 5)
    assert deviation.max() < 5
    assert (np.abs(simulated.mean - 1.2 * exact) / simulated.standard_error).min() > 5
    assert len(np.unique(simulated.mean)) == 10, "every error has draws of its own"


@pytest.mark.thinned(2)
@pytest.mark.parametrize("sampler", ["projected", "tokens"])
def test_estimate_is_the_mean_of_exactly_the_prompts_asked_for(
    sampler: str, problem: lsa.LinearRegression, pretrained: lsa.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(empirical, "ENTRIES_AT_ONCE", 40 * 7 * (2 if sampler == "projected" else 4))
    key, task, drawn = jax.random.key(0), jnp.eye(5)[0], []
    for first in (0, 40, 80):
        chunk = jax.random.fold_in(key, first)
        if sampler == "projected":
            drawn.append(squared_errors.projected_errors(chunk, pretrained, problem, task[:, None], 3, 40))
        else:
            draw = functools.partial(lsa.prompts.sample_prompt, problem=problem, task=task, num_shots=3)
            drawn.append(squared_errors.prompt_errors(chunk, lsa.predict, pretrained, draw, 40))
    errors = np.concatenate(drawn)[:101]
    estimate = lsa.empirical_risk(key, pretrained, problem, task, 3, 101, sampler=sampler)
    np.testing.assert_allclose(estimate.mean, errors.mean(), rtol=1e-10)
    np.testing.assert_allclose(estimate.standard_error, errors.std(ddof=1) / 101**0.5, rtol=1e-10)
    assert estimate.num_prompts == 101


def test_standard_error_is_the_spread_of_repeated_estimates(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    estimates = jax.vmap(lambda key: lsa.empirical_risk(key, pretrained, problem, jnp.eye(5)[0], 3, 500))(
        jax.random.split(jax.random.key(1), 400)
    )
    spread = estimates.mean.std(ddof=1)
    assert spread == pytest.approx(float(estimates.standard_error.mean()), rel=0.15)


def test_other_covariate_laws_are_simulated_from_tokens_only(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    law, target = lsa.prompts.rademacher, jnp.eye(5)[0]
    with pytest.raises(ValueError, match=r"exact only for linear attention, without MLP and norm, on Gaussian covariates"):
        lsa.empirical_risk(jax.random.key(0), pretrained, problem, target, 3, sampler="projected", covariates=law)
    estimate = lsa.empirical_risk(
        jax.random.key(0),
        pretrained,
        problem,
        jnp.eye(5)[0],
        3,
        50_000,
        sampler="tokens",
        covariates=lsa.prompts.rademacher,
    )
    gaussian = lsa.population_risk(pretrained, problem, jnp.eye(5)[0], 3)
    assert abs(estimate.mean - gaussian) > 5 * estimate.standard_error, "the law of the covariates matters"


def test_another_model_comes_through_the_same_simulation(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    def halved(params: lsa.Params, tokens: jax.Array, num_tokens: ArrayLike) -> jax.Array:
        return lsa.predict(params, tokens, num_tokens) / 2

    estimate = lsa.empirical_risk(jax.random.key(0), pretrained, problem, jnp.eye(5)[0], 20, 50_000, sampler="tokens", model=halved)
    half = lsa.Params(value=pretrained.value / 2, query_key=pretrained.query_key)
    exact = lsa.population_risk(half, problem, jnp.eye(5)[0], 20)
    assert abs(estimate.mean - exact) < 5 * estimate.standard_error
