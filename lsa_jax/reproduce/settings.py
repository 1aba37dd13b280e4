"""Settings of `lsa-jax reproduce`, and its presets. Imports nothing heavy: the command's help is made from this file."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from lsa_jax.flags import Whole

Preset = Literal["default", "quick", "paper"]
Experiment = Literal["regimes", "comparison"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What determines the numbers of a reproduction; each field is a flag."""

    dim: Whole = 5
    """Dimension d of the covariates."""
    model: str = "linear"
    """Model: linear (one layer of linear attention), softmax, or FILE.py:NAME for one's own."""
    pretraining_shots: Whole = 20
    """Examples m in a pretraining prompt."""
    fine_tuning_shots: Whole = 20
    """Examples n in the auxiliary few-shot loss, and in the few-shot errors of the table."""
    evaluation_shots: Whole = 40
    """Error curves run from 0 to this many examples."""
    noise_std: float = 0.1**0.5
    """Standard deviation of the label noise; the published variance is 0.1."""
    covariance: str = "isotropic"
    """Covariance of the covariates: isotropic[:VARIANCE], power_law:EXPONENT, diagonal:A,B,... or rotated:ONE_OF_THESE."""
    prior: str = "sphere"
    """Law of the pretraining tasks: sphere[:RADIUS] or gaussian[:VARIANCE]."""
    target_task: str = "random"
    """Target task: random (uniform on the unit sphere, one a seed), or its d entries A,B,... for all seeds."""
    seeds: Whole = 8
    """Number of training seeds."""
    seed: Whole = 0
    """First training seed."""
    steps: Whole = 5000
    """Gradient steps of each training phase."""
    batch_size: Whole = 1024
    """Prompts a step."""
    pool_size: Whole = 100_000
    """Labelled examples in the fine-tuning pool of a seed, shared by its regimes; 0 draws fresh examples instead."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Optimiser, as published: SGD with momentum 0.9, or Adam with decay rates 0.9, 0.9; gradients clipped to norm 1."""
    learning_rate: float = 0.01
    """Learning rate before its decay."""
    decay: Literal["constant", "linear", "cosine"] = "linear"
    """Learning-rate decay: linear (to 0 over the second half), cosine (to 0 over the run), constant (published; leaves a bias)."""
    init_std: float = 0.05
    """Standard deviation of every entry of V and Q at initialisation."""
    gradient: Literal["sampled", "population"] = "sampled"
    """Train on sampled prompts, or on the exact population gradient (no sampling at all)."""
    simulation_prompts: Whole = 10_000
    """Prompts drawn to simulate each error of each trained model."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating type of all computations."""
    device: str = "default"
    """Platform to run on: default, cpu, gpu or tpu."""


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "regimes": {
        "default": {},
        "quick": {"seeds": 4, "steps": 2000, "simulation_prompts": 5000},
        "paper": {"batch_size": 5000, "decay": "constant", "simulation_prompts": 50_000},
    },
    "comparison": {
        "default": {"pool_size": 0, "evaluation_shots": 20},
        "quick": {"pool_size": 0, "evaluation_shots": 20, "steps": 2000, "batch_size": 256, "simulation_prompts": 2000},
        "paper": {"pool_size": 0, "evaluation_shots": 20, "batch_size": 5000, "decay": "constant", "simulation_prompts": 50_000},
    },
}
"""What each preset changes, by experiment: `paper` is the published batch and constant learning rate, `quick` is for a first look."""


def default_out(preset: str, experiment: str = "regimes") -> Path:
    """Return the folder a preset writes to where none is given.

    Args:
        preset: name of the preset.
        experiment: name of the experiment.

    Returns:
        The folder, relative to the current one.
    """
    return Path("results") / (f"reproduce-{preset}" if experiment == "regimes" else f"{experiment}-{preset}")
