"""What the tests of the model side share: token batches, and logits by our path and by transformers'."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lsa_jax.lm import forward
from lsa_jax.lm.batches import Example
from lsa_jax.lm.families import Decoder

VOCABULARY = 64


def random_tokens(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Token ids."""
    return np.random.default_rng(seed).integers(VOCABULARY, size=shape).astype(np.int32)


@nnx.jit
def _logits(model: Decoder, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Logits of all positions."""
    return forward.logits(model, forward.hidden_states(model, tokens, mask))


def our_logits(model: Decoder, tokens: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Logits at the highest precision."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(_logits(model, jnp.asarray(tokens), jnp.ones(tokens.shape, bool) if mask is None else jnp.asarray(mask)))


def their_logits(model: Any, tokens: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Logits of transformers, in float32 and eager attention, of a snapshot or a module; skips the test where PyTorch is not installed."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    loaded = (
        transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
        if isinstance(model, Path)
        else model
    )
    kept = np.ones(tokens.shape, np.int64) if mask is None else mask.astype(np.int64)
    positions = np.maximum(kept.cumsum(axis=1) - 1, 0)
    with torch.no_grad():
        arguments = {"attention_mask": torch.tensor(kept), "position_ids": torch.tensor(positions)}
        return loaded(torch.tensor(tokens.astype(np.int64)), **arguments).logits.numpy()


def random_steps(seed: int, num_steps: int, batch_size: int) -> list[list[Example]]:
    """Examples with prompts of 3 to 6 tokens and responses of 1 to 3."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(VOCABULARY, size=rng.integers(low, high)).tolist())

    return [[Example(ids(3, 7), ids(1, 4)) for _ in range(batch_size)] for _ in range(num_steps)]
