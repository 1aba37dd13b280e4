"""The forward pass of a model: states before the output matrix, logits where they are asked for, the loss, and what is no number."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int
from tunix.sft import utils

from lsa_jax.lm.families import Decoder

BROKEN = "NaN, infinity or a number too large to be squared"


class DivergedError(ArithmeticError):
    """A run or a model whose numbers are no finite numbers; the message says which and where."""


def tensors(model: Decoder, kind: type[nnx.Variable] = nnx.Param) -> dict[str, jax.Array]:
    """Return the parameters of a model.

    Args:
        model: the model.
        kind: which of them: `nnx.Param` for the base, `nnx.LoRAParam` for adapters.

    Returns:
        Arrays by path, such as `layers.0.attn.q_proj.w`.
    """
    return {".".join(map(str, path)): value[...] for path, value in nnx.to_flat_state(nnx.state(model, kind))}


def trained(model: Decoder) -> type[nnx.Variable]:
    """Return which variables of a model are trained: its adapters, or all its parameters if it has none."""
    return nnx.LoRAParam if utils.is_lora_enabled(model) else nnx.Param


def hidden_states(
    model: Decoder, tokens: Int[Array, "batch length"], mask: Bool[Array, "batch length"]
) -> Float[Array, "batch length width"]:
    """Compute the normalised states of the last layer.

    The model's own logits of all positions are not used; under jit they are never computed. Call it inside jit only.

    Args:
        model: the model, with or without LoRA.
        tokens: token ids; any id where the mask is False.
        mask: False at padding, on either side.

    Returns:
        The states, in the model's dtype.
    """
    model(tokens, utils.build_positions_from_mask(mask), None, utils.make_causal_attn_mask(mask), output_hidden_states=True)
    sown: dict[str, Any] = nnx.to_pure_dict(nnx.pop(model, nnx.Intermediate))
    return sown["all_hidden_states"][0]


def logits(model: Decoder, states: Float[Array, "*positions width"]) -> Float[Array, "*positions vocabulary"]:
    """Compute the logits that belong to states of the last layer.

    Args:
        model: the model.
        states: from `hidden_states`, at the positions of interest.

    Returns:
        Logits in float32.
    """
    if model.config.use_tied_embedding:
        return model.embedder.decode(states).astype(jnp.float32)
    flat = model.lm_head(states.reshape(1, -1, states.shape[-1]))
    return flat.reshape(*states.shape[:-1], -1).astype(jnp.float32)


def response_loss(
    model: Decoder,
    tokens: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    places: Int[Array, "batch answers"],
    labels: Int[Array, "batch answers"],
    weights: Float[Array, "batch answers"],
) -> Float[Array, ""]:
    """Compute the weighted negative log-likelihood of the responses, with integer labels and logits at their positions only.

    Args:
        model: the model.
        tokens: prompts and responses.
        mask: False at padding.
        places: positions whose states predict the response tokens.
        labels: the response tokens.
        weights: of each, 0 at padding.

    Returns:
        The loss.
    """
    states = hidden_states(model, tokens, mask)
    answering = jnp.take_along_axis(states, places[:, :, None], axis=1)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits(model, answering), labels)
    return jnp.sum(weights * losses)


def first_not_finite(tensors: Mapping[str, jax.Array]) -> str | None:
    """Look for NaN, infinity, and numbers whose squares overflow float32, which no normalisation of a model survives.

    Args:
        tensors: arrays by name.

    Returns:
        The name of the first one that holds some; None if none does.

    Example:
        >>> first_not_finite({"a": jnp.zeros(2), "b": jnp.array([1.0, jnp.nan])})
        'b'
    """
    finite = _all_finite(list(tensors.values()))
    return next((name for name, one in zip(tensors, finite, strict=True) if not one), None)


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> list[jax.Array]:
    """Whether the squares of each array are finite throughout."""
    return [jnp.isfinite(jnp.square(array.astype(jnp.float32))).all() for array in arrays]
