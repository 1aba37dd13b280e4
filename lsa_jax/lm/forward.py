"""The forward pass of a Qwen2 model up to the states before the output matrix, and logits where they are asked for."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int
from tunix.models.qwen2.model import Qwen2
from tunix.sft import utils


def tensors(model: Qwen2, kind: type[nnx.Variable] = nnx.Param) -> dict[str, jax.Array]:
    """Return the parameters of a model.

    Args:
        model: the model.
        kind: which of them: `nnx.Param` for the base, `nnx.LoRAParam` for adapters.

    Returns:
        Arrays by path, such as `layers.0.attn.q_proj.w`.
    """
    return {".".join(map(str, path)): value[...] for path, value in nnx.to_flat_state(nnx.state(model, kind))}


def hidden_states(
    model: Qwen2, tokens: Int[Array, "batch length"], mask: Bool[Array, "batch length"]
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


def logits(model: Qwen2, states: Float[Array, "*positions width"]) -> Float[Array, "*positions vocabulary"]:
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
