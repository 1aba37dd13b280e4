"""Priors by name, for flags and specs, and from arrays."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.priors.gaussian import GaussianPrior
from lsa_jax.priors.law import TaskPrior, require_prior_dim
from lsa_jax.priors.pool import FiniteTasks
from lsa_jax.priors.sphere import SpherePrior

FAMILIES: dict[str, Callable[[int, float], TaskPrior]] = {
    "sphere": lambda dim, radius: SpherePrior(dim=dim, radius=radius),
    "gaussian": lambda dim, variance: GaussianPrior(mean=jnp.zeros(dim), covariance=variance * jnp.eye(dim)),
}
"""Families with a name, each made from the dimension and one number above 0."""


def from_text(text: str, dim: int) -> TaskPrior:
    """Return the prior a flag or a spec names.

    Args:
        text: `sphere`, `sphere:RADIUS`, `gaussian` or `gaussian:VARIANCE` (centred, isotropic).
        dim: dimension d.

    Returns:
        The prior.

    Raises:
        ValueError: if the name is unknown or the number cannot be read or is not above 0.

    Example:
        >>> float(from_text("sphere:2", dim=5).radius)
        2.0
    """
    name, number = parse(text)
    return FAMILIES[name](dim, number)


def parse(text: str) -> tuple[str, float]:
    """Read the text of a prior without making it.

    Args:
        text: see `from_text`.

    Returns:
        The family and its number.

    Raises:
        ValueError: if the name is unknown or the number cannot be read or is not above 0.
    """
    name, _, rest = text.partition(":")
    checks.as_choice("prior", name, tuple(FAMILIES))
    number = checks.as_number(f"{name} size", rest or "1")
    if not 0 < number < np.inf:
        raise InputError(f"prior is {text!r}; its size must be above 0 and finite")
    return name, number


def from_spec(value: str | Mapping[str, Any], dim: int) -> TaskPrior:
    """Return the prior a spec gives as text or as arrays.

    Args:
        value: text, see `from_text`; or a mapping to arrays, `tasks` of a finite pool, one a row, or `mean` (by default 0) and `covariance`
            of a Gaussian; or `file`, the path of an npz file of such arrays.
        dim: dimension d.

    Returns:
        The prior.

    Raises:
        ValueError: if the text or a key is unknown, the file cannot be read, or the arrays are no prior of dimension `dim`.

    Example:
        >>> from_spec({"tasks": [[1.0, 0.0], [0.0, 1.0]]}, dim=2).num_tasks
        2
    """
    if isinstance(value, str):
        return from_text(value, dim)
    for key in value:
        checks.as_choice("key of a prior", key, ("file", "tasks", "mean", "covariance"))
    arrays = _read(value["file"]) if set(value) == {"file"} else dict(value)
    if set(arrays) == {"tasks"}:
        prior: TaskPrior = FiniteTasks(tasks=_array("tasks", arrays["tasks"]))
    elif set(arrays) in ({"covariance"}, {"mean", "covariance"}):
        mean = _array("prior mean", arrays.get("mean", np.zeros(dim)))
        prior = GaussianPrior(mean=mean, covariance=_array("prior covariance", arrays["covariance"]))
    else:
        raise InputError(f"prior has the keys {', '.join(sorted(arrays))}; give either tasks, or covariance and mean, or file alone")
    require_prior_dim(prior, dim)
    return prior


def _read(path: str) -> dict[str, np.ndarray]:
    """Arrays of an npz file."""
    try:
        with Path(path).open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"prior file {path!r} cannot be read ({error}); it must be an npz file of numbers, see numpy.savez") from None


def _array(name: str, value: Any) -> np.ndarray:
    """Numbers as an array."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}; it must be rows of numbers, all of one length") from None
