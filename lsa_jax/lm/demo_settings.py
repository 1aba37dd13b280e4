"""Sizes of the small experiment; nothing of the optional extra is imported here, so that help is quick."""

import dataclasses
from typing import Any, Literal

Preset = Literal["quick", "default"]


@dataclasses.dataclass(frozen=True)
class DemoSettings:
    """How large the small experiment is.

    Attributes:
        seeds: Pretrained models, each with mappings of its own.
        first_seed: Seed of the first of them; the others follow.
        targets: Sets of projections that are fine-tuned, see lsa-jax lm finetune.
        losses: What they are fine-tuned on.
        pretraining_steps: Updates of all parameters.
        pretraining_rate: Learning rate of pretraining.
        pretraining_batch: Texts of a step of pretraining.
        epochs: Epochs of fine-tuning; the model is scored after each.
        steps: Updates of an epoch.
        batch_size: Examples of an update.
        learning_rate: Learning rate of fine-tuning.
        rank: Inner size of the adapters.
        alpha: Their outputs are multiplied with alpha / rank.
        questions: Few-shot questions of each category.
    """

    seeds: int = 8
    first_seed: int = 0
    targets: tuple[str, ...] = ("qkv", "v")
    losses: tuple[str, ...] = ("zero_shot", "mixture")
    pretraining_steps: int = 2000
    pretraining_rate: float = 1e-2
    pretraining_batch: int = 32
    epochs: int = 5
    steps: int = 240
    batch_size: int = 16
    learning_rate: float = 1e-3
    rank: int = 8
    alpha: float = 16.0
    questions: int = 256


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"seeds": 1, "pretraining_steps": 40, "epochs": 2, "steps": 5, "questions": 32},
    "default": {},
}
"""What a preset changes; `quick` shows that everything runs, and nothing else."""
