"""Interleaved timing of several ways to do the same work, with what a reader needs to repeat it."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lsa_jax import store


def interleaved(
    ways: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time each way once a round, in turn, after one untimed call of each.

    Args:
        ways: functions to time; each returns only when its work is done.
        rounds: number of rounds.
        clock: what tells the time; `time.process_time` counts the processors' work, which other programs on the machine hardly change.

    Returns:
        Seconds of every round, by way.
    """
    for work in ways.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            begun = clock()
            work()
            seconds[name].append(clock() - begun)
    return seconds


def once(work: Callable[[], object]) -> float:
    """Time the first call of a compiled function: compilation and one run.

    Args:
        work: the function.

    Returns:
        Seconds.
    """
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratio_interval(slow: list[float], fast: list[float], resamples: int = 2000) -> tuple[float, float, float]:
    """Estimate the ratio of two medians with a 95 % bootstrap interval over rounds.

    Args:
        slow: seconds of the numerator, one a round.
        fast: seconds of the denominator.
        resamples: bootstrap resamples of the rounds.

    Returns:
        The ratio, and the ends of the interval.
    """
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, len(slow), (resamples, len(slow)))
    ratios = np.median(np.asarray(slow)[chosen], axis=1) / np.median(np.asarray(fast)[chosen], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return statistics.median(slow) / statistics.median(fast), float(low), float(high)


def record(case: str, settings: dict[str, Any], seconds: dict[str, list[float]], **extra: Any) -> dict[str, Any]:
    """Gather one case's rounds with its settings and environment.

    Args:
        case: name of the case.
        settings: sizes of the work.
        seconds: seconds of every round, by way.
        extra: further measurements.

    Returns:
        What is written as JSON.
    """
    return {"case": case, "settings": settings, "seconds": seconds, **extra, "environment": store.environment()}
