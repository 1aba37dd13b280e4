"""The published figure end to end: pretraining, three fine-tunings and their evaluation, as published and by the exact engine."""

import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lsa_jax as lsa
from benchmarks import timing
from benchmarks.programs import BATCH, programs
from benchmarks.training import DIM, NOISE_STD, SHOTS, published_setting

STEPS, BATCH_SIZE, STEPS_TIMED = 5000, 5000, 20
EVALUATED = np.arange(SHOTS + 1)
PROMPTS_A_POINT = 5 * 50_000
"""Prompts an error of the published evaluation: five test seeds of 50 000."""

PHASES = {"pretrained": ((SHOTS, False),), "full": ((0, False),), "value": ((0, True),), "value_auxiliary": ((0, True), (SHOTS, True))}
"""Losses of each published training phase: number of shots, and whether V alone is trained."""


def published_figure(rounds: int = 5) -> dict[str, Any]:
    """Time the work behind the published figure for one seed.

    The published side is put together from timed training steps of each phase (times 5000) and timed evaluation batches (times the number
    of batches of four models on two tasks at 21 numbers of shots); running it whole would take minutes a round for the same number.

    Args:
        rounds: timed rounds.

    Returns:
        The record; the cold start is a fresh process that does the same and writes it down.
    """
    ready = programs({"seed": f"0:{BATCH}", "steps": STEPS, "evaluation_shots": EVALUATED.tolist()}, BATCH)
    difference = ready.largest_difference(1)
    ways = _published_ways() | {
        "exact engine, one seed": lambda: ready.run_single(0),
        f"exact engine, a seed of {BATCH}": ready.run,
    }
    seconds = timing.interleaved(ways, rounds)
    batches = 2 * len(PHASES) * PROMPTS_A_POINT / BATCH_SIZE
    published = [
        train * STEPS / STEPS_TIMED + evaluation * batches
        for train, evaluation in zip(seconds.pop("published training"), seconds.pop("published evaluation"), strict=True)
    ]
    seconds[f"exact engine, a seed of {BATCH}"] = [taken / BATCH for taken in seconds[f"exact engine, a seed of {BATCH}"]]
    seconds = {"published workload": published, **seconds}
    ratios = {way: timing.ratio_interval(published, taken) for way, taken in seconds.items() if way != "published workload"}
    cold = [timing.once(_fresh_process) for _ in range(3)]
    ratios["exact engine, cold start"] = timing.ratio_interval(published[:3], cold)
    settings = {"dim": DIM, "shots": SHOTS, "batch_size": BATCH_SIZE, "steps": STEPS, "torch": importlib.metadata.version("torch")}
    agreement = {"largest_relative_difference": difference}
    return timing.record(
        "published_figure", settings, {**seconds, "cold start": cold}, unit="s a seed", speedup=ratios, agreement=agreement
    )


def _published_ways() -> dict[str, Callable[[], object]]:
    """Some training steps of every published phase, and one evaluation batch at each number of shots."""
    import torch

    from benchmarks.peers import PublishedPretraining, tensors

    problem, prior = published_setting()
    value, query_key = tensors(lsa.optima.pretrained(problem, prior, SHOTS))

    def peer(shots: int, *, value_only: bool = False) -> PublishedPretraining:
        return PublishedPretraining(DIM, shots, BATCH_SIZE, NOISE_STD, value, query_key, value_only=value_only)

    trainers = [peer(shots, value_only=alone) for losses in PHASES.values() for shots, alone in losses]
    evaluators = [peer(int(shots)) for shots in EVALUATED]

    def evaluate() -> None:
        with torch.no_grad():
            for one in evaluators:
                float(one.loss())

    return {
        "published training": lambda: [trainer.step() for trainer in trainers for _ in range(STEPS_TIMED)],
        "published evaluation": evaluate,
    }


def _fresh_process() -> None:
    """One seed from a cold start, as a sweep of one: imports, compiling, training, error curves and records on disk."""
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid.toml"
        grid.write_text(f"seed = 0\nsteps = {STEPS}\nevaluation_shots = {EVALUATED.tolist()}\n")
        arguments = ["sweep", str(grid), "--out", f"{folder}/out"]
        subprocess.run([sys.executable, "-m", "lsa_jax", *arguments], check=True, capture_output=True)
