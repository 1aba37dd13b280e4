"""Reading a trade-off front
=========================

Every way of fine-tuning lowers the zero-shot error on the target, at a possible cost in few-shot error on other tasks. Two
methods are never compared at equal steps, but along the fronts they trace: here replay of the pretraining risk at nine weights, once with
all parameters trained and once with the value matrix alone, all from one pretrained model.

Left is better without examples, low is better with 20 examples of an unseen task. The value matrix alone stops at .386 whatever the weight,
and costs little. All parameters reach the noise floor of .1. At the two smallest weights that costs in-context learning, the picture of
the paper; at weights from .03 to .1 it costs nothing: not every minimiser of the zero-shot error forgets, and a little replay finds one
that does not. A front need not be a curve: larger weights than that gain less and cost more. On the command line, the same figure is
``lsa-jax plot FOLDER --against zero_shot``.
"""

import lsa_jax as lsa

spec = {
    "regimes": [
        lsa.Regime(name=f"replay_{train}", loss={"zero_shot": 1.0, "prior": "logspace(1e-3, 10, 9)"}, train=train)
        for train in ("all", "value")
    ],
    "regime": ["pretrained", "replay_all", "replay_value"],
    "dim": 3,
    "seed": 0,
    "steps": 3000,
    "learning_rate": 0.03,
    "evaluation_shots": [0, 20],
}

if __name__ == "__main__":
    lsa.run_sweep(spec, "results/tradeoff")
    numbers, figure = lsa.plotting.draw(lsa.load("results/tradeoff").frame, "zero_shot")
    print(numbers[["line", "at", "zero_shot", "few_shot"]].round(3).to_string(index=False))
