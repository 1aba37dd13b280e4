"""What a fine-tuning run needs, told before it begins: trained parameters, memory by part, steps."""

import dataclasses
import math

import jax.numpy as jnp
from tunix.models.qwen2.model import ModelConfig, RematConfig

from lsa_jax.lm.config import tensor_shapes
from lsa_jax.lm.lora import Adapter

SCORE_ARRAYS, STATE_ARRAYS = 3, 12
"""Arrays that the backward pass of a layer reads, in units of float32 attention scores and of hidden states; see `Plan`."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a run in bytes; peak memory is about their sum.

    The activations are an estimate. A layer that is kept for the backward pass takes three float32 arrays of attention scores (XLA's own
    count for this model, 2.9), twelve arrays of its hidden states and four of its feed-forward states (XLA: 22 hidden states where
    these are four times wider). With rematerialisation one array of hidden states a layer is kept, and one layer at a time computed
    again.

    Attributes:
        trained: number of trained parameters.
        weights: of the frozen base.
        adapters: LoRA matrices, their gradients and both moments of AdamW, in float32.
        activations: what the backward pass reads, and the gradients of one layer.
        logits: at the answer positions, with their softmax and gradient, in float32.
    """

    trained: int
    weights: int
    adapters: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """Peak memory."""
        return self.weights + self.adapters + self.activations + self.logits


def plan(config: ModelConfig, adapter: Adapter, *, batch_size: int, length: int, answers: int) -> Plan:
    """Estimate the memory of a training step.

    Args:
        config: the model, with its type and rematerialisation.
        adapter: what is trained.
        batch_size: examples whose gradient is computed at once.
        length: tokens of the longest one, padding included.
        answers: tokens of the longest response.

    Returns:
        The plan.
    """
    size = jnp.dtype(config.dtype).itemsize
    trained = adapter.num_parameters(config)
    parameters = sum(math.prod(shape) for shape in tensor_shapes(config).values())
    tokens = batch_size * length
    states = size * tokens * config.embed_dim
    scores = 4 * batch_size * config.num_heads * length**2
    layer = SCORE_ARRAYS * scores + STATE_ARRAYS * states + 4 * size * tokens * config.hidden_dim
    recomputed = config.remat_config is RematConfig.DECODER
    kept = config.num_layers * states + layer if recomputed else config.num_layers * layer
    return Plan(
        trained=trained,
        weights=size * parameters,
        adapters=4 * 4 * trained,
        activations=kept + layer,
        logits=3 * 4 * batch_size * answers * config.vocab_size,
    )
