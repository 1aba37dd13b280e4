"""Estimators that are one linear solve: nothing, averaging, least squares and ridge."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.factorizations import inverse, pseudo_inverse
from lsa_jax.priors import FiniteTasks, GaussianPrior, SpherePrior, TaskPrior, is_symmetric, require_prior_dim
from lsa_jax.problem import LinearRegression

Tokens = Real[ArrayLike, "rows token"]


class Sums(NamedTuple):
    """What a linear estimator needs of a prompt: X'X, X'y, the number of examples, and the query's covariates."""

    second: Float[Array, "dim dim"]
    cross: Float[Array, " dim"]
    count: Float[Array, ""]
    query: Float[Array, " dim"]


def sums(tokens: Tokens, num_tokens: ArrayLike | None = None) -> Sums:
    """Sum over the examples of a prompt, to which zero rows add nothing.

    Args:
        tokens: the prompt, one token (1, x, y) a row; the query comes last.
        num_tokens: number of tokens, when zero rows pad the prompt; by default the number of rows.

    Returns:
        The sums.

    Raises:
        ValueError: if tokens have fewer than three entries or are not finite.

    Example:
        >>> sums(jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])).cross.tolist()
        [12.0]
    """
    tokens = checks.as_real("tokens", tokens, ("num_tokens", "dim + 2"))
    if tokens.shape[1] < 3:
        raise InputError(f"tokens have shape {tokens.shape}; rows must have at least 3 entries (1, x, y)")
    x, y = tokens[:-1, 1:-1], tokens[:-1, -1]
    with precision.in_force():
        return Sums(x.T @ x, x.T @ y, jnp.asarray(len(tokens) if num_tokens is None else num_tokens, x.dtype) - 1, tokens[-1, 1:-1])


def zero(params: Any, tokens: Tokens, num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    """Predict 0.

    Args:
        params: ignored.
        tokens: the prompt.
        num_tokens: ignored.

    Returns:
        The prediction.
    """
    return 0 * sums(tokens, num_tokens).query[0]


def averaging(params: Any, tokens: Tokens, num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    r"""Predict with $w = \frac1n\sum_i y_ix_i$, and 0 without examples.

    Args:
        params: ignored.
        tokens: the prompt, one token (1, x, y) a row; the query comes last.
        num_tokens: number of tokens, when zero rows pad the prompt.

    Returns:
        The prediction.

    Example:
        >>> float(averaging(None, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        12.0
    """
    seen = sums(tokens, num_tokens)
    return jnp.sum(seen.query * seen.cross) / jnp.maximum(seen.count, 1)


def least_squares(params: Any, tokens: Tokens, num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    """Predict with the least-squares fit, of smallest norm where there are several.

    Args:
        params: ignored.
        tokens: the prompt, one token (1, x, y) a row; the query comes last.
        num_tokens: number of tokens, when zero rows pad the prompt.

    Returns:
        The prediction.

    Example:
        >>> float(least_squares(None, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        3.0
    """
    seen = sums(tokens, num_tokens)
    with precision.in_force():
        return seen.query @ pseudo_inverse(seen.second) @ seen.cross


def ridge(
    params: Real[ArrayLike, ""] | Real[ArrayLike, "dim dim"], tokens: Tokens, num_tokens: ArrayLike | None = None
) -> Float[Array, ""]:
    r"""Predict with the ridge estimate $w = (X^\top X + \Lambda)^{-1}X^\top y$.

    Args:
        params: the penalty, a number above 0 or a positive definite matrix; see `ridge_penalty`.
        tokens: the prompt, one token (1, x, y) a row; the query comes last.
        num_tokens: number of tokens, when zero rows pad the prompt.

    Returns:
        The prediction.

    Raises:
        ValueError: if the penalty is neither a number above 0 nor a matrix of the covariates' size.

    Example:
        >>> float(ridge(2.0, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        2.0
    """
    seen = sums(tokens, num_tokens)
    dim = len(seen.query)
    if jnp.ndim(params) == 0:
        penalty = checks.as_scale("penalty", params, minimum=0.0, zero_allowed=False) * jnp.eye(dim, dtype=seen.query.dtype)
    else:
        penalty = checks.as_real("penalty", params, (dim, dim))
    with precision.in_force():
        return seen.query @ inverse(seen.second + penalty) @ seen.cross


def ridge_penalty(problem: LinearRegression, prior: TaskPrior) -> Float[Array, "dim dim"]:
    r"""Return the penalty $\sigma^2\Omega^{-1}$, $\Omega = E\,\theta\theta^\top$, that makes ridge the best linear estimator.

    For a centred Gaussian prior it is the posterior mean. On the sphere it is $d\sigma^2/r^2$, and close to the posterior mean.

    Args:
        problem: covariance of the covariates and label noise, above 0.
        prior: a centred Gaussian, or the sphere.

    Returns:
        The penalty.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if it is a finite pool or not centred, or of another dimension than the problem; NaN where a traced one is not centred.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> ridge_penalty(problem, lsa.SpherePrior(dim=2)).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    require_prior_dim(prior, problem.dim)
    with jax.ensure_compile_time_eval():
        symmetric = is_symmetric(prior)
    if isinstance(prior, FiniteTasks) or (checks.concrete(symmetric) is not None and not symmetric):
        raise InputError("ridge is the best linear estimator of a centred Gaussian or the sphere: for a pool of tasks use pool_mean")
    if isinstance(prior, GaussianPrior):
        second = prior.covariance
    else:
        assert isinstance(prior, SpherePrior)
        second = jnp.eye(problem.dim, dtype=problem.root.dtype) * prior.radius**2 / problem.dim
    return checks.nan_unless(symmetric, problem.noise_std**2 * inverse(second))
