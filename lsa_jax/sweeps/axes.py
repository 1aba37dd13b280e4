"""The axes of a sweep: what may vary, which values are allowed, and how a range of them is written."""

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lsa_jax import checks, covariances, priors
from lsa_jax.errors import InputError
from lsa_jax.regimes import REGIMES

RANGE = re.compile(r"\s*(-?\d+)\s*:\s*(-?\d+)\s*(?::\s*(-?\d+)\s*)?")
SPACED = re.compile(r"\s*(logspace|linspace)\(\s*([^,]+),\s*([^,]+),\s*([^,)]+)\)\s*")
LARGEST_SEED = 2**32 - 1
GRADIENTS = ("population", "sampled", "closed_form")

Value = str | int | float


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing a sweep may vary: its values where nothing is said, and the check that turns one value into what is stored."""

    default: Any
    check: Callable[[str, Any], Value]


def as_choice(*choices: str) -> Callable[[str, Any], str]:
    """Return the check of a name."""
    return lambda name, value: checks.as_choice(name, str(value), choices)


def as_whole(minimum: int, maximum: int | float = math.inf) -> Callable[[str, Any], int]:
    """Return the check of a whole number."""

    def check(name: str, value: Any) -> int:
        if not _is_number(value) or not math.isfinite(value) or int(value) != value or not minimum <= value <= maximum:
            limit = f"at least {minimum}" if math.isinf(maximum) else f"from {minimum} to {maximum:.0f}"
            raise InputError(f"{name} is {value!r}; it must be a whole number, {limit}")
        return int(value)

    return check


def as_shots(minimum: int) -> Callable[[str, Any], float]:
    """Return the check of a number of examples, infinity included."""

    def check(name: str, value: Any) -> float:
        return math.inf if value in (math.inf, "inf") else float(as_whole(minimum)(name, value))

    return check


def as_real(minimum: float, *, above: bool = False, maximum: float = math.inf) -> Callable[[str, Any], float]:
    """Return the check of a finite real number."""

    def check(name: str, value: Any) -> float:
        low = not _is_number(value) or value < minimum or (above and value == minimum)
        if low or not math.isfinite(value) or value > maximum:
            limit = f"{'above' if above else 'at least'} {minimum:g}" + ("" if math.isinf(maximum) else f" and at most {maximum:g}")
            raise InputError(f"{name} is {value!r}; it must be a finite number, {limit}")
        return float(value)

    return check


def _is_number(value: Any) -> bool:
    """Whether a value is a real number, which a truth value is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def as_text(name: str, value: Any) -> str:
    """Return a text; what it says is checked once the dimension is known."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r}; it must be a text such as {AXES[name].default!r}")
    return value


AXES: dict[str, Axis] = {
    "dim": Axis(5, as_whole(1)),
    "gradient": Axis("population", as_choice(*GRADIENTS)),
    "steps": Axis(5000, as_whole(1)),
    "batch_size": Axis(1024, as_whole(1)),
    "pool_size": Axis(0, as_whole(0)),
    "optimizer": Axis("sgd", as_choice("sgd", "adam")),
    "decay": Axis("linear", as_choice("constant", "linear", "cosine")),
    "covariance": Axis("isotropic", as_text),
    "prior": Axis("sphere", as_text),
    "pretraining_shots": Axis(20, as_shots(1)),
    "noise_std": Axis(0.1**0.5, as_real(0.0)),
    "learning_rate": Axis(0.01, as_real(0.0, above=True)),
    "init_std": Axis(0.05, as_real(0.0, above=True)),
    "seed": Axis("0:8", as_whole(0, LARGEST_SEED)),
    "regime": Axis(["pretrained", "full", "value", "value_auxiliary"], as_choice(*REGIMES)),
    "fine_tuning_shots": Axis(20, as_shots(1)),
}
"""All axes: first those whose values are sizes or choices of a program, then those it is traced in, last those that branch from one
pretrained model."""

WHOLE = ("dim", "steps", "batch_size", "pool_size", "seed", "pretraining_shots", "fine_tuning_shots", "evaluation_shots")
"""Axes of whole numbers; a logspace or linspace over them is rounded, and values that fall together are kept once."""


def values_of(name: str, written: Any, check: Callable[[str, Any], Value]) -> tuple[Value, ...]:
    """Return the values of an axis from what a spec says.

    Args:
        name: name of the axis, for messages.
        written: one value, a list, a half-open range `"first:end"` or `"first:end:step"`, `"logspace(first, last, count)"` or
            `"linspace(first, last, count)"` with the last value included.
        check: the check of one value.

    Returns:
        The values, in order.

    Raises:
        ValueError: if there are none, one is out of range, or one is there twice.

    Example:
        >>> values_of("dim", "4:12:4", as_whole(1)), values_of("noise_std", "logspace(0.01, 1, 3)", as_real(0.0))
        ((4, 8), (0.01, 0.1, 1.0))
    """
    values = [check(name, value) for entry in as_list(written) for value in _expanded(name, entry)]
    if not values:
        raise InputError(f"axis {name} is empty ({written!r}); give it at least one value")
    if len(set(values)) < len(values):
        twice = next(value for place, value in enumerate(values) if value in values[:place])
        raise InputError(f"axis {name} holds {twice!r} twice; give each value once")
    return tuple(values)


def as_list(written: Any) -> list[Any]:
    """Return what a spec says as a list, a single value as a list of one."""
    if isinstance(written, np.ndarray | np.generic):
        written = written.tolist()
    return list(written) if isinstance(written, Sequence) and not isinstance(written, str) else [written]


def _expanded(name: str, entry: Any) -> list[Any]:
    """The values one entry stands for."""
    if not isinstance(entry, str):
        return [entry]
    if match := RANGE.fullmatch(entry):
        first, end, step = (int(number) for number in (*match.groups()[:2], match[3] or 1))
        if step < 1:
            raise InputError(f"axis {name} has the range {entry!r}; its step must be at least 1")
        return list(range(first, end, step))
    if match := SPACED.fullmatch(entry):
        return _spaced(name, entry, *match.groups())
    return [entry]


def _spaced(name: str, entry: str, kind: str, *texts: str) -> list[float]:
    """Values evenly spaced, or in even ratios."""
    first, last, number = (checks.as_number(f"axis {name}, {entry!r}: {text.strip()}", text) for text in texts)
    count = as_whole(1)(f"axis {name}, {entry!r}: count", number)
    if kind == "logspace" and min(first, last) <= 0:
        raise InputError(f"axis {name} has {entry!r}; first and last must be above 0, as values and not as exponents")
    values = np.geomspace(first, last, count) if kind == "logspace" else np.linspace(first, last, count)
    return list(dict.fromkeys(np.rint(values).tolist())) if name in WHOLE else [float(f"{value:.12g}") for value in values]


def require_laws(covariance: str, prior: str, dim: int) -> None:
    """Refuse a covariance or a prior that cannot be made in this dimension, without making it.

    Args:
        covariance: the covariance as text.
        prior: the prior as text.
        dim: dimension d.

    Raises:
        ValueError: if a name or a number cannot be read.
    """
    covariances.parse(covariance, dim)
    priors.parse(prior)
