"""What tells that a model or a run has diverged, so that NaN never counts as an answer."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

BROKEN = "NaN, infinity or a number too large to be squared"


class DivergedError(ArithmeticError):
    """A run or a model whose numbers are no finite numbers; the message says which and where."""


def first_not_finite(tensors: Mapping[str, jax.Array]) -> str | None:
    """Look for NaN, infinity, and numbers whose squares overflow float32, which no normalisation of a model survives.

    Args:
        tensors: arrays by name.

    Returns:
        The name of the first one that holds some; None if none does.

    Example:
        >>> first_not_finite({"a": jnp.zeros(2), "b": jnp.array([1.0, jnp.nan])})
        'b'
    """
    finite = _all_finite(list(tensors.values()))
    return next((name for name, one in zip(tensors, finite, strict=True) if not one), None)


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> list[jax.Array]:
    """Whether the squares of each array are finite throughout."""
    return [jnp.isfinite(jnp.square(array.astype(jnp.float32))).all() for array in arrays]
