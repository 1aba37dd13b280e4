"""Watching a sweep: progress on a terminal or in a log, and signals that end it after the current chunk."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lsa_jax import exit_codes
from lsa_jax.sweeps import run
from lsa_jax.sweeps.processes import Share

LOG_SECONDS = 10.0
"""Time between two lines of progress where the output is no terminal."""


def summary(progress: run.Progress) -> str:
    """Return how far a run came, in one line.

    Args:
        progress: how far it came.

    Returns:
        The line.
    """
    share = progress.done / progress.total if progress.total else 1.0
    trouble = [("diverged", progress.diverged), ("above the minimum", progress.above_minimum), ("failed", progress.failed)]
    told = ", ".join(f"{number} {name}" for name, number in trouble)
    again = f", {progress.damaged} damaged files computed again" if progress.damaged else ""
    return f"{progress.done} of {progress.total} cells ({share:.1%}): {told}{again}"


def rank(share: Share) -> str:
    """Return the mark of a process's lines where there are several."""
    return f"[{share.index}/{share.count}] ".replace("[", r"\[") if share.count > 1 else ""


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Args:
        seconds: the time.

    Returns:
        The text.

    Example:
        >>> duration(30.0), duration(3000.0), duration(30000.0)
        ('30 s', '50 min', '8.3 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def reporting(console: Console, share: Share) -> Generator[run.Report]:
    """Show progress: a bar on a terminal, else a line now and then.

    Args:
        console: where to show it.
        share: the part of the sweep this process works on.

    Yields:
        The function to tell of progress.
    """
    begun, last = time.monotonic(), [-LOG_SECONDS]

    def line(progress: run.Progress) -> None:
        passed = time.monotonic() - begun
        if passed - last[0] < LOG_SECONDS:
            return
        last[0] = passed
        rate = progress.computed / passed if passed else 0.0
        left = f", {duration((progress.total - progress.done) / rate)} left" if rate else ""
        console.print(f"{rank(share)}{summary(progress)}; {rate:.1f} cells/s{left}", highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield line
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("compiling", total=None, rate="")

        def report(progress: run.Progress) -> None:
            rate = f"{progress.computed / (time.monotonic() - begun):.1f} cells/s"
            described = f"{progress.diverged} diverged, {progress.failed} failed; {progress.current}"
            bar.update(task, completed=progress.done, total=progress.total, description=described, rate=rate)

        yield report


@contextlib.contextmanager
def stop_signals() -> Generator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM end the run after the current chunk, and the second one at once.

    Yields:
        The function that tells whether to stop.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if heard:
            os._exit(exit_codes.INTERRUPTED_RESUMABLE)
        heard.append(number)
        print("finishing the current chunk; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
