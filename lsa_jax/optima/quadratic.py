"""Exact minimisation of a convex quadratic known as a function: its derivatives, and the smallest step that reaches a minimum."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax import precision
from lsa_jax.factorizations import pseudo_inverse

Loss = Callable[[Float[Array, " entries"]], Float[Array, ""]]


def derivatives(loss: Loss, entries: Float[Array, " entries"]) -> tuple[Float[Array, " entries"], Float[Array, "entries entries"]]:
    """Gradient and Hessian."""
    gradient, change = jax.linearize(jax.grad(loss), entries)
    return gradient, jax.vmap(change)(jnp.eye(entries.size, dtype=entries.dtype))


def smallest_solution(matrix: Float[Array, "entries entries"], target: Float[Array, " entries"]) -> Float[Array, " entries"]:
    """The least x with matrix x = target, for a positive semidefinite matrix whose rank is decided whatever the units of its rows."""
    diagonal = jnp.diagonal(matrix)
    scale = jax.lax.stop_gradient(jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1))
    scaled = matrix * jnp.outer(scale, scale)
    with precision.in_force():
        inverted = pseudo_inverse(scaled)
        kernel = jnp.eye(len(matrix), dtype=matrix.dtype) - inverted @ scaled
        solution = scale * (inverted @ (scale * target))
        kernel = scale[:, None] * jnp.where(jnp.trace(kernel) > 0.5, kernel, 0)
        return solution - kernel @ (pseudo_inverse(kernel.T @ kernel) @ (kernel.T @ solution))


def scaled_inverse(system: Float[Array, "dim dim"]) -> Float[Array, "dim dim"]:
    """A generalised inverse of a positive semidefinite matrix, whose rank is told after its diagonal is made 1: small is not singular."""
    diagonal = jnp.diag(system)
    smallest = (10 * len(diagonal) * jnp.finfo(system.dtype).eps) ** 2 * jnp.max(diagonal)
    scale = jnp.where(diagonal > smallest, jax.lax.rsqrt(jnp.where(diagonal > smallest, diagonal, 1)), 0)
    scaling = jnp.outer(scale, scale)
    return scaling * pseudo_inverse(scaling * system)
