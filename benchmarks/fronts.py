"""A front of the lab: followed by exact gradients, against training one model a weight on sampled prompts."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from lsa_jax import covariances, lab, objectives, optimizers, priors, training
from lsa_jax.lab.remedies import remedy
from lsa_jax.objectives import TERMS, Inputs
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression

DIM, SHOTS, KNOBS = 5, 20.0, 25
STEPS, BATCH_SIZE, RATE = 5000, 1024, 0.01
SUBSET = (6, 12)
"""Places on the front of the models that are also trained on sampled prompts."""

LARGEST_EXCESS = 0.05
"""Relative loss above the minimum at which a sampled run counts as the same answer; below it by more than a thousandth, it refutes it."""


def lab_fronts(rounds: int = 3) -> dict[str, Any]:
    """Time the front of L2-SP over all parameters, a model, compiled programs and their inputs at hand.

    Args:
        rounds: timed rounds.

    Returns:
        The record: how much less a model of the front takes by exact gradients.
    """
    with jax.enable_x64(True):
        problem = LinearRegression(covariances.power_law(DIM, 1.0), 0.1**0.5)
        inputs = lab.exact_inputs(problem, priors.SpherePrior(dim=DIM), np.eye(DIM)[0], SHOTS)
        start = lab.pretrained(problem, priors.SpherePrior(dim=DIM), SHOTS)
        landscape = lab.Landscape(inputs, start, [TERMS["zero_shot"], TERMS["l2_sp"]])
        weights = [landscape.only(0) + landscape.only(1, landscape.unit(1) * knob) for knob in remedy("l2_sp").values(KNOBS)]
        exact = landscape.follow(weights)
        trained = _trained(inputs, start)
        excess = [_excess(landscape, exact[place], weights[place], trained(weights[place][1])) for place in SUBSET]
        if not all(-1e-3 < one < LARGEST_EXCESS for one in excess):
            raise AssertionError(f"sampled training ends at losses {excess} above the exact minimum, relative to it")
        ways = {
            "sampled prompts": lambda: [jax.block_until_ready(trained(weights[place][1])) for place in SUBSET],
            "exact front": lambda: landscape.follow(weights),
        }
        seconds = timing.interleaved(ways, rounds)
    a_model = {name: [one / (KNOBS if name == "exact front" else len(SUBSET)) for one in taken] for name, taken in seconds.items()}
    ratio = timing.ratio_interval(a_model["sampled prompts"], a_model["exact front"])
    settings = {"dim": DIM, "shots": SHOTS, "knobs": KNOBS, "steps": STEPS, "batch_size": BATCH_SIZE}
    extra = {"unit": "seconds a model", "speedup": {"exact front": ratio}, "agreement": {"relative_excess_of_sampled": excess}}
    return timing.record("lab_fronts", settings, a_model, **extra)


def _trained(inputs: Inputs, start: Params) -> Callable[[float], Params]:
    """Training on sampled prompts at a weight, compiled once."""
    assert inputs.problem is not None
    assert inputs.target_task is not None
    sampled = dataclasses.replace(inputs, target_risk=objectives.fresh_prompts(inputs.problem, inputs.target_task, BATCH_SIZE))
    settings, optimizer = training.Settings(steps=STEPS, history_stride=STEPS), optimizers.sgd(RATE, STEPS)

    def run(weight: float) -> Params:
        goal = objectives.minimise([(TERMS["zero_shot"], 1.0), (TERMS["l2_sp"], weight)], sampled)
        return training.train(jax.random.key(0), goal, start, optimizer, settings).params

    return jax.jit(run)


def _excess(landscape: lab.Landscape, exact: np.ndarray, weights: np.ndarray, reached: Params) -> float:
    """How far the exact loss of a sampled run lies above the minimum, relative to it."""
    least, found = (landscape.slopes(vector, weights)[0] for vector in (exact, landscape.vector(reached)))
    return found / least - 1
