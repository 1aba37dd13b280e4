"""The constraint of objective (d) as an optax transformation: steps that stay in the argmin set of another loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from lsa_jax import precision
from lsa_jax.factorizations import one_by_one
from lsa_jax.problem import Params

BATCHES = 64
"""Batches from which a sampled Hessian is estimated: together they must hold more prompts than there are dimensions."""


def stay_in_argmin(key: Key[Array, ""], loss: Callable[[Key[Array, ""], Any], Float[Array, ""]]) -> optax.GradientTransformation:
    """Project updates of V on the null space of the Hessian of a loss in the last row of V, the row that acts.

    The zero-shot loss is a quadratic in that row, so steps in the null space of its Hessian leave it where it is, at its minimum if the
    run starts there. The Hessian is taken once, at the parameters the run starts from, and averaged over 64 keys; it is scaled to a unit
    diagonal before its rank is decided, so that the units of the covariates do not matter.

    Args:
        key: randomness of a sampled loss.
        loss: the loss whose argmin set must not be left, a function of (key, params).

    Returns:
        The optax transformation, to be put last in a chain.

    References:
        docs/theory.md, equations (15) and (17).

    Example:
        >>> import jax, jax.numpy as jnp, optax, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> params = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), num_shots=20)
        >>> risk = lsa.objectives.population_gradient(problem, jnp.ones(2))
        >>> project = stay_in_argmin(jax.random.key(0), lambda key, params: risk(key, params, 0))
        >>> updates = lsa.Params(value=jnp.ones((4, 4)), query_key=jnp.zeros((4, 4)))
        >>> project.update(updates, project.init(params))[0].value[-1].round(4).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(BATCHES))

    def init(params: Any) -> Float[Array, "token token"]:
        def loss_of_row(row: Float[Array, " token"]) -> Float[Array, ""]:
            moved = Params(value=params.value.at[-1].set(row), query_key=params.query_key)
            return jnp.mean(jax.vmap(loss, (0, None))(keys, moved))

        with precision.in_force():
            return _null_space_projector(jax.hessian(loss_of_row)(params.value[-1]))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        row = jnp.matmul(state, updates.value[-1], precision=precision.current())
        return Params(value=updates.value.at[-1].set(row), query_key=updates.query_key), state

    return optax.GradientTransformation(init, update)


@one_by_one
def _null_space_projector(hessian: Float[Array, "token token"]) -> Float[Array, "token token"]:
    """Orthogonal projector on the null space of a positive semidefinite matrix, whatever the units of its rows."""
    diagonal = jnp.diagonal(hessian)
    scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    spectrum, directions = jnp.linalg.eigh(hessian * jnp.outer(scale, scale))
    rounding = len(spectrum) * jnp.finfo(spectrum.dtype).eps * jnp.abs(spectrum).max()
    basis = scale[:, None] * directions * (jnp.abs(spectrum) <= rounding)[None]
    return basis @ jnp.linalg.pinv(basis)
