"""Settings of a fine-tuning run and of its data; nothing of the optional extra is imported here, so that help is quick."""

import dataclasses
from pathlib import Path
from typing import Literal


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which questions.

    Attributes:
        data_seed: Seed of the split into training and evaluation questions, and of the order of training.
        num_training: Training questions, of Humanities.
        num_evaluation: Evaluation questions of each category.
        category_map: authors (anatomy in Other) or lm_eval (anatomy in STEM).
        reasoning: JSON lines with chains of reasoning that end in "Answer: X"; only questions with one are trained on then.
    """

    data_seed: int = 0
    num_training: int = 1000
    num_evaluation: int = 250
    category_map: Literal["authors", "lm_eval"] = "authors"
    reasoning: Path | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """How a model is fine-tuned; the defaults are the published settings.

    Attributes:
        targets: What gets adapters: qkv, qk, q, k, v, or a regular expression over paths such as layers/0/attn/q_proj.
        loss: zero_shot, mixture (the published schedule of zero-shot and few-shot prompts), or the probability of a zero-shot prompt in
            each epoch, separated by commas.
        shots: Examples in a few-shot prompt.
        rank: Inner size of the adapters.
        alpha: Their outputs are multiplied with alpha / rank.
        learning_rate: At the first step; it falls linearly to zero.
        epochs: Number of epochs.
        steps: Updates of an epoch.
        batch_size: Examples of an update.
        accumulation: Parts that an update's examples are split into, to save memory.
        checkpoint_every: Updates from one checkpoint to the next.
        max_length: Longest example in tokens.
        dtype: Type of the frozen weights and of the computation, bfloat16 or float32; adapters are float32.
        remat: Compute the activations of a layer again in the backward pass instead of keeping them.
        seed: Of the adapters' initial values.
    """

    targets: str = "qkv"
    loss: str = "zero_shot"
    shots: int = 5
    rank: int = 128
    alpha: float = 256.0
    learning_rate: float = 1e-5
    epochs: int = 5
    steps: int = 100
    batch_size: int = 10
    accumulation: int = 1
    checkpoint_every: int = 20
    max_length: int = 4096
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    remat: bool = True
    seed: int = 0

    @property
    def total_steps(self) -> int:
        """Number of updates."""
        return self.epochs * self.steps
