"""The forward pass f(Z; V, Q) of one layer of linear self-attention, for one prompt."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.params import LayerParams

Forward = Callable[[Any, Float[Array, "num_tokens token"], Real[ArrayLike, ""]], Float[Array, ""]]
"""A model: (parameters, tokens, num_tokens) -> prediction. Tokens may be padded with zero rows before the query, which comes last."""


def predict(params: LayerParams, tokens: Real[ArrayLike, "num_tokens token"], num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    r"""Compute $f(Z;V,Q) = [Z + \frac1N V Z Z^\top Q Z]_{-1,-1}$ for one prompt, in time and memory linear in its length.

    Only the last column is needed: with query token z and $v$ the last row of V it is $z_y + \frac1N \sum_i (v\cdot z_i)(z_i\cdot Qz)$,
    so no N x N matrix is ever formed. The outputs of several heads are averaged. Use `jax.vmap` for a batch.

    Args:
        params: V and Q of one head, or of several, with query and key merged or separate.
        tokens: the prompt, one token $(1, x, y)$ a row; the query, whose label is 0, comes last.
        num_tokens: N, when zero rows pad the prompt to a common length; by default the number of rows.

    Returns:
        The prediction of the query's label.

    Raises:
        ValueError: if the tokens are not of the size that `params` are made for, or these are a batch of several.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (model).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> copy_label = lsa.Params(value=jnp.eye(3), query_key=jnp.eye(3).at[1, 1].set(0.0))
        >>> float(lsa.predict(copy_label, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        3.0
    """
    tokens = checks.as_real("tokens", tokens, ("num_tokens", "dim + 2"))
    _require_token_size(params, tokens.shape)
    query = tokens[-1]
    rows, query_keys = params.acting
    scores = jnp.matmul(tokens, jnp.matmul(query_keys, query, precision=precision.current()).T, precision=precision.current())
    values = jnp.matmul(tokens, rows.T, precision=precision.current())
    total = len(tokens) if num_tokens is None else num_tokens
    return query[-1] + jnp.sum(values * scores) / total


def predict_from_gram(
    params: LayerParams, gram: Float[Array, "token token"], query: Float[Array, " token"], num_tokens: ArrayLike
) -> Float[Array, ""]:
    r"""Compute the same prediction from the Gram matrix $G = \sum_i z_i z_i^\top$ of all tokens, $z_y + \frac1N v^\top G Q z$.

    Args:
        params: V and Q of one head, or of several, with query and key merged or separate.
        gram: Gram matrix of all tokens, the query's own included.
        query: the query token.
        num_tokens: number N of tokens in the sum.

    Returns:
        The prediction of the query's label.

    Raises:
        ValueError: if `gram` or `query` are not of the size that `params` are made for, or these are a batch of several.

    References:
        docs/theory.md, equation (2).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> copy_label = lsa.Params(value=jnp.eye(3), query_key=jnp.eye(3).at[1, 1].set(0.0))
        >>> tokens = jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])
        >>> float(lsa.predict_from_gram(copy_label, tokens.T @ tokens, tokens[-1], num_tokens=2))
        3.0
    """
    _require_token_size(params, gram.shape)
    gram = checks.as_real("gram", gram, (params.dim + 2, params.dim + 2))
    query = checks.as_real("query", query, (params.dim + 2,))
    rows, query_keys = params.acting
    images = jnp.matmul(gram, jnp.matmul(query_keys, query, precision=precision.current()).T, precision=precision.current())
    return query[-1] + jnp.sum(rows.T * images) / num_tokens


def _require_token_size(params: LayerParams, shape: tuple[int, ...]) -> None:
    """Refuse tokens of another dimension than the parameters, and a batch of parameters."""
    checks.as_single("params", params.batch_shape)
    if len(shape) != 2 or shape[1] != params.dim + 2:
        raise InputError(f"tokens have shape {shape}; these params want rows of {params.dim + 2} entries (1, x, y)")
