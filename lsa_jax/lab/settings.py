"""Settings of `lsa-jax lab`. Imports nothing heavy: the command's help is made from this file."""

import dataclasses
from typing import Literal

from lsa_jax.flags import Whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What is fine-tuned; each field is a flag."""

    dim: Whole = 5
    """Dimension d of the covariates."""
    shots: Whole = 20
    """Examples in a pretraining prompt and in every few-shot error."""
    noise_std: float = 0.1**0.5
    """Standard deviation of the label noise."""
    covariance: str = "power_law:1"
    """Covariance of the covariates: isotropic[:VARIANCE], power_law:EXPONENT, diagonal:A,B,... or rotated:ONE_OF_THESE."""
    prior: str = "sphere"
    """Law of the pretraining tasks: sphere[:RADIUS] or gaussian[:VARIANCE]."""
    gauge: Literal["balanced", "unit"] = "balanced"
    """Scale (cV, Q/c) of the pretrained model: balanced, near which training lands, or unit, with v_y = 1."""
    train: str = "all"
    """Trainable set: all, value or query_key."""
    knobs: Whole = 25
    """Values of each remedy's knob."""
    seed: Whole = 0
    """Seed of the target task (a direction), of low-rank factors and of the searches for the best front."""
