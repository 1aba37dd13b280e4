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
    it is: at its minimum if the run starts there. The Hessian is taken once, at the start, and averaged over batches one after the other;
    it is scaled to a unit diagonal before its rank is decided, so that the units of the covariates do not matter.

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
    vector, put = model.acting(start, group)

    def add(total: Float[Array, "entries entries"], index: Array) -> tuple[Float[Array, "entries entries"], None]:
        return total + jax.hessian(lambda moved: loss(jax.random.fold_in(key, index), put(moved)))(vector), None

    with precision.in_force():
        zero = jnp.zeros((vector.size, vector.size), vector.dtype)
        total, _ = jax.lax.scan(add, zero, jnp.arange(batches))
        return _null_space_projector(total / batches)


@one_by_one
def _null_space_projector(hessian: Float[Array, "token token"]) -> Float[Array, "token token"]:
    """Orthogonal projector on the null space of a positive semidefinite matrix, whatever the units of its rows."""
    diagonal = jnp.diagonal(hessian)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    spectrum, directions = jnp.linalg.eigh(hessian * jnp.outer(scale, scale))
    rounding = len(spectrum) * jnp.finfo(spectrum.dtype).eps * jnp.abs(spectrum).max()
    basis = scale[:, None] * directions * (jnp.abs(spectrum) <= rounding)[None]
    return basis @ jnp.linalg.pinv(basis)
