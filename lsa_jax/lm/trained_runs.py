"""Runs on disk: their settings, the models of their checkpoints, and snapshots made of them."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tunix.models.qwen2.model import Qwen2

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, evaluate, experiment, export, snapshot
from lsa_jax.lm.lora import with_adapter
from lsa_jax.lm.records import ModelLabel
from lsa_jax.lm.settings import DataSettings, FinetuneSettings


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
    chosen = checkpoints.last(run) if step is None else step
    adapted = _restored(functools.partial(_adapted, model, settings, "float32"), run, chosen)
    return export.export(model, out, export.merged(adapted, experiment.adapter_of(settings)), dtype)


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


def _adapted(model: Path, settings: FinetuneSettings, dtype: str) -> Qwen2:
    """A base model with the adapters of a run, not trained."""
    adapter = experiment.adapter_of(settings)
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
