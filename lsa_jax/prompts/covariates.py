"""Covariate laws: independent coordinates of mean 0 and variance 1, mixed by the problem's factor into x = L g.

All have the same covariance Σ = L L'. Only the Gaussian law has closed forms for its risks and optima; the others are there to see, by
simulation, what the theory owes to that assumption. A law of one's own is any function of the same signature.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lsa_jax.errors import InputError
from lsa_jax.normals import standard_normals

Covariates = Callable[[Key[Array, ""], tuple[int, ...], DTypeLike], Float[Array, "..."]]
"""A law of the coordinates before mixing: (key, shape, dtype) -> independent draws of mean 0 and variance 1."""

SMALLEST_DEGREES_OF_FREEDOM = 12
"""A squared error is of degree 6 in a coordinate, its variance of degree 12, and a t moment exists below its degrees of freedom only."""


def gaussian(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Draw standard normal coordinates, the law of the theory.

    Args:
        key: randomness.
        shape: shape of the draw.
        dtype: floating type of the draw.

    Returns:
        Independent coordinates of mean 0 and variance 1.
    """
    return standard_normals(key, shape, dtype)


def uniform(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    r"""Draw coordinates uniform on $[-\sqrt 3, \sqrt 3]$: lighter tails than the Gaussian.

    Args:
        key: randomness.
        shape: shape of the draw.
        dtype: floating type of the draw.

    Returns:
        Independent coordinates of mean 0 and variance 1.
    """
    return jax.random.uniform(key, shape, dtype, -(3**0.5), 3**0.5)


def rademacher(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Draw signs, +1 or -1 with equal probability: the lightest tails there are.

    Args:
        key: randomness.
        shape: shape of the draw.
        dtype: floating type of the draw.

    Returns:
        Independent coordinates of mean 0 and variance 1.
    """
    return 2 * (jax.random.bits(key, shape, jnp.uint8) % 2).astype(dtype) - 1


@functools.cache
def student_t(degrees_of_freedom: float) -> Covariates:
    """Return the law of Student-t coordinates scaled to variance 1: heavier tails than the Gaussian.

    Args:
        degrees_of_freedom: more than 12, so that a simulated risk has a standard error.

    Returns:
        The covariate law; the same object for the same number, so that compiled programs are found again.

    Raises:
        ValueError: if `degrees_of_freedom` is 12 or fewer, or infinite.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> student_t(13.0)(jax.random.key(0), (2, 3), jnp.float32).shape
        (2, 3)
    """
    if not SMALLEST_DEGREES_OF_FREEDOM < degrees_of_freedom < math.inf:
        raise InputError(
            f"degrees_of_freedom is {degrees_of_freedom:g}; it must be finite and above {SMALLEST_DEGREES_OF_FREEDOM}, "
            "below which the simulated risk has no standard error"
        )
    scale = ((degrees_of_freedom - 2) / degrees_of_freedom) ** 0.5

    def draw(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
        return scale * jax.random.t(key, degrees_of_freedom, shape, dtype)

    return draw
