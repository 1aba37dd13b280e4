r"""Deep linear attention from the Gram matrix of a prompt, at a cost that does not depend on its length.

With $G_0 = \sum_i z_i z_i^\top$ over the tokens attended to, every token is mapped by the same matrix, $z \leftarrow T_\ell z$,
$T_\ell = I + \frac1{HN}\sum_h V_{\ell h} G_\ell M_{\ell h}$ with $M = K^\top Q$, and $G_{\ell+1} = T_\ell G_\ell T_\ell^\top$.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import precision, products

Heads = Float[Array, "heads width width"]
Layers = Float[Array, "layers heads width width"]
Gram = Float[Array, "width width *batch"]
Columns = Float[Array, "width columns *batch"]
Map = Callable[[Columns], Columns]


def read_out(value: Layers, query_key: Layers, gram: Gram, query: Float[Array, "width *batch"], total: ArrayLike) -> Float[Array, "*batch"]:
    """Compute the last entry of the query token after all layers.

    The last two layers are read from right to left, as matrices times vectors; only those before them form their Gram matrix.

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
    column = query[:, None]
    for layer in range(len(value) - 2):
        step = _token_map(value[layer], query_key[layer], gram, scale)
        column = products.product(step, column)
        gram = products.product(products.product(step, gram), jnp.swapaxes(step, 0, 1))

    def through(columns: Columns) -> Columns:
        return products.product(gram, columns)

    last_gram: Map = through
    if len(value) > 1:
        column = _stepped(value[-2], query_key[-2], through, column, scale)
        last_gram = _seen_through(value[-2], query_key[-2], through, scale)
    seen = last_gram(_by_head(query_key[-1], column))
    read = jnp.tensordot(value[-1, :, -1], seen, ((0, 1), (1, 0)), precision=precision.current())
    return column[-1, 0] + scale * read


def _token_map(value: Heads, query_key: Heads, gram: Gram, scale: Float[Array, ""]) -> Gram:
    """The matrix T that maps every token."""
    width = len(gram)
    identity = jnp.eye(width, dtype=gram.dtype).reshape(width, width, *(1 for _ in gram.shape[2:]))
    # G is symmetric, so that G M is the transpose of M' G.
    seen = jnp.tensordot(jnp.swapaxes(query_key, 1, 2), gram, 1, precision=precision.current())
    return identity + scale * jnp.tensordot(value, seen, ((0, 2), (0, 2)), precision=precision.current())


def _by_head(query_key: Heads, columns: Columns) -> Float[Array, "width seen *batch"]:
    """Columns as each head queries with them, one head after the other."""
    queries = jnp.moveaxis(jnp.tensordot(query_key, columns, 1, precision=precision.current()), 0, 1)
    return queries.reshape(len(columns), -1, *columns.shape[2:])


def _stepped(value: Heads, query_key: Heads, gram: Map, columns: Columns, scale: Float[Array, ""]) -> Columns:
    """T times columns."""
    seen = gram(_by_head(query_key, columns)).reshape(len(columns), len(value), *columns.shape[1:])
    return columns + scale * jnp.tensordot(value, seen, ((0, 2), (1, 0)), precision=precision.current())


def _seen_through(value: Heads, query_key: Heads, gram: Map, scale: Float[Array, ""]) -> Map:
    """The map by T G T', the Gram matrix of the next layer."""
    transposed = (jnp.swapaxes(query_key, 1, 2), jnp.swapaxes(value, 1, 2))
    return lambda columns: _stepped(value, query_key, gram, gram(_stepped(*transposed, gram, columns, scale)), scale)
