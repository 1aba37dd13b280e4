"""A fine-tuning run on MMLU: local files in, checkpoints and metrics out."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, metrics, mmlu, schedule, snapshot, splits, tokenizer, training_examples
from lsa_jax.lm.config import read_config
from lsa_jax.lm.examples import Example
from lsa_jax.lm.finetune import Training, finetune
from lsa_jax.lm.lora import Adapter, with_adapter
from lsa_jax.lm.settings import DataSettings, FinetuneSettings
from lsa_jax.lm.tokenizer import Tokenizer

FILES = (store.MANIFEST, metrics.FILE, store.PARTIAL, f"{checkpoints.FOLDER}/**/*")
"""What a run writes in its folder."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a run reads: tokenizer, questions, and reasoning by identifier of the question."""

    tokenizer: Tokenizer
    splits: splits.Splits
    reasoning: Mapping[str, str]

    def steps(self, settings: FinetuneSettings, data_seed: int) -> Iterator[list[Example]]:
        """Return the examples of every training step, see `lsa_jax.lm.training_examples.batches`."""
        chances, questions = schedule.probabilities(settings.loss), self.splits.training
        size = {"epochs": settings.epochs, "steps": settings.steps, "batch_size": settings.batch_size, "shots": settings.shots}
        draws = schedule.draws(chances, len(questions), **size, seed=data_seed)
        shots = settings.shots if min(chances) < 1 else 0
        return training_examples.batches(self.tokenizer, questions, self.reasoning, draws, shots)


def read(model: Path, data: Path, settings: DataSettings) -> Material:
    """Read and check everything but the weights.

    Args:
        model: the snapshot.
        data: MMLU.
        settings: which questions.

    Returns:
        The material.

    Raises:
        InputError: if something is missing or does not fit.
    """
    config = read_config(model)
    snapshot.check_weights(model, config)
    numbers = tokenizer.load(model, config.vocab_size)
    questions = mmlu.load(data)
    reasoning = training_examples.load_reasoning(settings.reasoning, questions) if settings.reasoning else {}
    chosen = splits.split(
        questions,
        settings.data_seed,
        num_training=settings.num_training,
        num_evaluation=settings.num_evaluation,
        category_map=settings.category_map,
        trainable=reasoning or None,
    )
    return Material(numbers, chosen, reasoning)


def train(
    model: Path,
    material: Material,
    settings: FinetuneSettings,
    data: DataSettings,
    out: Path,
    report: metrics.Report,
    stop: Callable[[], bool],
) -> int:
    """Fine-tune a model, or go on with the same run in the folder.

    Args:
        model: the snapshot.
        material: what `read` returned.
        settings: how.
        data: which questions.
        out: folder of the run.
        report: told of every step.
        stop: asked before every step whether to stop.

    Returns:
        The number of steps made so far.

    Raises:
        InputError: if the settings cannot be used, or the folder holds another run.
    """
    training, adapter = training_of(settings), adapter_of(settings)
    config = read_config(model)
    adapter.projections(config)
    steps = material.steps(settings, data.data_seed)
    store.claim_folder(out, _manifest(model, settings, data), files=FILES)
    if checkpoints.last(out) >= training.steps:
        return training.steps
    loaded = snapshot.load(model, dtype=settings.dtype, remat=settings.remat).model
    adapted = with_adapter(loaded, adapter, settings.seed)
    return finetune(adapted, steps, training, out, report=report, stop=stop)


def adapter_of(settings: FinetuneSettings) -> Adapter:
    """Return what is trained.

    Args:
        settings: of the run.

    Returns:
        The adapter.
    """
    return Adapter(settings.targets, settings.rank, settings.alpha)


def training_of(settings: FinetuneSettings) -> Training:
    """Return how the parameters move, after checking that updates split evenly.

    Args:
        settings: of the run.

    Returns:
        The part of them that the trainer needs.

    Raises:
        InputError: if a number cannot be used.
    """
    for name in ("epochs", "steps", "batch_size"):
        checks.as_count(name, getattr(settings, name))
    checks.as_count("shots", settings.shots, minimum=0)
    if settings.batch_size % settings.accumulation:
        raise InputError(f"batch_size {settings.batch_size} is no multiple of accumulation {settings.accumulation}; choose one that is")
    return Training(
        settings.total_steps,
        settings.learning_rate,
        settings.accumulation,
        checkpoint_every=settings.checkpoint_every,
        max_length=settings.max_length,
    )


def _manifest(model: Path, settings: FinetuneSettings, data: DataSettings) -> dict[str, Any]:
    """What determines a run's numbers."""
    told = dataclasses.asdict(data)
    reasoning = None if data.reasoning is None else str(data.reasoning)
    return {"model": model.name, "finetune": dataclasses.asdict(settings), "data": {**told, "reasoning": reasoning}}
