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

BATCHES, BATCHES_A_ENTRY = 64, 4
"""Batches from which a sampled Hessian is estimated, and so many for each of its rows where that is more: together they hold more prompts
than it has rows even if a batch holds one."""


def stay_in_argmin(key: Key[Array, ""], loss: Callable[[Key[Array, ""], Any], Float[Array, ""]]) -> optax.GradientTransformation:
    """Project updates of V on the null space of the Hessian of a loss in the last row of V, the row that acts.

    The zero-shot loss is a quadratic in that row, so steps in the null space of its Hessian leave it where it is, at its minimum if the
    run starts there. The Hessian is taken once, at the parameters the run starts from, and averaged over at least 64 keys. Its rank is
    decided in the coordinates in which tokens have unit covariance, so that neither units nor correlations of the covariates matter, and
    it is 0 where it is nothing but rounding, as where sym(Q) = 0.

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

    def init(params: Any) -> Float[Array, "token token"]:
        batches = max(BATCHES, BATCHES_A_ENTRY * params.value.shape[0])
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batches))

        def curvature(query_key: Float[Array, "token token"]) -> Float[Array, "token token"]:
            def loss_of_row(row: Float[Array, " token"]) -> Float[Array, ""]:
                moved = Params(value=params.value.at[-1].set(row), query_key=query_key)
                return jnp.mean(jax.vmap(loss, (0, None))(keys, moved))

            return jax.hessian(loss_of_row)(params.value[-1])

        constant = jnp.zeros_like(params.query_key).at[0, 0].set(1)
        with precision.in_force():
            return _null_space_projector(*jax.vmap(curvature)(jnp.stack([params.query_key, jnp.abs(params.query_key), constant])))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        row = jnp.matmul(state, updates.value[-1], precision=precision.current())
        return Params(value=updates.value.at[-1].set(row), query_key=updates.query_key), state

    return optax.GradientTransformation(init, update)


def _null_space_projector(
    hessian: Float[Array, "token token"], without_signs: Float[Array, "token token"], of_tokens: Float[Array, "token token"]
) -> Float[Array, "token token"]:
    """Orthogonal projector on the null space of a Hessian, its rank decided where tokens have unit covariance."""
    whitener = _whitener(of_tokens)
    whitened, size = (whitener.T @ matrix @ whitener for matrix in (hessian, without_signs))
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
    """Orthogonal projector on the span of some columns, whatever their lengths."""
    lengths = jnp.sqrt(jnp.sum(columns**2, axis=0, keepdims=True))
    directions = columns / jnp.where(lengths > 0, lengths, 1)
    return directions @ jnp.linalg.pinv(directions)


def _rounding(spectrum: Float[Array, " token"]) -> Float[Array, ""]:
    """Size of an eigenvalue below which it may be one that is 0."""
    return len(spectrum) * jnp.finfo(spectrum.dtype).eps * jnp.abs(spectrum).max()
