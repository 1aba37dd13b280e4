"""A model written in flax
=======================

Any module of flax is a model once an adapter of a few lines says how to start it and how to call it. Here a transformer
with softmax attention and MLPs, written in linen, is pretrained and fine-tuned like a built-in one. Needs the package flax.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

import lsa_jax as lsa


class Deep(linen.Module):
    """Layers of softmax attention and an MLP; the prediction is the last entry of the query, the last token."""

    layers: int

    @linen.compact
    def __call__(self, tokens: jax.Array, num_tokens: Any) -> jax.Array:
        """The prediction for one prompt, whose first num_tokens - 1 rows and last row are seen: zeros may pad it in between."""
        row, width = jnp.arange(len(tokens)), tokens.shape[1]
        seen = (row < num_tokens - 1) | (row == len(tokens) - 1)
        for layer in range(self.layers):
            value, query, key = (linen.Dense(width, use_bias=False, name=f"{name}{layer}")(tokens) for name in ("value", "query", "key"))
            tokens = tokens + linen.softmax(jnp.where(seen[None], query @ key.T, -jnp.inf)) @ value
            hidden = linen.gelu(linen.Dense(4 * width, name=f"mlp_in{layer}")(tokens))
            tokens = tokens + linen.Dense(width, name=f"mlp_out{layer}")(hidden)
        return tokens[-1, -1]


class Linen(lsa.models.Plain):
    """A module of linen as a model. Its initialisers are its own, so that `init_std` does nothing."""

    def __init__(self, module: linen.Module, **groups: Any) -> None:
        self.module, self.name, self.groups = module, type(module).__name__, groups

    def init(self, key: jax.Array, dim: int, std: Any) -> Any:
        """Parameters as the module draws them for tokens (1, x, y)."""
        return self.module.init(key, jnp.zeros((1, dim + 2)), 1)

    def predict(self, params: Any, tokens: jax.Array, num_tokens: Any = None) -> jax.Array:
        """The prediction for one prompt."""
        return self.module.apply(params, tokens, len(tokens) if num_tokens is None else num_tokens)


sizes = {"dim": 2, "seed": "0:2", "steps": 300, "batch_size": 64, "learning_rate": 0.1, "simulation_prompts": 2000}
model = Linen(Deep(layers=2), value=lambda path: ".value" in path)
spec = {**sizes, "model": model, "gradient": "sampled", "regime": ["pretrained", "full", "value"], "evaluation_shots": [0, 5, 20]}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/flax_model")
    errors = lsa.load("results/flax_model").frame.query("metric == 'simulated_risk' and test_task == 'target'")
    print(errors.groupby(["regime", "evaluation_shots"], observed=True)["value"].mean().round(3))
