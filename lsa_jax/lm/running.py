"""What the commands `lsa-jax lm finetune`, `evaluate`, `figure` and `export` print, and the exit codes they end with."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lsa_jax import exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.lm import experiment, records, splits, trained_runs
from lsa_jax.lm.accuracy import accuracy, changes
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.config import read_config
from lsa_jax.lm.evaluate import Protocol
from lsa_jax.lm.evaluate import evaluate as evaluated
from lsa_jax.lm.plan import plan
from lsa_jax.lm.progress import reporting
from lsa_jax.lm.settings import DataSettings, FinetuneSettings
from lsa_jax.lm.table import accuracy_table
from lsa_jax.plotting.language_model import plot_zero_against_few
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
    training, material = experiment.training_of(settings), experiment.read(model, data, questions)
    examples = [one for step in material.steps(settings, questions.data_seed) for one in step]
    longest = max(len(one.prompt) + len(one.response) for one in examples)
    config = read_config(model, dtype=settings.dtype, remat=settings.remat)
    needed = plan(
        config,
        experiment.adapter_of(settings),
        batch_size=settings.batch_size // settings.accumulation,
        length=padded_length(longest),
        answers=padded_length(max(len(one.response) for one in examples), least=1),
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
    errors, total = Console(stderr=True), experiment.training_of(settings).steps
    material = experiment.read(model, data, questions)
    with stop_signals() as stop, reporting(errors, quiet=quiet) as tell:
        done = experiment.train(model, material, settings, questions, out, lambda step, loss: tell(f"loss {loss:.4f}", step, total), stop)
    if done < total:
        errors.print(f"interrupted at step {done} of {total}, kept in {out}: run the same command to go on", soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    _console().print(f"{done} steps, checkpoints and metrics: {out}")
    return exit_codes.DONE


def evaluate(
    runs: Sequence[Path], model: Path, data: Path, out: Path, questions: DataSettings, protocol: Protocol, dtype: str, *, quiet: bool
) -> int:
    """Evaluate the base model and all checkpoints with progress on standard error.

    Args:
        runs: folders of runs.
        model: the snapshot.
        data: MMLU.
        out: folder of the records.
        questions: which questions.
        protocol: how.
        dtype: of the computation.
        quiet: show no progress.

    Returns:
        The exit code.

    Raises:
        InputError: if a run was trained on other questions than these.
    """
    for run in runs:
        trained = trained_runs.run_settings(run)[1]
        if trained != questions:
            raise InputError(
                f"{run} was trained on the questions of {trained}, asked for is {questions}: give the same settings of the data"
            )
    errors, material = Console(stderr=True), experiment.read(model, data, questions)
    pool = splits.by_subject(material.splits.rest)
    models = trained_runs.candidates(model, runs, dtype)
    try:
        with reporting(errors, quiet=quiet) as tell:
            evaluated(models, material.tokenizer, material.splits, pool, protocol, out, lambda done, total: tell("parts", done, total))
    except KeyboardInterrupt:
        errors.print(f"interrupted, what is finished is in {out}: run the same command to go on", soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    _console().print(f"records: {out}")
    return exit_codes.DONE


def figure(folder: Path, out: Path, shots: int, categories: Sequence[str]) -> int:
    """Draw the figure of stored records.

    Args:
        folder: of the records.
        out: figure and numbers, without a suffix.
        shots: on the vertical axis.
        categories: a panel each.

    Returns:
        The exit code.

    Raises:
        InputError: if there are no records of a category.
    """
    found = records.load_records(folder)
    missing = set(categories) - set(found["category"])
    if missing:
        raise InputError(f"{folder} has no records of {sorted(missing)[0]!r}; it has {', '.join(sorted(set(found['category'])))}")
    chosen = found[found["category"].isin(categories)]
    numbers, differences = accuracy(chosen), changes(chosen)
    store.save_figure(out, plot_zero_against_few(numbers, shots))
    store.save_table(out, numbers)
    store.save_table(out.with_name(f"{out.name}_changes"), differences)
    console = _console()
    console.print(accuracy_table(numbers, shots))
    console.print(accuracy_table(differences, shots))
    console.print(f"written: {out}.pdf, .png and the numbers as .csv and .parquet; {out}_changes the same for the changes")
    return exit_codes.DONE


def export(run: Path, model: Path, out: Path, step: int | None, dtype: str) -> int:
    """Write a checkpoint as a snapshot.

    Args:
        run: folder of the run.
        model: the snapshot it began with.
        out: folder of the new one.
        step: which checkpoint.
        dtype: what the weights are stored in.

    Returns:
        The exit code.
    """
    _console().print(f"written: {trained_runs.export_run(model, run, step, out, dtype)}")
    return exit_codes.DONE


def _console() -> Console:
    """Standard output, without folding or colouring numbers."""
    return Console(soft_wrap=True, highlight=False)
