"""The constraint of objective (d): steps that stay in the argmin set of another loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lsa_jax import precision
from lsa_jax.factorizations import one_by_one
from lsa_jax.models import Model

BATCHES = 64
"""Batches from which a sampled Hessian is estimated at least."""

PROMPTS_AN_ENTRY = 4
"""Prompts for each entry of the Hessian's side from which it is estimated at least: with fewer prompts than entries its rank is too low."""


def batches_for(prompts: int, entries: int) -> int:
    """Return from how many batches a sampled Hessian is estimated, so that the prompts outnumber its entries.

    Args:
        prompts: prompts in a batch.
        entries: side of the Hessian.

    Returns:
        The number of batches.

    Example:
        >>> batches_for(prompts=1024, entries=7), batches_for(prompts=1, entries=82)
        (64, 328)
    """
    return max(BATCHES, -(-PROMPTS_AN_ENTRY * entries // prompts))


def argmin_projector(
    key: Key[Array, ""],
    loss: Callable[[Key[Array, ""], Any], Float[Array, ""]],
    start: Any,
    model: Model,
    group: str,
    batches: int = BATCHES,
) -> Float[Array, "entries entries"]:
    """Return the projector on the null space of the Hessian of a loss in the acting entries of a trainable set.

    Where the loss is a quadratic in these entries, as the zero-shot loss is in the last row of V, steps in that null space leave it where
    it is: at its minimum if the run starts there. The Hessian is taken once, at the start, and averaged over batches one after the other.
    Its rank is decided in coordinates that the model provides, for one layer those in which tokens have unit covariance, so that neither
    units nor correlations of the covariates matter; it is 0 where it is nothing but rounding, as where sym(Q) = 0.

    Args:
        key: randomness of a sampled loss.
        loss: the loss whose argmin set must not be left, a function of (key, params).
        start: parameters that the run starts from.
        model: the model, which knows the entries that act.
        group: the trainable set.
        batches: number of batches to average over (static); 1 is enough for an exact loss.

    Returns:
        The projector.

    References:
        docs/theory.md, equations (15) and (17).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> params = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), num_shots=20)
        >>> risk = lsa.objectives.population_gradient(problem, jnp.ones(2))
        >>> zero_shot = lambda key, params: risk(key, params, 0)
        >>> argmin_projector(jax.random.key(0), zero_shot, params, lsa.models.LINEAR, "value", 1).diagonal().round(4).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """

    def curvature(point: Any) -> Float[Array, "entries entries"]:
        vector, put = model.acting(point, group)

        def add(total: Float[Array, "entries entries"], index: Array) -> tuple[Float[Array, "entries entries"], None]:
            return total + jax.hessian(lambda moved: loss(jax.random.fold_in(key, index), put(moved)))(vector), None

        zero = jnp.zeros((vector.size, vector.size), vector.dtype)
        return jax.lax.scan(add, zero, jnp.arange(batches))[0] / batches

    points = jax.tree.map(lambda *leaves: jnp.stack(leaves), start, *model.yardsticks(start, group))
    with precision.in_force():
        return _null_space_projector(*jax.lax.map(curvature, points))


def _null_space_projector(
    hessian: Float[Array, "entries entries"],
    without_signs: Float[Array, "entries entries"] | None = None,
    of_tokens: Float[Array, "entries entries"] | None = None,
) -> Float[Array, "entries entries"]:
    """Orthogonal projector on the null space of a Hessian, its rank decided where tokens have unit covariance, or where it has units."""
    whitener = _whitener(jnp.diag(jnp.diagonal(hessian)) if of_tokens is None else of_tokens)
    whitened, size = (whitener.T @ matrix @ whitener for matrix in (hessian, hessian if without_signs is None else without_signs))
    rounding = (10 * len(hessian) * jnp.finfo(hessian.dtype).eps) ** 2 * jnp.max(jnp.abs(size))
    kernel = _kernel(jnp.where(jnp.max(jnp.abs(whitened)) <= rounding, 0, whitened))
    return _range_projector(whitener @ kernel)


@one_by_one
def _whitener(second_moments: Float[Array, "token token"]) -> Float[Array, "token token"]:
    """A regular matrix T that makes T'MT the identity on the range of a positive semidefinite M, whatever the units of its rows."""
    diagonal = jnp.diagonal(second_moments)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    spectrum, directions = jnp.linalg.eigh(second_moments * jnp.outer(scale, scale))
    kept = spectrum > _rounding(spectrum)
    return scale[:, None] * directions * jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, spectrum, 1)), 1)[None]


@one_by_one
def _kernel(matrix: Float[Array, "token token"]) -> Float[Array, "token token"]:
    """Orthonormal columns that span the null space of a positive semidefinite matrix; the others are 0."""
    spectrum, directions = jnp.linalg.eigh(matrix)
    return directions * (jnp.abs(spectrum) <= _rounding(spectrum))[None]


@one_by_one
def _range_projector(columns: Float[Array, "token token"]) -> Float[Array, "token token"]:
    """Orthogonal projector on the span of columns, whatever their lengths, of which those that are not 0 are independent."""
    lengths = jnp.sqrt(jnp.sum(columns**2, axis=0, keepdims=True))
    zeros_last = jnp.argsort(lengths[0] == 0)
    directions = columns / jnp.where(lengths > 0, lengths, 1)
    # Singular values would take a TPU's compiler minutes.
    basis = jnp.linalg.qr(directions[:, zeros_last])[0] * (lengths > 0)[:, zeros_last]
    return basis @ basis.T


def _rounding(spectrum: Float[Array, " token"]) -> Float[Array, ""]:
    """Size of an eigenvalue below which it may be one that is 0."""
    return len(spectrum) * jnp.finfo(spectrum.dtype).eps * jnp.abs(spectrum).max()
