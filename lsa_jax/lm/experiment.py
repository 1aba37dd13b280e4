"""Fine-tuning, evaluation and export of MMLU runs: local files in, checkpoints, records and snapshots out."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunix.models.qwen2.model import Qwen2

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, evaluate, export, metrics, mmlu, schedule, snapshot, splits, tokenizer, training_examples
from lsa_jax.lm.config import read_config
from lsa_jax.lm.examples import Example
from lsa_jax.lm.finetune import Training, finetune
from lsa_jax.lm.lora import Adapter, with_adapter
from lsa_jax.lm.records import ModelLabel
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
    training, adapter = training_of(settings), Adapter(settings.targets, settings.rank, settings.alpha)
    config = read_config(model)
    adapter.projections(config)
    steps = material.steps(settings, data.data_seed)
    store.claim_folder(out, _manifest(model, settings, data), files=FILES)
    if max(checkpoints.steps(out), default=0) >= training.steps:
        return training.steps
    loaded = snapshot.load(model, dtype=settings.dtype, remat=settings.remat).model
    adapted = with_adapter(loaded, adapter, settings.seed)
    return finetune(adapted, steps, training, out, report=report, stop=stop)


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


def candidates(model: Path, runs: Sequence[Path], dtype: str) -> list[evaluate.Candidate]:
    """Return the base model and every planned checkpoint of the runs.

    Args:
        model: the snapshot.
        runs: folders of runs.
        dtype: of the computation.

    Returns:
        What to evaluate, loaded only when it is needed.

    Raises:
        InputError: if a folder holds no run, one without checkpoints, or two have the same name.
    """
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are called {name}; name the folders of runs that are evaluated together differently")
    print_of = _fingerprint(model)
    found = [evaluate.Candidate(ModelLabel(), print_of, lambda: snapshot.load(model, dtype=dtype).model)]
    for run in runs:
        settings, data = run_settings(run)
        adapted = functools.cache(functools.partial(_adapted, model, settings, dtype))
        steps = checkpoints.planned(run, settings.total_steps, settings.checkpoint_every)
        if not steps:
            raise InputError(f"{run} has no checkpoints yet; finish lsa-jax lm finetune first")
        for step in steps:
            label = ModelLabel(run.name, settings.targets, settings.loss, step, settings.seed, data.data_seed)
            text = f"{print_of} {dataclasses.asdict(settings)} {step}"
            load = functools.partial(_restored, adapted, run, step)
            found.append(evaluate.Candidate(label, hashlib.sha256(text.encode()).hexdigest()[:20], load))
    return found


def export_run(model: Path, run: Path, step: int | None, out: Path, dtype: str) -> Path:
    """Write a checkpoint of a run as a snapshot.

    Args:
        model: the snapshot it began with.
        run: folder of the run.
        step: which checkpoint; the last one by default.
        out: folder of the new snapshot.
        dtype: what its weights are stored in.

    Returns:
        The folder.

    Raises:
        InputError: if there is no such run or checkpoint.
    """
    settings, _ = run_settings(run)
    chosen = max(checkpoints.steps(run), default=0) if step is None else step
    adapted = _restored(functools.partial(_adapted, model, settings, "float32"), run, chosen)
    return export.export(model, out, export.merged(adapted, Adapter(settings.targets, settings.rank, settings.alpha)), dtype)


def run_settings(run: Path) -> tuple[FinetuneSettings, DataSettings]:
    """Read the settings of a run.

    Args:
        run: its folder.

    Returns:
        How it was fine-tuned, and on which questions.

    Raises:
        InputError: if the folder holds no run.
    """
    try:
        recorded = store.load_json(run / store.MANIFEST)["settings"]
        return FinetuneSettings(**recorded["finetune"]), DataSettings(**recorded["data"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{run} holds no run; pass a folder that lsa-jax lm finetune wrote") from None


def _manifest(model: Path, settings: FinetuneSettings, data: DataSettings) -> dict[str, Any]:
    """What determines a run's numbers."""
    told = dataclasses.asdict(data)
    reasoning = None if data.reasoning is None else str(data.reasoning)
    return {"model": model.name, "finetune": dataclasses.asdict(settings), "data": {**told, "reasoning": reasoning}}


def _adapted(model: Path, settings: FinetuneSettings, dtype: str) -> Qwen2:
    """A base model with the adapters of a run, not trained."""
    adapter = Adapter(settings.targets, settings.rank, settings.alpha)
    return with_adapter(snapshot.load(model, dtype=dtype).model, adapter, settings.seed)


def _restored(adapted: Callable[[], Qwen2], run: Path, step: int) -> Qwen2:
    """The model with the adapters of a checkpoint; the same module every time."""
    model = adapted()
    checkpoints.restore(run, step, model)
    return model


def _fingerprint(model: Path) -> str:
    """A digest of the weights of a snapshot."""
    digest = hashlib.sha256()
    for path in snapshot.weight_files(model):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]
