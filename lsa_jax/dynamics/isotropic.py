"""What the exact dynamics assume of the data: covariates of one variance in every direction."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.problem import LinearRegression

TOLERANCE = 1e-5
"""Relative difference from the assumed form that is taken for rounding."""


def variance_of(problem: LinearRegression) -> Float[Array, ""]:
    r"""Return the variance $s^2$ of a problem with $\Sigma = s^2 I$.

    Args:
        problem: the data law.

    Returns:
        The variance; NaN where a traced covariance has another form.

    Raises:
        ValueError: if the problem is a batch of several, or its covariance is not a multiple of the identity.

    Example:
        >>> round(float(variance_of(LinearRegression(covariance=4 * jnp.eye(3), noise_std=0.1))), 5)
        4.0
    """
    checks.as_single("problem", problem.batch_shape)
    scale = problem.root[0, 0]
    apart = jnp.abs(problem.root - scale * jnp.eye(problem.dim, dtype=problem.root.dtype)).max() / scale
    if checks.concrete(apart) is not None and apart > TOLERANCE:
        raise InputError(
            "the covariance is not a multiple of the identity, for which alone training is solved: "
            "pass an isotropic problem, or train on objectives.population_gradient"
        )
    return checks.nan_unless(apart <= TOLERANCE, scale**2)
