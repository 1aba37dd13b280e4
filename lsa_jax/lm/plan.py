"""What a fine-tuning run needs, told before it begins: trained parameters, memory by part, steps."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
from rich.console import Console

from lsa_jax import checks, exit_codes
from lsa_jax.errors import InputError
from lsa_jax.lm import experiment
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.config import read_config
from lsa_jax.lm.families import Config, family_of, tensor_shapes
from lsa_jax.lm.lora import Adapter, adapter_of
from lsa_jax.lm.settings import DataSettings, FinetuneSettings

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


def plan(config: Config, adapter: Adapter, *, batch_size: int, length: int, answers: int) -> Plan:
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
    recomputed = config.remat_config is family_of(config).remat[True]
    kept = config.num_layers * states + layer if recomputed else config.num_layers * layer
    return Plan(
        trained=trained,
        weights=size * parameters,
        adapters=4 * 4 * trained,
        activations=kept + layer,
        logits=3 * 4 * batch_size * answers * config.vocab_size,
    )


def dry_run(model: Path, data: Path, settings: FinetuneSettings, questions: DataSettings, memory_gb: float) -> int:
    """Print what a run needs, after building its examples; arguments as of the command.

    Returns:
        The exit code.

    Raises:
        InputError: if it would not fit, or something cannot be used.
    """
    checks.as_scale("memory_gb", memory_gb, minimum=0.0, zero_allowed=False)
    longest, answer = experiment.read(model, data, questions).longest(settings, questions.data_seed)
    needed = plan(
        read_config(model, dtype=settings.dtype, remat=settings.remat),
        adapter_of(settings),
        batch_size=settings.batch_size // settings.accumulation,
        length=padded_length(longest),
        answers=padded_length(answer, least=1),
    )
    told = [
        f"trained parameters {needed.trained}",
        f"steps              {settings.total_steps}, a checkpoint every {settings.checkpoint_every}",
        f"longest example    {longest} tokens, padded to {padded_length(longest)}",
        *(f"{part:<18} {getattr(needed, part) / 1e9:.2f} GB" for part in ("weights", "adapters", "activations", "logits", "total")),
    ]
    Console(soft_wrap=True, highlight=False).print("\n".join(told))
    if needed.total > memory_gb * 1e9:
        raise InputError(f"about {needed.total / 1e9:.0f} GB are needed, there are {memory_gb:g}: take --remat or a larger --accumulation")
    return exit_codes.DONE
