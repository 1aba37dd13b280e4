"""What planning, progress and storage cost a sweep: the sweep against its own compiled programs run bare, and a whole experiment."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.programs import BATCH, programs
from lsa_jax.sweeps import plan, spec

CHUNKS, STEPS = 4, 5000
EXPERIMENT = Path(__file__).parents[1] / "experiments" / "dimension.toml"


def sweep_overhead(rounds: int = 7) -> dict[str, Any]:
    """Time a sweep of four regimes against the bare programs on the same lineages, and once the whole experiment over dimensions.

    Args:
        rounds: timed rounds.

    Returns:
        The record, with the bare programs' time over the sweep's.
    """
    read = spec.read({"seed": f"0:{CHUNKS * BATCH}", "steps": STEPS})
    ready = programs(read, BATCH)

    def sweep() -> None:
        with TemporaryDirectory() as folder:
            lsa.run_sweep(read, Path(folder) / "sweep")

    bare = {"bare programs": lambda: [ready.run(first) for first in range(0, CHUNKS * BATCH, BATCH)]}
    seconds = timing.interleaved({**bare, "sweep": sweep}, rounds)
    settings = {"lineages": CHUNKS * BATCH, "chunk": BATCH, "steps": STEPS, "regimes": 4}
    share = timing.ratio_interval(seconds["bare programs"], seconds["sweep"])
    return timing.record(
        "sweep_overhead", settings, seconds, unit="seconds a sweep", share_of_bare_programs={"sweep": share}, experiment=_experiment()
    )


def _experiment() -> dict[str, Any]:
    """The command line on `experiments/dimension.toml` from start to end, on all cores, compiling included."""
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "lsa_jax", "sweep", str(EXPERIMENT), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        cells = sum(group.num_cells for group in plan.plan(spec.read(EXPERIMENT)))
        return {"name": "experiments/dimension.toml", "cells": cells, "seconds": time.perf_counter() - begun}
