"""Covariances of the covariates: isotropic, diagonal and power-law spectra, and a random rotation of any of them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.normals import standard_normals


def isotropic(dim: int, variance: ArrayLike = 1.0) -> Float[Array, "dim dim"]:
    """Return the covariance $s I$ of `dim` independent coordinates of variance $s$.

    Args:
        dim: dimension d, at least 1.
        variance: the common variance s, above 0.

    Returns:
        The covariance matrix.

    Raises:
        ValueError: if `dim` is below 1 or `variance` is not above 0.

    Example:
        >>> isotropic(2, 0.5).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    return diagonal(jnp.full(checks.as_count("dim", dim), checks.as_scale("variance", variance)))


def diagonal(spectrum: ArrayLike) -> Float[Array, "dim dim"]:
    """Return the covariance with the given eigenvalues on its diagonal.

    Args:
        spectrum: the eigenvalues, each above 0.

    Returns:
        The covariance matrix.

    Raises:
        ValueError: if an eigenvalue is not above 0 and finite.

    Example:
        >>> diagonal(jnp.array([2.0, 1.0])).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    return checks.as_covariance("covariance", jnp.diag(checks.as_real("spectrum", spectrum, ("dim",))))


def power_law(dim: int, exponent: ArrayLike) -> Float[Array, "dim dim"]:
    r"""Return the diagonal covariance with eigenvalues $\lambda_i \propto i^{-\alpha}$ and trace d.

    The trace is that of the identity, so that spectra of different exponents compare at equal total variance.

    Args:
        dim: dimension d, at least 1.
        exponent: the exponent alpha, at least 0; 0 gives the identity.

    Returns:
        The covariance matrix.

    Raises:
        ValueError: if `dim` is below 1, or `exponent` negative or so large that an eigenvalue underflows to 0.

    Example:
        >>> power_law(3, 0.0).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    exponent = checks.as_scale("exponent", exponent, minimum=0.0)
    spectrum = jnp.arange(1, checks.as_count("dim", dim) + 1, dtype=exponent.dtype) ** -exponent
    return diagonal(spectrum * dim / spectrum.sum())


def rotated(key: Key[Array, ""], covariance: ArrayLike) -> Float[Array, "dim dim"]:
    r"""Return $R \Sigma R^\top$ for a rotation R drawn from the Haar measure: the same spectrum in random directions.

    A key names the same R, up to rounding, in every floating type.

    Args:
        key: randomness of the rotation.
        covariance: the covariance to rotate, symmetric positive definite.

    Returns:
        The rotated covariance, exactly symmetric.

    Raises:
        ValueError: if `covariance` is not a covariance.

    References:
        Mezzadri, How to generate random matrices from the classical compact groups, Notices of the AMS 54, 2007.

    Example:
        >>> import jax
        >>> rotated(jax.random.key(0), power_law(4, 1.0)).trace().round(4).item()
        4.0
    """
    covariance = checks.as_covariance("covariance", covariance)
    directions, triangle = jnp.linalg.qr(standard_normals(key, covariance.shape, covariance.dtype))
    rotation = directions * jnp.sign(jnp.diagonal(triangle))[None]
    product = jnp.matmul(rotation, jnp.matmul(covariance, rotation.T, precision=precision.current()), precision=precision.current())
    return (product + product.T) / 2


def from_text(text: str, dim: int) -> Float[Array, "dim dim"]:
    """Return the covariance a flag or a spec names.

    Args:
        text: `isotropic`, `isotropic:VARIANCE`, `power_law:EXPONENT`, `diagonal:A,B,...`, or `rotated:` before any of them, for one fixed
            random rotation.
        dim: dimension d.

    Returns:
        The covariance.

    Raises:
        ValueError: if the name is unknown, a number cannot be read, or the spectrum does not have `dim` entries.

    Example:
        >>> from_text("diagonal:2,1", dim=2).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    name, rest = parse(text, dim)
    match name:
        case "isotropic":
            return isotropic(dim, rest)
        case "power_law":
            return power_law(dim, rest)
        case "diagonal":
            return diagonal(jnp.array(rest))
        case _:
            return rotated(jax.random.key(0), from_text(rest, dim))


def parse(text: str, dim: int) -> tuple[str, Any]:
    """Read the text of a covariance without making it.

    Args:
        text: see `from_text`.
        dim: dimension d.

    Returns:
        The family, and its number, its spectrum, or the text of what is rotated.

    Raises:
        ValueError: if the name is unknown, a number cannot be read, or the spectrum does not have `dim` entries.
    """
    name, _, rest = text.partition(":")
    match checks.as_choice("covariance", name, ("isotropic", "power_law", "diagonal", "rotated")):
        case "diagonal":
            spectrum = [checks.as_number("diagonal entry", entry) for entry in rest.split(",")]
            checks.as_real("diagonal spectrum", np.array(spectrum), (dim,))
            if min(spectrum) <= 0:
                raise InputError(f"covariance is not positive definite: {text!r} has an entry that is not above 0")
            return name, spectrum
        case "rotated":
            if rest.partition(":")[0] == name:
                raise InputError(f"covariance is {text[:40]!r}; it can be rotated once")
            parse(rest, dim)
            return name, rest
        case _:
            number = checks.as_number(f"{name} {'variance' if name == 'isotropic' else 'exponent'}", rest or "1")
            smallest = number if name == "isotropic" else float(dim) ** -number
            if not math.isfinite(number) or (name == "power_law" and number < 0) or smallest < np.finfo(np.float32).tiny:
                raise InputError(f"covariance is {text!r}; its variance must be above 0, its exponent at least 0 and not so large")
            return name, number
