"""An objective of your own
========================

Elastic weight consolidation written by hand: tuning on the target is held back where the pretraining risk is curved. ``prepare`` runs
once, at the pretrained model; ``penalty`` at every step. The weight is an axis: four fine-tunings share one pretraining.

To try: ``train="all"``, more weights (``"logspace(1e-4, 100, 13)"``), or Fisher information from ``lsa.fisher_diagonal``.
"""

from typing import Any

import jax
import jax.numpy as jnp

import lsa_jax as lsa
from lsa_jax.objectives import Inputs, Term


def prepare(inputs: Inputs, key: jax.Array, start: Any) -> Any:
    """Where the run starts, and the curvature of the pretraining risk along each trained entry there: a diagonal Fisher."""
    vector, put = lsa.models.entries(start, lsa.models.mask(inputs.model, start, inputs.train))

    def risk(moved: jax.Array) -> jax.Array:
        return inputs.prior_risk(key, put(moved), inputs.pretraining_shots)

    return vector, jnp.maximum(jnp.diagonal(jax.hessian(risk)(vector)) / 2, 0)


def penalty(inputs: Inputs, key: jax.Array, params: Any, prepared: Any) -> jax.Array:
    """Half the squared distance to the start, each entry weighted by its curvature."""
    start, fisher = prepared
    return jnp.sum(fisher * (inputs.chosen(params) - start) ** 2) / 2


ewc = lsa.Regime(
    name="ewc",
    loss={"zero_shot": 1.0, Term("ewc", penalty, prepare): "logspace(0.01, 10, 4)"},
    train="value",
    title="zero-shot + EWC",
)

spec = {
    "regimes": [ewc],
    "regime": ["pretrained", "value", "ewc"],
    "dim": 3,
    "seed": "0:2",
    "steps": 1000,
    "learning_rate": 0.03,
    "evaluation_shots": [0, 20],
}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/own_objective")
    frame = lsa.load("results/own_objective").frame
    errors = frame[(frame["metric"] == "risk") & (frame["regime"] == "ewc") & (frame["test_task"] == "target")]
    print(errors.groupby(["weight_ewc", "evaluation_shots"])["value"].mean().unstack().round(4))
