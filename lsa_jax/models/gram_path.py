r"""Deep linear attention from the Gram matrix of a prompt, at a cost that does not depend on its length.

With $G_0 = \sum_i z_i z_i^\top$ over the tokens attended to, every token is mapped by the same matrix, $z \leftarrow T_\ell z$,
$T_\ell = I + \frac1{HN}\sum_h V_{\ell h} G_\ell M_{\ell h}$ with $M = K^\top Q$, and $G_{\ell+1} = T_\ell G_\ell T_\ell^\top$.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import products

Heads = Float[Array, "heads width width"]
Layers = Float[Array, "layers heads width width"]
Gram = Float[Array, "width width *batch"]
Columns = Float[Array, "width columns *batch"]
Map = Callable[[Columns], Columns]

READ_BACKWARDS = 3
"""Layers at the end that are read as matrices times vectors; every further one would take three times as many such products."""


def read_out(value: Layers, query_key: Layers, gram: Gram, query: Float[Array, "width *batch"], total: ArrayLike) -> Float[Array, "*batch"]:
    """Compute the last entry of the query token after all layers.

    The last three layers are read from right to left, as matrices times vectors; only those before them form their Gram matrix.

    Args:
        value: V of every layer and head.
        query_key: the merged query-key matrix of every layer and head.
        gram: Gram matrix of the tokens attended to, for every element of a batch in the last axes.
        query: the query token, with the same batch.
        total: number N of tokens attended to, at least 1.

    Returns:
        The read-out.

    References:
        docs/theory.md, equation (D1).
    """
    scale = 1 / (value.shape[1] * jnp.asarray(total, gram.dtype))
    column, formed = query[:, None], max(0, len(value) - READ_BACKWARDS)
    for layer in range(formed):
        step = _token_map(value[layer], query_key[layer], gram, scale)
        column = products.product(step, column)
        gram = products.product(products.product(step, gram), jnp.swapaxes(step, 0, 1))
    through: Map = functools.partial(products.product, gram)
    for layer in range(formed, len(value) - 1):
        column = _stepped(value[layer], query_key[layer], through, column, scale)
        through = _seen_through(value[layer], query_key[layer], through, scale)
    return column[-1, 0] + scale * attended(value[-1, :, -1:], query_key[-1], through, column)[0, 0]


def _token_map(value: Heads, query_key: Heads, gram: Gram, scale: Float[Array, ""]) -> Gram:
    """The matrix T that maps every token."""
    width = len(gram)
    identity = jnp.eye(width, dtype=gram.dtype).reshape(width, width, *(1 for _ in gram.shape[2:]))
    # G is symmetric, so that G M is the transpose of M' G.
    seen = products.shared(_stacked(jnp.swapaxes(query_key, 1, 2)), gram).reshape(width, len(value), *gram.shape[1:])
    return identity + scale * products.shared(_beside(value), jnp.swapaxes(seen, 0, 2).reshape(-1, *gram.shape[1:]))


def _stepped(value: Heads, query_key: Heads, gram: Map, columns: Columns, scale: Float[Array, ""]) -> Columns:
    """T times columns."""
    return columns + scale * attended(value, query_key, gram, columns)


def _seen_through(value: Heads, query_key: Heads, gram: Map, scale: Float[Array, ""]) -> Map:
    """The map by T G T', the Gram matrix of the next layer."""
    transposed = (jnp.swapaxes(query_key, 1, 2), jnp.swapaxes(value, 1, 2))
    return lambda columns: _stepped(value, query_key, gram, gram(_stepped(*transposed, gram, columns, scale)), scale)


def attended(value: Float[Array, "heads rows width"], query_key: Heads, gram: Map, columns: Columns) -> Float[Array, "rows columns *batch"]:
    """Compute the sum over heads of V G M times columns.

    Args:
        value: V of each head, or some of its rows.
        query_key: the merged query-key matrix M of each head.
        gram: multiplies columns by the Gram matrix.
        columns: the columns, with a batch in the last axes.

    Returns:
        What the columns are moved by, times the number of heads and of tokens.
    """
    width = len(columns)
    queries = products.shared(_stacked(query_key), columns).reshape(width, -1, *columns.shape[2:])
    return products.shared(_beside(value), gram(queries).reshape(-1, *columns.shape[1:]))


def _stacked(matrices: Heads) -> Float[Array, "rows width"]:
    """The first row of every head, then the second of every head, and so on."""
    return jnp.swapaxes(matrices, 0, 1).reshape(-1, matrices.shape[-1])


def _beside(matrices: Float[Array, "heads rows width"]) -> Float[Array, "rows columns"]:
    """The first column of every head, then the second of every head, and so on."""
    return jnp.moveaxis(matrices, 0, 2).reshape(matrices.shape[1], -1)
