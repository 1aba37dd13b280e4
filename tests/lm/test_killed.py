"""A fine-tuning run killed again and again, while it trains and in the midst of writing, ends as one that was never killed."""

import itertools
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from test_commands import QUESTIONS, TRAINING, files, lsa_jax

from lsa_jax import exit_codes
from lsa_jax.lm import checkpoints, lora, snapshot

__all__ = ["files"]

pytestmark = pytest.mark.slow

STEPS, STRIDE = 16, 40
LONGER = " ".join(TRAINING).replace("--steps 2", "--steps 8").split()
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["test_killed", "lsa_jax.lm.running"])


def train(run: Path, arguments: list[str], allowed: int | None) -> None:
    """Fine-tune in this process, which kills itself at the file operation in the run's folder after so many allowed ones."""
    done = itertools.count()

    def kill(event: str, told: tuple[object, ...]) -> None:
        if told and str(told[0]).startswith(str(run)) and next(done) == allowed:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    sys.exit(lsa_jax("lm", "finetune", *arguments, "--out", run))


def started(run: Path, flags: list[str], allowed: int | None = None) -> BaseProcess:
    """A process that trains."""
    process = PROCESSES.Process(target=train, args=(run, [*flags, *QUESTIONS, *LONGER], allowed))
    process.start()
    return process


def ended(run: Path, flags: list[str], allowed: int | None = None) -> int | None:
    """How a process that trains ends."""
    process = started(run, flags, allowed)
    process.join()
    return process.exitcode


def kill_while_training(run: Path, flags: list[str]) -> None:
    """Begin a run and kill it from outside once it has made two steps."""
    process = started(run, flags)
    while len(checkpoints.read_metrics(run / checkpoints.METRICS)) < 2 and process.is_alive():
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kill_while_writing(run: Path, flags: list[str]) -> tuple[int, int]:
    """Go on with a run, killed later each time until it ends; how often it was killed, and how often within a checkpoint."""
    kills = torn = 0
    while (found := ended(run, flags, STRIDE * (kills + 1))) != exit_codes.DONE:
        assert found == -signal.SIGKILL
        kills += 1
        torn += any(not path.name.isdigit() for path in (run / checkpoints.FOLDER).glob("*"))
    return kills, torn


def test_a_killed_run_goes_on_bitwise(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ended(whole, files) == exit_codes.DONE
    kill_while_training(killed, files)
    kills, torn = kill_while_writing(killed, files)
    print(kills, torn)
    assert kills >= 5
    assert torn >= 1
    assert checkpoints.steps(killed) == checkpoints.steps(whole) == [*range(2, STEPS + 1, 2)]
    assert checkpoints.read_metrics(killed / checkpoints.METRICS) == checkpoints.read_metrics(whole / checkpoints.METRICS)
    model = lora.with_adapter(snapshot.load(Path(files[1])).model, lora.Adapter("v", 4, 8.0), 0)
    for step in checkpoints.steps(whole):
        found = []
        for run in (whole, killed):
            checkpoints.restore(run, step, model)
            found.append([np.asarray(value) for pair in lora.adapters(model).values() for value in pair])
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
