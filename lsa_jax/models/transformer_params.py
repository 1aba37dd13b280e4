"""Parameters of a transformer, and the published way to draw them."""

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import precision

Heads = Float[Array, "*batch layers heads width width"]
Rows = Float[Array, "*batch layers width"]


@chex.dataclass(frozen=True)
class TransformerParams:
    r"""Parameters of a transformer; those a model does without are None and no leaves.

    Each leaf can be had as an attribute or by its name in brackets. Keyword arguments only, and unchecked: a model's `init` and the
    constructions make them, and `predict` checks their shapes.

    Args:
        value: $V_{\ell h}$ of every layer and head.
        query: $Q_{\ell h}$, where query and key are separate.
        key: $K_{\ell h}$, where they are separate.
        query_key: the merged $K_{\ell h}^\top Q_{\ell h}$, where they are not.
        mlp_in: weights into the hidden layer, one layer's matrix of shape (hidden, width).
        mlp_in_bias: bias of the hidden layer.
        mlp_out: weights out of it, one layer's matrix of shape (width, hidden).
        mlp_out_bias: bias of the output.
        norm_scale: gains of the layer norms, the attention's first and then the MLP's.
        norm_shift: shifts of the layer norms.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> params = lsa.Transformer(layers=2, heads=3, query_key="separate").init(jax.random.key(0), dim=5)
        >>> params.value.shape, params["key"].shape, params.query_key is None
        ((2, 3, 7, 7), (2, 3, 7, 7), True)
    """

    value: Heads
    query: Heads | None = None
    key: Heads | None = None
    query_key: Heads | None = None
    mlp_in: Float[Array, "*batch layers hidden width"] | None = None
    mlp_in_bias: Float[Array, "*batch layers hidden"] | None = None
    mlp_out: Float[Array, "*batch layers width hidden"] | None = None
    mlp_out_bias: Rows | None = None
    norm_scale: Float[Array, "*batch layers norms width"] | None = None
    norm_shift: Float[Array, "*batch layers norms width"] | None = None


STREAMS = ("value", "query", "key", "query_key", "mlp_in", "mlp_out")
"""Leaves that are drawn; the place of a name is the number of its stream of randomness."""


def draw(key: Key[Array, ""], shapes: Mapping[str, tuple[int, ...]], std: ArrayLike, dtype: DTypeLike | None) -> TransformerParams:
    """Draw every matrix with normal entries; biases and shifts are 0 and gains 1.

    Args:
        key: randomness.
        shapes: the shape of every leaf there is.
        std: standard deviation of the entries.
        dtype: floating type; by default that of JAX.

    Returns:
        The parameters.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    leaves = {name: jnp.full(shape, 1.0 if name == "norm_scale" else 0.0, dtype) for name, shape in shapes.items()}
    for stream, name in enumerate(STREAMS):
        if name in shapes:
            # Drawn in one type, so that a seed names the same start in every precision.
            entries = jax.random.normal(jax.random.fold_in(key, stream), shapes[name], jnp.float32)
            leaves[name] = jnp.asarray(std, dtype) * entries.astype(dtype)
    return TransformerParams(**leaves)


def merged_query_key(params: TransformerParams) -> Heads:
    r"""Return $K_{\ell h}^\top Q_{\ell h}$ of every layer and head, through which alone query and key act.

    Args:
        params: the parameters.

    Returns:
        The merged matrices.
    """
    if params.query_key is not None:
        return params.query_key
    return jnp.einsum("...kq,...kr->...qr", params.key, params.query, precision=precision.current())


def widened(array: Float[Array, "..."], axis: int, width: int) -> Float[Array, "..."]:
    """Fill in zeros, before the last entry along an axis, up to the width of a model's tokens.

    Args:
        array: tokens, a query, or a Gram matrix.
        axis: the axis of the coordinates.
        width: the size wanted.

    Returns:
        The array, of that size along the axis.

    Example:
        >>> widened(jnp.array([1.0, 2.0, 3.0]), axis=0, width=4).tolist()
        [1.0, 2.0, 0.0, 3.0]
    """
    missing = width - array.shape[axis]
    if not missing:
        return array
    front, label = jnp.split(array, [array.shape[axis] - 1], axis)
    zeros = jnp.zeros((*array.shape[:axis], missing, *array.shape[axis + 1 :]), array.dtype)
    return jnp.concatenate([front, zeros, label], axis)
