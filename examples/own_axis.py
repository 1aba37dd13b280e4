"""An axis of your own
===================

A term of a loss may have a knob, along which models branch from one pretrained model: here the number of examples in the prompts that
full fine-tuning replays. The knob is part of the term, so the spec, the records and the figures pick it up automatically.
"""

from typing import Any

import jax

import lsa_jax as lsa
from lsa_jax.knobs import Knob, shots
from lsa_jax.objectives import Inputs, Term

REPLAYED = Knob("branch", 20.0, shots(1), "examples in a replayed prompt")


def replay(inputs: Inputs, key: jax.Array, params: Any, prepared: None) -> jax.Array:
    """The risk over the pretraining tasks after a number of examples that need not be the pretrained one."""
    return inputs.prior_risk(key, params, inputs.knobs["replayed_shots"])


spec = {
    "regimes": [lsa.Regime(name="replay", loss={"zero_shot": 1.0, Term("replay", replay, knobs={"replayed_shots": REPLAYED}): 0.5})],
    "regime": ["pretrained", "full", "replay"],
    "replayed_shots": [5, 20, 80],
    "dim": 3,
    "seed": "0:2",
    "steps": 500,
    "evaluation_shots": [0, 20],
}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/own_axis")
    frame = lsa.load("results/own_axis").frame
    errors = frame[(frame["metric"] == "risk") & (frame["regime"] == "replay") & (frame["test_task"] == "opposite")]
    print(errors.groupby(["replayed_shots", "evaluation_shots"])["value"].mean().unstack().round(4))
