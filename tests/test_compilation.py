"""One compiled program for each static shape: whatever a sweep varies is traced."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import pytest

import lsa_jax as lsa
from lsa_jax import covariances, objectives, optima, optimizers, prompts, regimes, training


@pytest.mark.slow
def test_one_compile_serves_a_grid_of_noise_shots_seeds_and_learning_rates() -> None:
    settings = training.Settings(steps=4)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(seed: jax.Array, noise_std: jax.Array, shots: jax.Array, rate: jax.Array, task: jax.Array) -> jax.Array:
        key = jax.random.key(seed)
        problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=noise_std)
        start = lsa.models.LINEAR.init(key, 3)
        pretraining = regimes.stages("pretrained", objectives.fresh_prompts(problem, lsa.SpherePrior(dim=3), 8), shots)[0]
        optimizer = optimizers.sgd(rate, settings.steps)
        params = training.train(key, pretraining, start, optimizer, settings).params
        for objective in regimes.stages("value_auxiliary", objectives.population_gradient(problem, task), shots):
            params = training.train(key, objective, params, optimizer, settings).params
        return lsa.population_risk(params, problem, task, shots)

    risks = {
        float(run(jnp.uint32(seed), jnp.float64(noise), jnp.float64(shots), jnp.float64(rate), jnp.ones(3)))
        for seed in (0, 1)
        for noise in (0.1, 0.5)
        for shots in (1, 20, 1000)
        for rate in (0.01, 0.1)
    }
    assert len(risks) == 24


def test_risks_and_samplers_compile_once_for_every_number_of_shots() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.5)
    params = lsa.Params(value=jnp.eye(5), query_key=jnp.eye(5))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def both(key: jax.Array, shots: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        exact = lsa.population_risk(params, problem, jnp.ones(3), shots)
        projected = lsa.empirical_risk(key, params, problem, jnp.ones(3), shots, 16)
        tokens = lsa.empirical_risk(key, params, problem, jnp.ones(3), shots, 16, sampler="tokens", max_shots=12)
        return exact, projected.mean, tokens.mean

    for shots in (0, 1, 2, 12):
        both(jax.random.key(0), jnp.float64(shots))


PROBLEM = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.5)
PARAMS = lsa.Params(value=jnp.eye(5), query_key=jnp.eye(5))
SPHERE = lsa.SpherePrior(dim=3)
POOL = prompts.Pool(x=jnp.ones((10, 3)), y=jnp.ones(10))
EAGER: dict[str, Callable[[jax.Array, jax.Array], object]] = {
    "sample_task": lambda key, task: prompts.sample_task(key, SPHERE),
    "sample_tasks": lambda key, task: prompts.sample_tasks(key, lsa.GaussianPrior(mean=task, covariance=jnp.eye(3)), 4),
    "sample_prompt": lambda key, task: prompts.sample_prompt(key, PROBLEM, task, 4),
    "sample_pool": lambda key, task: prompts.sample_pool(key, PROBLEM, task, 8),
    "sample_pool_prompt": lambda key, task: prompts.sample_pool_prompt(key, POOL, 4),
    "sample_context_means": lambda key, task: prompts.sample_context_means(
        key, PROBLEM, task[:, None], PARAMS.value[-1:].T, PARAMS.query_key, 4
    ),
    "rotated": lambda key, task: covariances.rotated(key, PROBLEM.covariance),
    "fresh prompts": lambda key, task: objectives.fresh_prompts(PROBLEM, SPHERE, 4)(key, PARAMS, 4),
    "fresh tokens": lambda key, task: objectives.fresh_prompts(PROBLEM, SPHERE, 4, sampler="tokens")(key, PARAMS, 4),
    "pooled prompts": lambda key, task: objectives.pooled_prompts(POOL, 4)(key, PARAMS, 4),
    "empirical_risk": lambda key, task: lsa.empirical_risk(key, PARAMS, PROBLEM, task, 4, 16),
    "value_auxiliary": lambda key, task: optima.value_auxiliary(PARAMS, PROBLEM, task, 4),
    "full": lambda key, task: optima.full(PROBLEM, task, None, optima.pretrained(PROBLEM, SPHERE, 4)),
}


@pytest.mark.thinned(3)
@pytest.mark.parametrize("name", EAGER)
def test_public_functions_called_one_by_one_compile_nothing_again(name: str) -> None:
    compiled: list[str] = []
    for seed in range(2):
        EAGER[name](jax.random.key(seed), jnp.arange(1.0, 4.0))
    jax.monitoring.register_event_duration_secs_listener(lambda event, duration_secs, **_: compiled.append(event))
    try:
        EAGER[name](jax.random.key(2), jnp.arange(2.0, 5.0))
        assert not [event for event in compiled if "backend_compile" in event]
        jax.jit(lambda x: x + len(compiled))(jnp.ones(7)).block_until_ready()
        assert [event for event in compiled if "backend_compile" in event], "the listener hears of compilations"
    finally:
        jax.monitoring.clear_event_listeners()
