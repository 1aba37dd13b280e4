r"""A whole context as its Gram matrix $\sum_i z_i z_i^\top$, exact in law, in a number of draws that does not depend on its length.

Linear attention of any depth needs its context through this matrix alone. Like the projected sampler this one draws a batch, one prompt a
column.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, products
from lsa_jax.errors import InputError
from lsa_jax.normal_rows import sample_normals
from lsa_jax.problem import LinearRegression
from lsa_jax.prompts.chi_square import sample_chi_squares


@chex.dataclass(frozen=True, mappable_dataclass=False)
class GramPrompts:
    """Prompts as their Gram matrices, one a column of the last axis.

    `gram` sums over all tokens, the query's own included; `query` holds the query tokens; `num_tokens` counts context and query; `signal`
    is the noiseless label θ·x of each query, so that a squared error on it lacks σ² and nothing else.
    """

    gram: Float[Array, "*seeds token token batch"]
    query: Float[Array, "*seeds token batch"]
    num_tokens: Float[Array, "*seeds"]
    signal: Float[Array, "*seeds batch"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class CompressedPrompts:
    r"""Prompts of few tokens with the Gram matrices of long ones, one a column of the last axis.

    `tokens` holds d + 2 examples, whatever their number was, and the query last. Their first entries are not 1, but $X^\top X$,
    $X^\top y$ and $|y - Xw|^2$ for every w are those of the `num_tokens` - 1 examples they stand for. `signal` is the noiseless label
    of each query.
    """

    tokens: Float[Array, "*seeds rows token batch"]
    num_tokens: Float[Array, "*seeds"]
    signal: Float[Array, "*seeds batch"]


def sample_gram_prompts(
    key: Key[Array, ""], problem: LinearRegression, tasks: Float[Array, "dim #batch"], num_shots: ArrayLike, count: int
) -> GramPrompts:
    """Draw prompts of `num_shots` fresh Gaussian examples and a query each, as Gram matrices.

    **Assumes** fresh examples with Gaussian covariates; pools and other covariate laws draw tokens.

    Args:
        key: randomness of the batch.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number n of examples, from 0 on and finite; may be traced, and then gives NaN where it is infinite.
        count: number of prompts (static).

    Returns:
        The prompts.

    Raises:
        ValueError: if `num_shots` is negative, fractional or infinite, or `count` below 1.

    References:
        docs/theory.md, equation (D2).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.1)
        >>> prompts = sample_gram_prompts(jax.random.key(0), problem, jnp.ones((3, 1)), num_shots=20, count=7)
        >>> prompts.gram.shape, float(prompts.num_tokens)
        ((5, 5, 7), 21.0)
    """
    factor, query, shots, signal = _factored(key, problem, tasks, num_shots, count)
    gram = products.gram(jnp.concatenate([factor, query[:, None]], axis=1))
    return GramPrompts(gram=gram, query=query, num_tokens=shots + 1, signal=signal)


def sample_compressed_prompts(
    key: Key[Array, ""], problem: LinearRegression, tasks: Float[Array, "dim #batch"], num_shots: ArrayLike, count: int
) -> CompressedPrompts:
    """Draw the prompts of `sample_gram_prompts` for estimators: few tokens whose Gram matrices are those of the same key.

    **Assumes** fresh examples with Gaussian covariates.

    Args:
        key: randomness of the batch.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number n of examples, from 0 on and finite; may be traced, and then gives NaN where it is infinite.
        count: number of prompts (static).

    Returns:
        The prompts.

    Raises:
        ValueError: if `num_shots` is negative, fractional or infinite, or `count` below 1.

    References:
        docs/theory.md, equation (D2).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.0)
        >>> prompts = sample_compressed_prompts(jax.random.key(0), problem, jnp.ones((3, 1)), num_shots=1000, count=7)
        >>> prompts.tokens.shape
        (6, 5, 7)
        >>> seen = lsa.estimators.least_squares(None, prompts.tokens[..., 0], prompts.num_tokens)
        >>> bool(abs(seen - prompts.signal[0]) < 1e-4)
        True
    """
    factor, query, shots, signal = _factored(key, problem, tasks, num_shots, count)
    tokens = jnp.concatenate([jnp.swapaxes(factor, 0, 1), query[None]])
    return CompressedPrompts(tokens=tokens, num_tokens=shots + 1, signal=signal)


def _factored(
    key: Key[Array, ""], problem: LinearRegression, tasks: Float[Array, "dim #batch"], num_shots: ArrayLike, count: int
) -> tuple[Float[Array, "token columns batch"], Float[Array, "token batch"], Float[Array, ""], Float[Array, " batch"]]:
    """Factors of the Gram matrices of contexts, query tokens, the number of shots and the noiseless labels of the queries."""
    count = checks.as_count("count", count)
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype)
    known = checks.concrete(num_shots)
    if known is not None and np.isinf(known):
        raise InputError("num_shots is infinite, and so is the Gram matrix: use the infinite-context limit of the model")
    context_key, query_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    normals = sample_normals(query_key, problem.dim, count, problem.root.dtype)
    x = products.shared(problem.root, normals)
    query = jnp.concatenate([jnp.ones((1, count), x.dtype), x, jnp.zeros((1, count), x.dtype)])
    factor = sample_context_factors(context_key, problem, tasks, shots, count)
    return factor, query, shots, jnp.sum(tasks * x, axis=0)


def sample_context_factors(
    key: Key[Array, ""], problem: LinearRegression, tasks: Float[Array, "dim #batch"], num_shots: Float[Array, ""], count: int
) -> Float[Array, "token columns batch"]:
    r"""Draw factors R of the Gram matrices of contexts, $\sum_{i\le n} z_i z_i^\top = RR^\top$.

    In whitened coordinates $e_i = (g_i, \varepsilon_i)$, p = d + 1 of them, the sum over the context is $\sqrt n\,\xi$ with ξ standard
    normal, and independent of it the scatter about the mean is $AA^\top$ with A lower trapezoidal: $A_{ii}^2 \sim \chi^2_{n-1-i}$ for
    i = 0, 1, ..., standard normals below the diagonal, and columns of zeros from n - 1 on.

    Args:
        key: randomness of the batch.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number n of examples; may be traced.
        count: number of prompts (static).

    Returns:
        The factors, with d + 2 columns; 0 without examples, NaN with infinitely many.

    References:
        docs/theory.md, equation (D2); Bartlett's decomposition of a Wishart matrix.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.0)
        >>> factor = sample_context_factors(jax.random.key(0), problem, jnp.ones((1, 1)), jnp.float32(9.0), 1)[..., 0]
        >>> round(float((factor @ factor.T)[0, 0]), 4)
        9.0
    """
    size, dtype = problem.dim + 1, problem.root.dtype
    normal_key, chi_square_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    below = np.tril_indices(size, -1)
    mean, lower, spare = jnp.split(sample_normals(normal_key, size + len(below[0]) + 1, count, dtype), (size, size + len(below[0])))
    degrees = num_shots - 1 - jnp.arange(size, dtype=dtype)
    # At most one column has 1 degree of freedom, so that one row of spare normals serves them all.
    squares = sample_chi_squares(chi_square_key, degrees[:, None], jnp.broadcast_to(spare, (size, count)))
    places = np.full((size, size), len(lower) + size)
    places[below], places[np.diag_indices(size)] = np.arange(len(lower)), len(lower) + np.arange(size)
    scatter = jnp.concatenate([lower, jnp.sqrt(squares), jnp.zeros((1, count), dtype)])[places]
    whitened = jnp.concatenate([mean[:, None], jnp.where((degrees > 0)[None, :, None], scatter, 0)], axis=1)

    ones = jnp.zeros((1, size + 1, count), dtype).at[0, 0].set(jnp.sqrt(num_shots))
    x = products.shared(problem.root, whitened[:-1])
    y = products.product(jnp.broadcast_to(tasks, x[:, 0].shape)[None], x) + problem.noise_std * whitened[-1:]
    factor = jnp.concatenate([ones, x, y])
    return jnp.where(num_shots >= 1, jnp.where(jnp.isfinite(num_shots), factor, jnp.nan), 0)
