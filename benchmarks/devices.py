"""Scaling over devices, each count in a process of its own: on a CPU as many devices as asked for are made of its cores."""

import json
import os
import subprocess
import sys
from typing import Any

import jax

from benchmarks import timing
from benchmarks.programs import BATCH, programs

COUNTS, STEPS, TOGETHER = (1, 2, 4, 8), 5000, 512
"""Numbers of devices, steps of a run, and seeds that all devices share in strong scaling."""


def devices(rounds: int = 5) -> dict[str, Any]:
    """Time pretraining runs spread over 1, 2, 4 and 8 devices, by the program of a sweep.

    Weak scaling keeps 64 seeds a device, strong scaling 512 seeds in all. Devices made of the same cores share them: with two cores the
    best that can be had is two.

    Args:
        rounds: timed rounds.

    Returns:
        The record.
    """
    counts = COUNTS if jax.default_backend() == "cpu" else [count for count in COUNTS if count <= jax.device_count()]
    seconds: dict[str, list[float]] = {}
    for count in counts:
        for name, taken in _in_fresh_process(count, rounds).items():
            seconds[f"{name}, devices = {count}"] = taken
    ratios = {}
    for name, taken in seconds.items():
        series = name.split(",")[0]
        if not name.endswith("= 1"):
            ratios[name] = timing.ratio_interval(seconds[f"{series}, devices = 1"], taken)
    points = [
        {"name": name, "series": name.split(",")[0], "sizes": {"devices": float(name.rsplit(" ", 1)[1])}, "memory": 0} for name in seconds
    ]
    settings = {"steps": STEPS, "seeds_a_device": BATCH, "seeds_in_all": TOGETHER, "cores": os.cpu_count()}
    return timing.record("devices", settings, seconds, unit="seconds a seed", points=points, speedup=ratios)


def measure(rounds: int) -> dict[str, list[float]]:
    """Time this process's devices, weakly and strongly.

    Args:
        rounds: timed rounds.

    Returns:
        Seconds a seed of every round.
    """
    ways = {}
    for name, seeds in (("weak", BATCH * jax.device_count()), ("strong", TOGETHER)):
        ready = programs({"seed": f"0:{seeds}", "steps": STEPS, "regime": ["pretrained"]}, seeds)
        ways[name] = seeds, ready.run
    seconds = timing.interleaved({name: work for name, (_, work) in ways.items()}, rounds)
    return {name: [taken / ways[name][0] for taken in all_taken] for name, all_taken in seconds.items()}


def _in_fresh_process(count: int, rounds: int) -> dict[str, list[float]]:
    """Measure with so many devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(count)))} if jax.default_backend() == "gpu" else {}
    command = [sys.executable, "-c", f"import json; from benchmarks import devices; print(json.dumps(devices.measure({rounds})))"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags, **visible})
    return json.loads(done.stdout.splitlines()[-1])
