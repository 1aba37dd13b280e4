"""A small version of the experiment: tiny models pretrained, fine-tuned and scored on a symbol-letter task by the code of the large one."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lsa_jax import checks
from lsa_jax.lm import batches, export, records, scoring, snapshot, symbols, tiny
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.finetune import train
from lsa_jax.lm.lora import Adapter, with_adapter
from lsa_jax.lm.records import ModelLabel, Recipe
from lsa_jax.lm.settings import FinetuneSettings


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

    def finetuning(self) -> FinetuneSettings:
        """Return how every model is fine-tuned, on whatever."""
        sizes: dict[str, Any] = {name: getattr(self, name) for name in ("epochs", "steps", "batch_size", "learning_rate", "rank", "alpha")}
        return FinetuneSettings(**sizes, shots=symbols.SHOTS, checkpoint_every=self.steps, max_length=symbols.LONGEST)

    def steps_of(self, name: str) -> int:
        """Return the number of steps of a run."""
        return self.pretraining_steps if name.startswith(PRETRAINED) else self.epochs * self.steps


PRETRAINED = "pretrained"
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"seeds": 1, "pretraining_steps": 40, "epochs": 2, "steps": 5, "questions": 32},
    "default": {},
}
"""What a preset changes; `quick` shows that everything runs, and nothing else."""

SHAPE: dict[str, Any] = {"width": 32, "mlp_width": 64, "num_heads": 2, "num_kv_heads": 2, "rope_theta": 100.0, "embedding_std": 0.3}
"""Of the models; the smallest that was tried, and it learns to look things up in a thousand steps."""

SCORED_AT_ONCE = 128
STEPS_AT_ONCE = 100
"""Steps of pretraining in one program; of fine-tuning it is an epoch."""

Report = Callable[[str, int, float], None]
"""What is told of every finished program: the run's name, its last step and the loss of that."""


def run(settings: DemoSettings, out: Path, report: Report, stop: Callable[[], bool]) -> pd.DataFrame:
    """Pretrain a model for every seed, fine-tune it on every target set and loss, and score it after every epoch.

    Args:
        settings: sizes.
        out: folder for pretrained models and records; what is finished there is used again.
        report: told of every program.
        stop: asked before every program whether to stop.

    Returns:
        Records, see `lsa_jax.lm.records`. Without shots all symbols are asked, so that there is no error over questions.

    Raises:
        KeyboardInterrupt: if it was stopped; what is finished is on disk.
    """
    checks.as_count("seeds", settings.seeds)
    checks.as_count("first_seed", settings.first_seed, minimum=0)
    for loss in settings.losses:
        batches.probabilities(loss)
    parts = []
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        source = _pretrained(settings, seed, out, report, stop)
        parts.append(_records(settings, ModelLabel(seed=seed), source, out, lambda *_: None, stop))
        recipe = dataclasses.replace(Recipe.of(settings.finetuning(), symbols.SYMBOLS), training_dtype="")
        for loss in settings.losses:
            for targets in settings.targets:
                label = ModelLabel(f"{targets}-{loss}-{seed}", targets, loss, settings.epochs * settings.steps, seed, recipe=recipe)
                parts.append(_records(settings, label, source, out, report, stop))
    return records.join(parts)


def _pretrained(settings: DemoSettings, seed: int, out: Path, report: Report, stop: Callable[[], bool]) -> Path:
    """Folder of the snapshot of a pretrained model; trained from random weights if it is not there."""
    name, place = f"{PRETRAINED}-{seed}", symbols.world(seed)
    folder = out / name / "snapshot"
    if (folder / snapshot.WEIGHTS).exists():
        return folder
    start = tiny.write_snapshot(out / name / "random", seed, vocab_size=symbols.VOCABULARY, **SHAPE)
    size: dict[str, Any] = {"epochs": 1, "steps": settings.pretraining_steps, "batch_size": settings.pretraining_batch}
    training = FinetuneSettings(**size, learning_rate=settings.pretraining_rate, checkpoint_every=STEPS_AT_ONCE, max_length=symbols.LONGEST)
    model = snapshot.load(start).model
    texts = symbols.pretraining(place, settings.pretraining_steps, settings.pretraining_batch)
    for _ in train(model, texts, training, report=partial(report, name), stop=stop):
        pass
    return export.export(start, folder, export.merged(model))


def _records(settings: DemoSettings, label: ModelLabel, source: Path, out: Path, report: Report, stop: Callable[[], bool]) -> pd.DataFrame:
    """Records of a pretrained model, or of a fine-tuned one after every epoch."""

    def compute() -> pd.DataFrame:
        model = snapshot.load(source).model
        if label.is_base:
            return _scores(settings, label, model)
        model = with_adapter(model, Adapter(label.targets, settings.rank, settings.alpha), label.seed)
        size = {"epochs": settings.epochs, "steps": settings.steps, "batch_size": settings.batch_size}
        steps = symbols.finetuning(symbols.world(label.seed), label.loss, **size, seed=label.seed)
        made = train(model, steps, settings.finetuning(), report=partial(report, label.run), stop=stop)
        return records.join([_scores(settings, dataclasses.replace(label, step=step), model) for step in made])

    return records.save_part(out / "records", {**dataclasses.asdict(settings), **label.columns()}, compute)


def _scores(settings: DemoSettings, label: ModelLabel, model: Decoder) -> pd.DataFrame:
    """Records of one model: zero-shot on what it was taught, few-shot on fresh mappings."""
    place = symbols.world(label.seed)
    asked = {0: symbols.zero_shot_questions(place), symbols.SHOTS: symbols.few_shot_questions(place, settings.questions, seed=0)}
    tables = []
    for shots, questions in asked.items():
        found = scoring.choice_log_likelihoods(model, questions.prompts, symbols.CHOICES, SCORED_AT_ONCE)
        answers = np.array(questions.answers).tolist()
        tables.append(records.score_records(label, questions.table, found, answers, shots=shots, format=symbols.FORMAT))
    return records.join(tables)
