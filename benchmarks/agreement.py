"""Answers are compared before anything is timed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike

import lsa_jax as lsa

MOST = 5.0
"""Standard errors beyond which two answers are not the same."""


def deviation(name: str, drawn: Sequence[float], exact: float) -> dict[str, float]:
    """Compare independent draws of a number with its exact value.

    Args:
        name: who drew them.
        drawn: the draws.
        exact: the exact value.

    Returns:
        Their mean, the exact value, and how many standard errors lie between.

    Raises:
        RuntimeError: if that is more than five.
    """
    mean, error = float(np.mean(drawn)), float(np.std(drawn, ddof=1)) / len(drawn) ** 0.5
    found = (mean - exact) / error
    if abs(found) > MOST:
        raise RuntimeError(f"{name} gives {mean:.5f}, which is {found:.1f} standard errors from the exact {exact:.5f}: nothing is timed")
    return {"peer": mean, "exact": exact, "deviation_in_standard_errors": found}


def estimate_deviation(name: str, estimate: lsa.RiskEstimate, exact: ArrayLike) -> float:
    """Compare estimates, each with its standard error, with the exact values.

    Args:
        name: who made them.
        estimate: the estimates.
        exact: the exact values.

    Returns:
        The deviation of the one that is furthest off, in standard errors.

    Raises:
        RuntimeError: if that is more than five either way.
    """
    deviations = (np.asarray(estimate.mean) - np.asarray(exact)) / np.asarray(estimate.standard_error)
    found = float(deviations.flat[np.abs(deviations).argmax()])
    if abs(found) > MOST:
        raise RuntimeError(f"{name} is {found:.1f} standard errors from the exact values: nothing is timed")
    return found
