"""One layer of a transformer over the tokens of a prompt: attention by head, MLP and layer norm."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lsa_jax.models.transformer_params import TransformerParams

NORM_EPSILON = 1e-5
"""Added to the variance in a layer norm."""

Tokens = Float[Array, "rows width"]
Readers = Float[Array, "readers width"]
Head = Float[Array, "heads width width"]


def linear_attention(value: Head, query_key: Head, tokens: Tokens, readers: Readers, attended: Bool[Array, " rows"]) -> Readers:
    r"""Compute $\frac1N \sum_i V z_i\,(z_i^\top K^\top Q z_j)$ for every reader j, averaged over heads, in time linear in the prompt.

    Args:
        value: V of each head.
        query_key: the merged query-key matrix of each head.
        tokens: what is attended to.
        readers: the tokens that read.
        attended: which tokens are summed over; N is their number, or 1 where there are none.

    Returns:
        What each reader gets.
    """
    seen = jnp.where(attended[:, None], tokens, 0)

    def one_head(value: Float[Array, "width width"], query_key: Float[Array, "width width"]) -> Readers:
        memory = (seen @ value.T).T @ seen
        return readers @ query_key.T @ memory.T

    return jnp.mean(jax.vmap(one_head)(value, query_key), axis=0) / jnp.maximum(jnp.sum(attended), 1)


def softmax_attention(value: Head, query_key: Head, tokens: Tokens, readers: Readers, attended: Bool[Array, " rows"]) -> Readers:
    r"""Compute $\sum_i V z_i\,\mathrm{softmax}_i(z_i^\top K^\top Q z_j)$ for every reader j, averaged over heads; 0 without tokens.

    Args:
        value: V of each head.
        query_key: the merged query-key matrix of each head.
        tokens: what is attended to.
        readers: the tokens that read.
        attended: which tokens are attended to.

    Returns:
        What each reader gets.
    """
    shown = jnp.broadcast_to(attended, (len(readers), len(tokens)))

    def one_head(value: Float[Array, "width width"], query_key: Float[Array, "width width"]) -> Readers:
        logits = jnp.where(shown, readers @ query_key.T @ tokens.T, jnp.finfo(tokens.dtype).min)
        weights = jnp.where(shown, jax.nn.softmax(logits), 0)
        return weights @ tokens @ value.T

    return jnp.mean(jax.vmap(one_head)(value, query_key), axis=0)


ATTENTION = {"linear": linear_attention, "softmax": softmax_attention}


def layer(
    attention: str, params: TransformerParams, query_key: Head, tokens: Tokens, readers: Readers, attended: Bool[Array, " rows"]
) -> Readers:
    """Update the readers by one layer: they attend to the tokens, then pass the MLP, each behind a layer norm if there is one.

    Args:
        attention: `linear` or `softmax`.
        params: the leaves of this layer.
        query_key: its merged query-key matrices.
        tokens: what is attended to.
        readers: the tokens to update, all or the last alone.
        attended: which tokens are attended to.

    Returns:
        The updated readers.
    """
    seen, reading = _normed(params, 0, tokens), _normed(params, 0, readers)
    updated = readers + ATTENTION[attention](params.value, query_key, seen, reading, attended)
    if params.mlp_in is None or params.mlp_in_bias is None or params.mlp_out is None or params.mlp_out_bias is None:
        return updated
    hidden = jax.nn.gelu(_normed(params, 1, updated) @ params.mlp_in.T + params.mlp_in_bias[None])
    return updated + hidden @ params.mlp_out.T + params.mlp_out_bias[None]


def _normed(params: TransformerParams, place: int, tokens: Tokens) -> Tokens:
    """Tokens behind a layer norm, or as they are."""
    if params.norm_scale is None or params.norm_shift is None:
        return tokens
    centred = tokens - jnp.mean(tokens, axis=1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred**2, axis=1, keepdims=True) + NORM_EPSILON)
    return params.norm_scale[place][None] * centred * scale + params.norm_shift[place][None]
