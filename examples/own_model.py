"""A model of your own
===================

Linear attention with a trained gate on its output. You write only what it computes and register nothing: the class goes into
a spec as it is. Since nothing is known about it in closed form, its errors are simulated, and no theory is drawn.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

import lsa_jax as lsa


class Gated(lsa.models.Plain):
    """One layer of linear attention, its prediction multiplied by a trained gate. Nothing is known about it in closed form."""

    name = "gated"
    groups: Mapping[str, Callable[[str], bool]] = {"value": lambda path: path == "layer.value", "gate": lambda path: path == "gate"}
    linear_in = ("value", "gate")

    def init(self, key: jax.Array, dim: int, std: Any) -> dict[str, Any]:
        """Parameters are any pytree: here a dictionary that holds a `Params`."""
        return {"layer": lsa.models.LINEAR.init(key, dim, std), "gate": jnp.ones(())}

    def predict(self, params: Any, tokens: Any, num_tokens: Any = None) -> jax.Array:
        """The prediction for one prompt."""
        return params["gate"] * lsa.predict(params["layer"], tokens, num_tokens)


spec = {
    "model": Gated(),
    "gradient": "sampled",
    "batch_size": 64,
    "dim": 2,
    "seed": "0:2",
    "steps": 300,
    "regime": ["pretrained", "full", "value"],
    "evaluation_shots": [0, 5, 20],
    "simulation_prompts": 2000,
}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/own_model")
    frame = lsa.load("results/own_model").frame
    print(frame[frame["metric"] == "simulated_risk"].groupby(["regime", "evaluation_shots"], observed=True)["value"].mean().round(3))
