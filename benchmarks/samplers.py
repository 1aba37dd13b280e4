"""Simulated errors a prompt: every token drawn, or what one layer sees of a context, whatever its length."""

from typing import Any

import jax
import jax.numpy as jnp

import lsa_jax as lsa
from benchmarks import points
from benchmarks.agreement import estimate_deviation

DIM, SHOTS, PROMPTS = 8, 64, 2**12
DIMENSIONS, SHOT_COUNTS = (2, 8, 32, 128), (4, 16, 64, 256, 1024, 10**6)
MOST_ENTRIES = 2**26
"""Largest batch of tokens that is drawn."""


def samplers(rounds: int = 9) -> dict[str, Any]:
    """Time simulated errors over dimensions and numbers of shots.

    Args:
        rounds: timed rounds.

    Returns:
        The record, with the deviation of each sampler's mean from the exact risk at the middle size.
    """
    places = sorted({(dim, SHOTS) for dim in DIMENSIONS} | {(DIM, shots) for shots in SHOT_COUNTS})
    measured = [simulated("projected", *place) for place in places]
    measured += [simulated("tokens", dim, shots) for dim, shots in places if PROMPTS * (shots + 1) * (dim + 2) <= MOST_ENTRIES]
    return points.measured(
        "samplers",
        measured,
        rounds,
        "prompt",
        {"dim": DIM, "shots": SHOTS, "prompts": PROMPTS},
        agreement={f"{name}_deviation_in_standard_errors": deviation(name) for name in ("projected", "tokens")},
    )


def simulated(sampler: str, dim: int, shots: int) -> points.Point:
    """Draw prompts and the errors on them.

    The tokens of a prompt are (n + 1)(d + 1) normals; the projected sampler needs d for the query, 3 for the context and one, with a
    uniform number, for each proposal of its chi-square, 1.01 of them on average; a uniform number is counted as a normal.

    Args:
        sampler: `projected` or `tokens`.
        dim: dimension d.
        shots: number of shots n.

    Returns:
        The point.
    """
    problem, params, task = _setting(dim)

    def run(key: jax.Array) -> jax.Array:
        return lsa.empirical_risk(key, params, problem, task, shots, PROMPTS, sampler=sampler).mean

    normals = dim + 5.0 if sampler == "projected" else (shots + 1.0) * (dim + 1)
    return points.compiled(sampler, {"d": dim, "n": shots}, PROMPTS, {"normals": normals}, run, jax.random.key(0))


def deviation(sampler: str) -> float:
    """Return how many standard errors a sampler's mean is from the exact risk; refuse to time a sampler of another law."""
    problem, params, task = _setting(DIM)
    drawn = lsa.empirical_risk(jax.random.key(1), params, problem, task, SHOTS, 2**17, sampler=sampler)
    exact = lsa.population_risk(params, problem, task, SHOTS)
    return estimate_deviation(f"the {sampler} sampler", drawn, exact)


def _setting(dim: int) -> tuple[lsa.LinearRegression, lsa.Params, jax.Array]:
    """Problem, pretrained optimum and a unit task."""
    problem = lsa.LinearRegression(covariance=jnp.eye(dim), noise_std=0.3)
    return problem, lsa.optima.pretrained(problem, lsa.SpherePrior(dim=dim), SHOTS), jnp.ones(dim) / dim**0.5
