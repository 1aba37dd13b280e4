"""Exact against simulated risk: two paths to every number that share no code but the problem's description."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import LARGEST_RELATIVE_ERROR, assert_agrees

import lsa_jax as lsa

PILOT = 40_000
MOST_PROMPTS = 6_000_000


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One random setting."""

    seed: int
    dim: int
    num_shots: int

    def draw(self) -> tuple[lsa.Params, lsa.LinearRegression, jax.Array]:
        """Random V, Q, covariance (not diagonal), task and noise; float32, in which large simulations are run."""
        keys = jax.random.split(jax.random.key(self.seed), 6)
        size, scale = (self.dim + 2, self.dim + 2), self.dim**-0.5
        covariance = lsa.covariances.rotated(keys[0], lsa.covariances.power_law(self.dim, jax.random.uniform(keys[1])))
        params = lsa.Params(
            value=scale * jax.random.normal(keys[2], size),
            query_key=jnp.eye(size[0]) + scale * jax.random.normal(keys[3], size),
        )
        problem = lsa.LinearRegression(covariance=covariance, noise_std=jax.random.uniform(keys[4]))
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, problem, jax.random.normal(keys[5], (self.dim,))))


def configurations() -> list[Configuration]:
    """40 settings over d in 1...16 and n in 0...200."""
    dims, shots = (1, 2, 5, 16), (0, 1, 2, 3, 5, 10, 20, 50, 100, 200)
    return [Configuration(100 * dim + n, dim, n) for dim in dims for n in shots]


DEFAULT_SUBSET = {(1, 2), (2, 0), (2, 20), (5, 1), (5, 20), (16, 5)}


@pytest.mark.parametrize("sampler", ["projected", "tokens"])
@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param(
            chosen,
            id=f"d{chosen.dim}-n{chosen.num_shots}",
            marks=[] if (chosen.dim, chosen.num_shots) in DEFAULT_SUBSET else pytest.mark.slow,
        )
        for chosen in configurations()
    ],
)
def test_simulated_risk_agrees_with_the_exact_one(configuration: Configuration, sampler: str) -> None:
    params, problem, task = configuration.draw()
    exact = float(lsa.population_risk(params, problem, task, configuration.num_shots))

    def simulate(key: int, num_prompts: int) -> lsa.RiskEstimate:
        return lsa.empirical_risk(jax.random.key(key), params, problem, task, configuration.num_shots, num_prompts, sampler=sampler)

    pilot = simulate(1, PILOT)
    wanted = 0.7 * LARGEST_RELATIVE_ERROR * exact
    needed = int(PILOT * (float(pilot.standard_error) / wanted) ** 2)
    estimate = simulate(2, int(np.clip(needed, PILOT, MOST_PROMPTS)))
    assert_agrees(float(estimate.mean), float(estimate.standard_error), exact)


@pytest.mark.slow
@pytest.mark.parametrize("num_shots", [5, jnp.inf])
def test_prior_risk_agrees_with_simulated_tasks(num_shots: float, problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    prior = lsa.GaussianPrior(mean=0.3 * jnp.ones(5), covariance=lsa.covariances.power_law(5, 1.0))
    risk = lsa.objectives.fresh_prompts(problem, prior, 40_000)
    means = jax.jit(jax.vmap(lambda key: risk(key, pretrained, num_shots)))(jax.random.split(jax.random.key(3), 40))
    exact = float(lsa.prior_risk(pretrained, problem, prior, num_shots))
    assert_agrees(float(means.mean()), float(means.std(ddof=1)) / 40**0.5, exact)
