"""Checks of what users pass in: one clear error (given, expected, fix) before anything is computed.

Shapes are always known and always checked. Values are checked when they are concrete. Traced values cannot be refused, so that every
public function can be jitted, vmapped and differentiated; where one is out of range it becomes NaN, and so does what is computed from it.
"""

import difflib
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Float

from lsa_jax.errors import InputError

SYMMETRY_TOLERANCE = 1e-5
"""Largest relative asymmetry |A - A'|/|A| that is taken for rounding rather than for a mistake."""


def concrete(value: object) -> np.ndarray | None:
    """The value as a numpy array, or None if it is (or holds) a tracer of jit, vmap or grad."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return None
    return np.asarray(value)


def nan_unless(valid: Bool[Array, "..."], value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The value, or NaN where it is not valid: what is left of a check whose value is traced."""
    return jnp.where(valid, value, jnp.nan)


def is_zero(value: object) -> bool:
    """Whether the value is known to be 0."""
    known = concrete(value)
    return known is not None and not known.any()


def as_real(name: str, value: ArrayLike, shape: tuple[int | str, ...]) -> Float[Array, "..."]:
    """Convert to a floating array of the wanted shape; string entries of `shape` name free, positive sizes."""
    known = concrete(value)
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise InputError(f"{name} is complex; it must be real: pass its real part")
    matches = array.ndim == len(shape) and all(
        got > 0 if isinstance(want, str) else got == want for got, want in zip(array.shape, shape, strict=True)
    )
    if not matches:
        wanted = "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
        raise InputError(f"{name} has shape {array.shape}; it must have shape {wanted}, every size at least 1")
    if known is not None and not np.all(np.isfinite(known)):
        raise InputError(f"{name} holds NaN or infinity; every entry must be finite: check where it was computed")
    return array.astype(jnp.promote_types(jnp.float32, jnp.result_type(float, array.dtype)))


def as_covariance(name: str, value: ArrayLike, dim: int | str = "dim", *, semidefinite: bool = False) -> Float[Array, "dim dim"]:
    """Convert to a symmetric matrix that is positive definite, or semidefinite where that is enough."""
    matrix = as_real(name, value, (dim, dim))
    if matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{name} has shape {matrix.shape}; it must be square, (dim, dim)")
    known = concrete(value)
    if known is None:
        asymmetry = jnp.abs(matrix - matrix.T).max()
        return nan_unless(asymmetry <= SYMMETRY_TOLERANCE * jnp.abs(matrix).max(), matrix)
    known = known.astype(np.float64)
    asymmetry = np.abs(known - known.T).max()
    if asymmetry > SYMMETRY_TOLERANCE * np.abs(known).max():
        raise InputError(f"{name} is not symmetric (differs from its transpose by {asymmetry:.3g}); pass (A + A.T) / 2")
    smallest = np.linalg.eigvalsh(known)[0]
    rounding = len(known) * np.finfo(matrix.dtype).eps * np.abs(known).max()
    if semidefinite and smallest < -rounding:
        raise InputError(f"{name} is not positive semidefinite (smallest eigenvalue {smallest:.3g}); no eigenvalue may be below 0")
    if not semidefinite and smallest <= rounding:
        raise InputError(
            f"{name} is not positive definite in {matrix.dtype} (smallest eigenvalue {smallest:.3g}); "
            "all eigenvalues must be above rounding: add a small multiple of the identity"
        )
    return matrix


def as_single(name: str, batch_shape: tuple[int, ...]) -> None:
    """Refuse several where one is wanted, which would broadcast."""
    if batch_shape:
        raise InputError(f"{name} holds a batch of shape {batch_shape}; it must be a single one: vmap over several")


def as_scale(name: str, value: ArrayLike, *, minimum: float = -math.inf, zero_allowed: bool = True) -> Float[Array, ""]:
    """Convert to a real scalar, at least `minimum` and, where it divides, not zero."""
    scalar = as_real(name, value, ())
    known = concrete(value)
    if known is None:
        return nan_unless((scalar >= minimum) & (zero_allowed | (scalar != 0)), scalar)
    if known < minimum:
        raise InputError(f"{name} is {known:g}; it must be at least {minimum:g}")
    if not zero_allowed and not known:
        raise InputError(f"{name} is 0; it must not be zero: pass a nonzero number")
    return scalar


def as_shots(name: str, value: ArrayLike, dtype: DTypeLike, *, minimum: int = 0) -> Float[Array, ""]:
    """Convert to a number of in-context examples: a whole number from `minimum` on, or infinity."""
    if jnp.shape(value) != ():
        raise InputError(f"{name} has shape {jnp.shape(value)}; it must be a scalar: vmap over several numbers")
    known = concrete(value)
    if known is None:
        return shots_within(jnp.asarray(value, dtype=dtype), minimum)
    shots = float(known)
    if math.isnan(shots) or shots < minimum or (math.isfinite(shots) and shots != int(shots)):
        raise InputError(f"{name} is {shots:g}; it must be a whole number, at least {minimum}, or jnp.inf")
    return jnp.asarray(value, dtype=dtype)


def shots_within(shots: Float[Array, "*shape"], minimum: int, maximum: int | float = math.inf) -> Float[Array, "*shape"]:
    """The numbers of examples, each NaN where it is not whole or out of range: what is left of their check where they are traced."""
    return nan_unless((shots >= minimum) & (shots <= maximum) & (shots == jnp.floor(shots)), shots)


def as_task(name: str, value: ArrayLike, dim: int, *, zero_allowed: bool = True) -> Float[Array, " dim"]:
    """Convert to a regression vector of the wanted dimension and, where it divides, not zero."""
    task = as_real(name, value, (dim,))
    if not zero_allowed and is_zero(value):
        raise InputError(f"{name} is the zero vector; it must have a nonzero entry")
    return task if zero_allowed or concrete(value) is not None else nan_unless(jnp.any(task != 0), task)


def as_count(name: str, value: int | float, *, minimum: int = 1) -> int:
    """Convert a static size to int."""
    if isinstance(value, bool) or not math.isfinite(value) or int(value) != value or value < minimum:
        raise InputError(f"{name} is {value}; it must be a whole number, at least {minimum}")
    return int(value)


def as_number(name: str, text: str) -> float:
    """Convert text to a number."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}; it must be a number") from None


def as_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return the value if it is one of the choices; else name the nearest one."""
    if value not in choices:
        nearest = difflib.get_close_matches(value, choices, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise InputError(f"unknown {name} {value!r}; it must be one of {', '.join(choices)}.{hint}")
    return value
