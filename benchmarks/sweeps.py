"""Sweep throughput: lineages trained and measured together against a serial loop of single runs in the same process."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.programs import BATCH, programs

SERIAL_LINEAGES = 4
GRID = {"seed": "0:1024", "noise_std": "logspace(0.1, 1, 5)"}


def sweep_throughput(rounds: int = 9, steps: int = 5000) -> dict[str, Any]:
    """Time four regimes a lineage, 5000 population-gradient steps each, singly and in batches, and one whole sweep from start to end.

    Args:
        rounds: timed rounds.
        steps: steps of each phase.

    Returns:
        The record, with the largest difference of the answers.
    """
    grid = {**GRID, "steps": steps}
    ready = programs(grid, BATCH)
    difference = ready.largest_difference(SERIAL_LINEAGES)
    ways: dict[str, Callable[[], object]] = {
        "serial loop of single runs": lambda: [ready.run_single(place) for place in range(SERIAL_LINEAGES)],
        f"batch of {BATCH}": ready.run,
    }
    seconds = timing.interleaved(ways, rounds)
    seconds = {
        way: [second / number for second in taken] for (way, taken), number in zip(seconds.items(), (SERIAL_LINEAGES, BATCH), strict=True)
    }
    serial, batched = seconds.values()
    ratio = timing.ratio_interval(serial, batched)
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        progress = lsa.run_sweep(grid, Path(folder) / "sweep")
        took = time.perf_counter() - begun
    return timing.record(
        "sweep_throughput",
        {"dim": 5, "steps": steps, "regimes": 4, "seeds": 1024, "noise_levels": 5},
        seconds,
        unit="seconds a lineage of four regimes",
        speedup={f"batch of {BATCH}": ratio},
        agreement={"largest_relative_difference": difference},
        whole_sweep={"cells": progress.done, "seconds": took, "cells_a_second": progress.done / took},
    )
