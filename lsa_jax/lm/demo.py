"""A small version of the experiment: tiny models pretrained, fine-tuned and scored on a symbol-letter task by the code of the large one."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tunix.models.qwen2.model import Qwen2

from lsa_jax import checks
from lsa_jax.lm import export, records, schedule, scoring, snapshot, symbols, tiny
from lsa_jax.lm.demo_settings import DemoSettings
from lsa_jax.lm.demo_training import train
from lsa_jax.lm.finetune import Training
from lsa_jax.lm.lora import Adapter, with_adapter
from lsa_jax.lm.records import ModelLabel, Recipe

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
        schedule.probabilities(loss)
    parts = []
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        source = _pretrained(settings, seed, out, report, stop)
        parts.append(_records(settings, ModelLabel(seed=seed), source, out, lambda *_: None, stop))
        for loss in settings.losses:
            for targets in settings.targets:
                label = ModelLabel(
                    f"{targets}-{loss}-{seed}", targets, loss, settings.epochs * settings.steps, seed, recipe=_recipe(settings)
                )
                parts.append(_records(settings, label, source, out, report, stop))
    return records.join(parts)


def _recipe(settings: DemoSettings) -> Recipe:
    """What records say of fine-tuning."""
    size: dict[str, Any] = {"batch_size": settings.batch_size, "epochs": settings.epochs, "epoch_steps": settings.steps}
    return Recipe(settings.rank, settings.alpha, settings.learning_rate, symbols.SHOTS, **size, num_training=symbols.SYMBOLS)


def _pretrained(settings: DemoSettings, seed: int, out: Path, report: Report, stop: Callable[[], bool]) -> Path:
    """Folder of the snapshot of a pretrained model; trained from random weights if it is not there."""
    name, place = f"pretrained-{seed}", symbols.world(seed)
    folder = out / name / "snapshot"
    if (folder / snapshot.WEIGHTS).exists():
        return folder
    start = tiny.write_snapshot(out / name / "random", seed, vocab_size=symbols.VOCABULARY, **SHAPE)
    training = Training(settings.pretraining_steps, settings.pretraining_rate, checkpoint_every=STEPS_AT_ONCE, max_length=symbols.LONGEST)
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
        training = Training(label.step, settings.learning_rate, checkpoint_every=settings.steps, max_length=symbols.LONGEST)
        size = {"epochs": settings.epochs, "steps": settings.steps, "batch_size": settings.batch_size}
        steps = symbols.finetuning(symbols.world(label.seed), label.loss, **size, seed=label.seed)
        made = train(model, steps, training, report=partial(report, label.run), stop=stop)
        return records.join([_scores(settings, dataclasses.replace(label, step=step), model) for step in made])

    return records.save_part(out / "records", {**dataclasses.asdict(settings), **label.columns()}, compute)


def _scores(settings: DemoSettings, label: ModelLabel, model: Qwen2) -> pd.DataFrame:
    """Records of one model: zero-shot on what it was taught, few-shot on fresh mappings."""
    place = symbols.world(label.seed)
    asked = {0: symbols.zero_shot_questions(place), symbols.SHOTS: symbols.few_shot_questions(place, settings.questions, seed=0)}
    tables = []
    for shots, questions in asked.items():
        found = scoring.choice_log_likelihoods(model, questions.prompts, symbols.CHOICES, SCORED_AT_ONCE)
        answers = np.array(questions.answers).tolist()
        tables.append(records.score_records(label, questions.table, found, answers, shots=shots, format=symbols.FORMAT))
    return records.join(tables)
