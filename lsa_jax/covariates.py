"""Covariate laws: independent coordinates of mean 0 and variance 1, mixed by the problem's factor into x = L g.

All have the same covariance Σ = L L'. Exact risks need a law's excess cumulants of orders 4 and 6 and nothing else of it. A law of one's
own is any function of the same signature; made a `CovariateLaw` with its cumulants, it has exact risks as well.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

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


@dataclasses.dataclass(frozen=True)
class CovariateLaw:
    r"""A symmetric law of independent coordinates with mean 0 and variance 1, and what exact risks need of it.

    With the moments $m_k = E g^k$ of a coordinate, its cumulants are $\kappa_4 = m_4 - 3$ and $\kappa_6 = m_6 - 15m_4 + 30$; both are 0 for
    the Gaussian law, and for no symmetric law is $\kappa_4$ below -2.

    Args:
        draw: draws the coordinates, a function (key, shape, dtype).
        fourth_cumulant: κ₄.
        sixth_cumulant: κ₆.

    Raises:
        ValueError: if a cumulant is not finite or the fourth is below -2.

    Example:
        >>> import jax
        >>> rademacher(jax.random.key(0), (2, 3), jnp.float32).shape, rademacher.fourth_cumulant
        ((2, 3), -2.0)
    """

    draw: Covariates
    fourth_cumulant: float
    sixth_cumulant: float

    def __post_init__(self) -> None:
        """Check the cumulants."""
        if not (-2 <= self.fourth_cumulant < math.inf and math.isfinite(self.sixth_cumulant)):
            raise InputError(
                f"cumulants are {self.fourth_cumulant:g} and {self.sixth_cumulant:g}; both must be finite, and the fourth at least -2"
            )

    def __call__(self, key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
        """Draw coordinates.

        Args:
            key: randomness.
            shape: shape of the draw.
            dtype: floating type of the draw.

        Returns:
            Independent coordinates of mean 0 and variance 1.
        """
        return self.draw(key, shape, dtype)


def _uniform(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Coordinates uniform on an interval of variance 1."""
    return jax.random.uniform(key, shape, dtype, -(3**0.5), 3**0.5)


def _signs(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    """Signs from single bits."""
    return 2 * (jax.random.bits(key, shape, jnp.uint8) % 2).astype(dtype) - 1


gaussian = CovariateLaw(standard_normals, 0.0, 0.0)
"""Standard normal coordinates, the law of the theory."""

uniform = CovariateLaw(_uniform, -6 / 5, 48 / 7)
"""Coordinates uniform on the interval from -√3 to √3: lighter tails than the Gaussian."""

rademacher = CovariateLaw(_signs, -2.0, 16.0)
"""Signs, +1 or -1 with equal probability: the lightest tails there are."""


@functools.cache
def student_t(degrees_of_freedom: float) -> CovariateLaw:
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

    excess = degrees_of_freedom - 4
    return CovariateLaw(draw, 6 / excess, 240 / (excess * (excess - 2)))


def require_cumulants(covariates: Any) -> CovariateLaw:
    """Refuse a law over which nothing can be averaged exactly.

    Args:
        covariates: the law.

    Returns:
        The law.

    Raises:
        ValueError: if its cumulants are not known.
    """
    if not isinstance(covariates, CovariateLaw):
        raise InputError(
            "covariates have no known cumulants, so nothing is exact: use empirical_risk with sampler='tokens', or make them a CovariateLaw"
        )
    return covariates
