"""How the values of a knob are written in a spec: one, a list, a half-open range, or evenly spaced numbers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.knobs import Check, whole

RANGE = re.compile(r"\s*(-?\d+)\s*:\s*(-?\d+)\s*(?::\s*(-?\d+)\s*)?")
SPACED = re.compile(r"\s*(logspace|linspace)\(\s*([^,]+),\s*([^,]+),\s*([^,)]+)\)\s*")
MOST_SPACED = 10**6
"""Numbers that one logspace or linspace may stand for."""


def values_of(name: str, written: Any, check: Check) -> Sequence[Any]:
    """Return the values of a knob from what a spec says.

    Args:
        name: name of the knob, for messages.
        written: one value, a list, a half-open range `"first:end"` or `"first:end:step"`, `"logspace(first, last, count)"` or
            `"linspace(first, last, count)"` with the last value included. A single range is checked by its ends and never expanded.
        check: the check of one value.

    Returns:
        The values, in order.

    Raises:
        ValueError: if there are none, one is out of range, or one is there twice.

    Example:
        >>> from lsa_jax.knobs import real
        >>> values_of("dim", "4:12:4", whole(1)), values_of("noise_std", "logspace(0.01, 1, 3)", real(0.0))
        (range(4, 12, 4), (0.01, 0.1, 1.0))
    """
    entries = as_list(written, check.depth)
    expanded = [_expanded(name, entry, check) for entry in entries]
    if len(expanded) == 1 and isinstance(expanded[0], range) and len(expanded[0]):
        ends = expanded[0]
        if check(name, ends[0]) == ends[0] and check(name, ends[-1]) == ends[-1]:
            return ends
    values = tuple(check(name, value) for part in expanded for value in part)
    if not values:
        raise InputError(f"axis {name} is empty ({written!r}); give it at least one value")
    if len(set(values)) < len(values):
        twice = next(value for place, value in enumerate(values) if value in values[:place])
        raise InputError(f"axis {name} holds {twice!r} twice; give each value once")
    return values


def as_list(written: Any, depth: int = 0) -> list[Any]:
    """Return what a spec says as a list of values, a single value as a list of one.

    Args:
        written: what a spec says; arrays and pandas series count as lists.
        depth: how deep one value is nested itself: 0 for a number or a text, 2 for a matrix.

    Returns:
        The list.
    """
    if isinstance(written, jax.Array | np.ndarray | np.generic):
        written = np.asarray(written).tolist()
    elif hasattr(written, "to_numpy"):
        written = written.to_numpy().tolist()
    if not isinstance(written, Sequence) or isinstance(written, str | Mapping):
        return [written]
    return [written] if depth and _numeric_depth(written) == depth else list(written)


def _numeric_depth(written: Any) -> int:
    """How deep numbers are nested; -1 where the innermost things are no numbers."""
    depth = 0
    while isinstance(written, Sequence) and not isinstance(written, str) and len(written):
        written, depth = written[0], depth + 1
    return depth if isinstance(written, int | float) else -1


def _expanded(name: str, entry: Any, check: Check) -> Sequence[Any]:
    """The values one entry stands for."""
    if not isinstance(entry, str):
        return [entry]
    if match := RANGE.fullmatch(entry):
        first, end, step = (int(number) for number in (*match.groups()[:2], match[3] or 1))
        if step < 1:
            raise InputError(f"axis {name} has the range {entry!r}; its step must be at least 1")
        return range(first, end, step)
    if match := SPACED.fullmatch(entry):
        return _spaced(name, entry, check, *match.groups())
    return [entry]


def _spaced(name: str, entry: str, check: Check, kind: str, *texts: str) -> list[float]:
    """Values evenly spaced, or in even ratios; whole numbers where the knob is one, each kept once."""
    first, last, number = (checks.as_number(f"axis {name}, {entry!r}: {text.strip()}", text) for text in texts)
    count = whole(1, MOST_SPACED)(f"axis {name}, {entry!r}: count", number)
    if kind == "logspace" and min(first, last) <= 0:
        raise InputError(f"axis {name} has {entry!r}; first and last must be above 0, as values and not as exponents")
    values = np.geomspace(first, last, count) if kind == "logspace" else np.linspace(first, last, count)
    return list(dict.fromkeys(np.rint(values).tolist())) if check.whole else [float(f"{value:.12g}") for value in values]
