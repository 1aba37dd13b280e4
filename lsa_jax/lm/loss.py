"""The loss of fine-tuning: response tokens only, integer labels, logits at the positions that predict them only."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int
from tunix.models.qwen2.model import Qwen2

from lsa_jax.lm import forward


def response_loss(
    model: Qwen2,
    tokens: Int[Array, "batch length"],
    mask: Bool[Array, "batch length"],
    places: Int[Array, "batch answers"],
    labels: Int[Array, "batch answers"],
    weights: Float[Array, "batch answers"],
) -> Float[Array, ""]:
    """Compute the weighted negative log-likelihood of the responses.

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
    states = forward.hidden_states(model, tokens, mask)
    answering = jnp.take_along_axis(states, places[:, :, None], axis=1)
    losses = optax.softmax_cross_entropy_with_integer_labels(forward.logits(model, answering), labels)
    return jnp.sum(weights * losses)
