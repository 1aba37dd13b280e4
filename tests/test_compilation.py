"""One compiled program for each static shape: whatever a sweep varies is traced."""

import chex
import jax
import jax.numpy as jnp

import lsa_jax as lsa
from lsa_jax import objectives, optimizers, regimes, training


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
