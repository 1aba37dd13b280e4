"""Sweep throughput: lineages trained and measured together against a serial loop of single runs in the same process."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from lsa_jax import lineage
from lsa_jax.sweeps import compiled, plan, processes, program, spec

SERIAL_LINEAGES = 4
BATCH = 64
GRID = {"seed": "0:1024", "noise_std": "logspace(0.1, 1, 5)"}


def sweep_throughput(rounds: int = 9, steps: int = 5000) -> dict[str, Any]:
    """Time four regimes a lineage, 5000 population-gradient steps each, singly and in batches, and one whole sweep from start to end.

    Args:
        rounds: timed rounds.
        steps: steps of each phase.

    Returns:
        The record, with the largest difference of the answers.
    """
    read = spec.read({**GRID, "steps": steps})
    (group,) = plan.plan(read)
    made = program.program_of(group, read, keep_params=False)
    common, mesh = program.common_of(group, read), processes.local_mesh()
    together = compiled.compiled(made, BATCH, mesh)
    batch = program.lineages_of(group, 0, BATCH, BATCH)
    single = single_run(made, common)
    singles = [jax.tree.map(lambda leaf, place=place: jnp.asarray(leaf[place]), batch) for place in range(SERIAL_LINEAGES)]
    measured = together(batch, common).measured
    differences = [
        np.max(np.abs(np.asarray(alone.risk) / measured[model].risk[place] - 1))
        for place, one in enumerate(singles)
        for model, alone in single(one).items()
    ]
    ways: dict[str, Callable[[], object]] = {
        "serial loop of single runs": lambda: [single(one) for one in singles],
        f"batch of {BATCH}": lambda: together(batch, common),
    }
    seconds = timing.interleaved(ways, rounds)
    seconds = {
        way: [second / number for second in taken] for (way, taken), number in zip(seconds.items(), (SERIAL_LINEAGES, BATCH), strict=True)
    }
    serial, batched = seconds.values()
    ratio = timing.ratio_interval(serial, batched)
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        progress = lsa.run_sweep(read, Path(folder) / "sweep")
        took = time.perf_counter() - begun
    return timing.record(
        "sweep_throughput",
        {"dim": 5, "steps": steps, "regimes": 4, "seeds": 1024, "noise_levels": 5},
        seconds,
        unit="seconds a lineage of four regimes",
        speedup={f"batch of {BATCH}": ratio},
        agreement={"largest_relative_difference": float(max(differences))},
        whole_sweep={"cells": progress.done, "seconds": took, "cells_a_second": progress.done / took},
    )


def single_run(made: program.Program, common: program.Common) -> Callable[[program.Lineages], dict[lineage.Model, program.Measured]]:
    """Return a single run as a user would write it: each phase jitted, no batch.

    Args:
        made: the program.
        common: what all lineages share.

    Returns:
        What measures the models of one lineage.
    """
    train = jax.jit(program.train, static_argnums=(0, 1))
    measure = jax.jit(program.measure, static_argnums=0)
    shots = common.fine_tuning_shots[0]

    def run(one: program.Lineages) -> dict[lineage.Model, program.Measured]:
        trained: dict[lineage.Model, Any] = {}
        for model in made.phases:
            parent = lineage.PARENTS[model[0]]
            start = None if parent is None else trained[parent, None]
            trained[model] = train(made.protocol, model[0], common, one, shots, start)
        places = {regime: place for place, regime in enumerate(lineage.PARENTS)}
        return jax.block_until_ready({model: measure(made, common, one, places[model[0]], shots, trained[model]) for model in made.models})

    return run
