"""What the commands `lsa-jax lm finetune`, `evaluate` and `export` print, and the exit codes they end with."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lsa_jax import checks, exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.lm import experiment, metrics, splits, trained_runs
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.categories import CATEGORIES
from lsa_jax.lm.config import read_config
from lsa_jax.lm.divergence import DivergedError
from lsa_jax.lm.evaluate import evaluate as evaluated
from lsa_jax.lm.plan import plan
from lsa_jax.lm.progress import reporting
from lsa_jax.lm.settings import DataSettings, FinetuneSettings, Protocol
from lsa_jax.sweeps.watching import stop_signals


def dry_run(model: Path, data: Path, settings: FinetuneSettings, questions: DataSettings, memory_gb: float) -> int:
    """Print what a run needs, after building its examples.

    Args:
        model: the snapshot.
        data: MMLU.
        settings: of the run.
        questions: which questions.
        memory_gb: memory of the device.

    Returns:
        The exit code.

    Raises:
        InputError: if it would not fit, or something cannot be used.
    """
    checks.as_scale("memory_gb", memory_gb, minimum=0.0, zero_allowed=False)
    training, material = experiment.training_of(settings), experiment.read(model, data, questions)
    longest, answer = material.longest(settings, questions.data_seed)
    config = read_config(model, dtype=settings.dtype, remat=settings.remat)
    needed = plan(
        config,
        experiment.adapter_of(settings),
        batch_size=settings.batch_size // settings.accumulation,
        length=padded_length(longest),
        answers=padded_length(answer, least=1),
    )
    console = _console()
    console.print(f"trained parameters {needed.trained}")
    console.print(f"steps              {training.steps}, a checkpoint every {training.checkpoint_every}")
    console.print(f"longest example    {longest} tokens, padded to {padded_length(longest)}")
    for part in ("weights", "adapters", "activations", "logits", "total"):
        console.print(f"{part:<18} {getattr(needed, part) / 1e9:.2f} GB")
    if needed.total > memory_gb * 1e9:
        raise InputError(f"about {needed.total / 1e9:.0f} GB are needed, there are {memory_gb:g}: take --remat or a larger --accumulation")
    return exit_codes.DONE


def finetune(model: Path, data: Path, out: Path, settings: FinetuneSettings, questions: DataSettings, *, quiet: bool) -> int:
    """Fine-tune with progress on standard error.

    Args:
        model: the snapshot.
        data: MMLU.
        out: folder of the run.
        settings: how.
        questions: which questions.
        quiet: show no progress.

    Returns:
        The exit code.
    """
    total = experiment.training_of(settings).steps
    material = experiment.read(model, data, questions)
    try:
        with stop_signals() as stop, reporting(Console(stderr=True), quiet=quiet) as tell:
            done = experiment.train(
                model, material, settings, questions, out, lambda step, loss: tell(f"loss {loss:.4f}", step, total), stop
            )
    except DivergedError as error:
        return _failed([str(error)])
    if done < total:
        _console(stderr=True).print(f"interrupted at step {done} of {total}, kept in {out}: run the same command to resume")
        return exit_codes.INTERRUPTED_RESUMABLE
    losses = [line["loss"] for line in metrics.read(out / metrics.FILE)]
    told = f", loss {losses[0]:.4g} at the first and {losses[-1]:.4g} at the last" if losses else ""
    _console().print(f"{done} steps{told}; checkpoints and metrics: {out}")
    return exit_codes.DONE


def evaluate(
    folders: Sequence[Path],
    model: Path,
    data: Path,
    out: Path,
    questions: DataSettings | None,
    protocol: Protocol,
    which: str,
    peft: Sequence[Path] = (),
    categories: Sequence[str] = CATEGORIES,
    *,
    quiet: bool,
) -> int:
    """Evaluate the base model and checkpoints with progress on standard error.

    Args:
        folders: runs.
        model: the snapshot they began with.
        data: the data they were trained on.
        out: folder of the records.
        questions: which questions, where there are no runs to read it from.
        protocol: how.
        which: checkpoints, see `lsa_jax.lm.trained_runs.Run.steps`.
        peft: adapters in PEFT's format, evaluated too.
        categories: whose questions are asked.
        quiet: show no progress.

    Returns:
        The exit code.
    """
    runs = [trained_runs.read_run(folder) for folder in folders]
    asked = questions or DataSettings()
    material = trained_runs.material_of(runs, model, data, questions) if runs else experiment.read(model, data, asked)
    data_seed = runs[0].data.data_seed if runs else asked.data_seed
    store.writable_folder(out)
    models = trained_runs.candidates(model, runs, protocol.dtype, which, data_seed)
    models += trained_runs.peft_candidates(model, models[0], peft, protocol.dtype)
    pool, chosen = splits.by_subject(material.splits.rest), material.splits.only(categories)
    try:
        with reporting(Console(stderr=True), quiet=quiet) as tell:
            _, diverged = evaluated(models, material.tokenizer, chosen, pool, protocol, out, lambda done, total: tell("parts", done, total))
    except KeyboardInterrupt:
        _console(stderr=True).print(f"interrupted, what is finished is in {out}: run the same command to resume")
        return exit_codes.INTERRUPTED_RESUMABLE
    _console().print(f"records: {out}")
    return _failed(diverged) if diverged else exit_codes.DONE


def export(run: Path, model: Path, out: Path, step: int | None, dtype: str | None, *, peft: bool = False) -> int:
    """Write a checkpoint as a snapshot, or its adapters in PEFT's format.

    Args:
        run: folder of the run.
        model: the snapshot it began with.
        out: folder of the new one.
        step: which checkpoint.
        dtype: what is stored, see `lsa_jax.lm.trained_runs.export_run`.
        peft: write the adapters alone.

    Returns:
        The exit code.
    """
    try:
        _console().print(f"written: {trained_runs.export_run(model, run, step, out, dtype, peft=peft)}")
    except DivergedError as error:
        return _failed([str(error)])
    return exit_codes.DONE


def _failed(lines: Sequence[str]) -> int:
    """Say what diverged, a line each, and return the exit code that tells it."""
    for line in lines:
        _console(stderr=True).print(f"lsa-jax: {line}")
    return exit_codes.SOME_RUNS_FAILED


def _console(*, stderr: bool = False) -> Console:
    """An output without folding or colouring numbers."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)
