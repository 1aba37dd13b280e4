"""Whole training runs over seeds: population gradients for 1 to 4096 seeds, sampled gradients for 1 to 64."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import points, timing
from benchmarks.training import DIM, SHOTS, pretraining_run
from lsa_jax import bench, training
from lsa_jax.sweeps.estimate import LARGEST_BATCH
from lsa_jax.targets.roofline import population_operations

SEEDS, STEPS = (1, 4, 16, 64, 256, 1024, 4096), 5000
SAMPLED_SEEDS, SAMPLED_STEPS, BATCH_SIZE = (1, 2, 4, 8, 16, 32, 64), 100, 1024


def population_runs(rounds: int = 3) -> dict[str, Any]:
    """Time whole pretraining runs on population gradients over the number of seeds.

    Args:
        rounds: timed rounds.

    Returns:
        The record: how much faster a seed is among many than alone, and the largest distance of a trained model to the closed form.
    """
    measured = [_population(seeds) for seeds in SEEDS]
    record = points.measured(
        "population_runs",
        measured,
        rounds,
        "seed",
        {"dim": DIM, "shots": SHOTS, "steps": STEPS, "at_once": LARGEST_BATCH["cpu"]},
        agreement={"distance_to_closed_form": _distance()},
    )
    alone, *many = record["seconds"].values()
    record["speedup"] = {name: timing.ratio_interval(alone, taken) for name, taken in zip(list(record["seconds"])[1:], many, strict=True)}
    record["seconds_a_call"] = {point.name: point.amount * statistics.median(record["seconds"][point.name]) for point in measured}
    return record


def sampled_runs(rounds: int = 5) -> dict[str, Any]:
    """Time pretraining runs on fresh prompts over the number of seeds.

    Args:
        rounds: timed rounds.

    Returns:
        The record.
    """
    needs = {"normals": (2.0 * DIM + 5) * BATCH_SIZE * SAMPLED_STEPS}
    one = pretraining_run("sampled", BATCH_SIZE, SAMPLED_STEPS)
    measured = [points.compiled("sampled", {"seeds": 1}, 1, needs, one, jax.random.key(0))]
    many = jax.vmap(one)
    measured += [points.compiled("sampled", {"seeds": seeds}, seeds, needs, many, _keys(seeds)) for seeds in SAMPLED_SEEDS[1:]]
    settings = {"dim": DIM, "shots": SHOTS, "steps": SAMPLED_STEPS, "batch_size": BATCH_SIZE}
    return points.measured("sampled_runs", measured, rounds, "seed", settings)


def _population(seeds: int) -> points.Point:
    """Whole runs of so many seeds."""
    one = pretraining_run("population", 0, STEPS)
    function: Callable[..., training.Trained] = one if seeds == 1 else lambda keys: bench.over_seeds(one, keys)
    keys = jax.random.key(0) if seeds == 1 else _keys(seeds)
    return points.compiled("population", {"seeds": seeds}, seeds, {"flops": population_operations(DIM) * STEPS}, function, keys)


def _keys(count: int) -> jax.Array:
    return jax.random.split(jax.random.key(0), count)


def _distance() -> float:
    """The largest distance of 64 trained models to the closed form; models that miss it are not timed."""
    params = jax.jit(lambda keys: bench.over_seeds(pretraining_run("population", 0, STEPS), keys))(_keys(64)).params
    params = jax.tree.map(lambda leaf: leaf.reshape(64, *leaf.shape[-2:]), params)
    trained = params.value[:, -1, -1, None, None] * params.query_key[:, 1:-1, 1:-1]
    distance = float(jnp.abs(trained - 21 / 26.5 * jnp.eye(DIM)).max())
    if distance > 1e-3:
        raise RuntimeError(f"trained models are {distance:.2g} from the closed form")
    return distance
