"""What `lsa-jax bench` measures: throughput of the engine on the user's own device, in about a minute."""

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from rich.console import Console
from rich.table import Table

from lsa_jax import empirical, exit_codes, models, objectives, optima, optimizers, prompts, regimes, store, training
from lsa_jax.batching import vmap_last
from lsa_jax.population import population_risk
from lsa_jax.priors import SpherePrior
from lsa_jax.problem import LinearRegression
from lsa_jax.sweeps import processes
from lsa_jax.sweeps.estimate import LARGEST_BATCH

DIM, SHOTS, NOISE_STD = 5, 20, 0.1**0.5
STEPS, PROMPTS, TASKS = 500, 100_000, 10_000
ROUNDS, LONGEST = 15, 4.0
"""Timed rounds of each case, and the seconds after which no further one begins."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled function of a key, and how much work a call does."""

    name: str
    unit: str
    amount: int
    call: Callable[[jax.Array], Any]


def cases() -> list[Case]:
    """Return what is measured, at the published setting.

    Returns:
        The cases.
    """
    problem, prior = LinearRegression(covariance=jnp.eye(DIM), noise_std=NOISE_STD), SpherePrior(dim=DIM)
    params = optima.pretrained(problem, prior, SHOTS)

    def risks(key: jax.Array) -> jax.Array:
        tasks = jax.random.normal(key, (TASKS, DIM))
        return jax.vmap(population_risk, (None, None, 0, None))(params, problem, tasks, SHOTS)

    def simulated(key: jax.Array, sampler: str, count: int) -> jax.Array:
        task = prompts.sample_task(key, prior)
        return empirical.empirical_risk(key, params, problem, task, SHOTS, count, sampler=sampler).mean

    def trained(key: jax.Array, risk: objectives.Risk) -> jax.Array:
        start = models.LINEAR.init(jax.random.fold_in(key, 0), DIM)
        settings = training.Settings(steps=STEPS, history_stride=STEPS)
        goal, optimizer = regimes.stages("pretrained", risk, SHOTS)[0], optimizers.sgd(0.01, STEPS, "constant")
        return training.train(jax.random.fold_in(key, 1), goal, start, optimizer, settings).params.value

    exact, fresh = objectives.population_gradient(problem, prior), objectives.fresh_prompts(problem, prior, 1024)

    def together(key: jax.Array, seeds: int) -> jax.Array:
        return over_seeds(lambda one: trained(one, exact), jax.random.split(key, seeds))

    return [
        Case("exact risk", "risks/s", TASKS, risks),
        Case("simulated error, projected", "prompts/s", PROMPTS, lambda key: simulated(key, "projected", PROMPTS)),
        Case("simulated error, tokens", "prompts/s", PROMPTS // 5, lambda key: simulated(key, "tokens", PROMPTS // 5)),
        Case("sampled training, batch 1024", "steps/s", STEPS, lambda key: trained(key, fresh)),
        Case("exact training, one seed", "steps/s", STEPS, lambda key: trained(key, exact)),
        Case("exact training, 64 seeds", "steps/s", 64 * STEPS, lambda key: together(key, 64)),
        Case("exact training, 1024 seeds", "steps/s", 1024 * STEPS, lambda key: together(key, 1024)),
    ]


def over_seeds(run: Callable[[jax.Array], Any], keys: jax.Array) -> Any:
    """Train every seed: all at once, or on a CPU in groups of a sweep's size, which fit its cache, spread over its devices.

    Args:
        run: trains one seed.
        keys: keys of the seeds, on a CPU a multiple of that size where there are more.

    Returns:
        Its results, with the seeds as first axis, or the groups and the seeds as first two.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(run)(keys)
    groups = keys.reshape(-1, min(LARGEST_BATCH["cpu"], len(keys)))
    mesh, place = processes.local_mesh(at_most=math.gcd(len(groups), jax.local_device_count())), PartitionSpec("lineage")
    in_turn = functools.partial(jax.lax.map, vmap_last(run))
    return jax.shard_map(in_turn, mesh=mesh, in_specs=place, out_specs=place, check_vma=False)(groups)


def measure(case: Case) -> dict[str, Any]:
    """Time a case: its first call, which compiles it, and rounds after that.

    Args:
        case: what to time.

    Returns:
        Name, unit, amount of work a call, seconds of the first call and of every round, and the median rate.
    """
    call, key = jax.jit(case.call), jax.random.key(0)
    begun = time.perf_counter()
    jax.block_until_ready(call(key))
    first, rounds = time.perf_counter() - begun, list[float]()
    while len(rounds) < ROUNDS and (len(rounds) < 2 or sum(rounds) < LONGEST):
        begun = time.perf_counter()
        jax.block_until_ready(call(jax.random.fold_in(key, len(rounds))))
        rounds.append(time.perf_counter() - begun)
    told = {"name": case.name, "unit": case.unit, "amount": case.amount, "first_call": first, "seconds": rounds}
    return {**told, "rate": case.amount / statistics.median(rounds)}


def run(out: Path | None) -> int:
    """Measure everything and print a short table.

    Args:
        out: JSON file for every round and the environment; none by default.

    Returns:
        The exit code.
    """
    out = store.writable_folder(out.parent) / out.name if out else None
    processes.spread_over_cores()
    environment = store.environment()
    table = Table(title=f"{environment['device']}, {environment['machine']}, jax {environment['versions']['jax']}", title_justify="left")
    table.add_column("work")
    for heading in ("median rate", "range", "compiling"):
        table.add_column(heading, justify="right")
    measured = [measure(case) for case in cases()]
    for one in measured:
        slow, fast = (one["amount"] / extreme(one["seconds"]) for extreme in (max, min))
        compiling = one["first_call"] - statistics.median(one["seconds"])
        table.add_row(one["name"], f"{one['rate']:.3g} {one['unit']}", f"{slow:.3g} to {fast:.3g}", f"{compiling:.1f} s")
    Console().print(table)
    if out is not None:
        store.save_json(out, {"cases": measured, "environment": environment})
    return exit_codes.DONE
