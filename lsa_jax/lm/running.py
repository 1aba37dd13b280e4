"""What the commands `lsa-jax lm finetune`, `evaluate`, `export` and `demo` tell, and the exit codes they end with.

Their arguments are those of `lsa_jax.lm.command`, where each is described.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lsa_jax import exit_codes, store
from lsa_jax.lm import checkpoints, devices, experiment, figures, splits, trained_runs
from lsa_jax.lm import demo as small
from lsa_jax.lm.evaluate import evaluate as evaluated
from lsa_jax.lm.forward import DivergedError
from lsa_jax.lm.settings import DataSettings, FinetuneSettings, Protocol
from lsa_jax.sweeps.watching import duration, stop_signals

LINE_SECONDS = 10.0
"""Time between two lines of progress where the output is no terminal."""
DEMO_FILES = (store.MANIFEST, store.PARTIAL, "figure*", "*/**/*")


def finetune(
    model: Path, data: Path, out: Path, settings: FinetuneSettings, questions: DataSettings, mesh: str = "", *, quiet: bool
) -> int:
    """Fine-tune with progress on standard error, and return the exit code."""
    over, total, material = devices.mesh_of(mesh), settings.total_steps, experiment.read(model, data, questions)
    try:
        with stop_signals() as stop, reporting(quiet=quiet) as tell:
            done = experiment.train(
                model, material, settings, questions, out, lambda step, loss: tell(f"loss {loss:.4f}", step, total), stop, over
            )
    except DivergedError as error:
        return _failed([str(error)])
    if done < total:
        console(stderr=True).print(f"interrupted at step {done} of {total}, kept in {out}: run the same command to resume")
        return exit_codes.INTERRUPTED_RESUMABLE
    losses = [line["loss"] for line in checkpoints.read_metrics(out / checkpoints.METRICS)]
    told = f", loss {losses[0]:.4g} at the first and {losses[-1]:.4g} at the last" if losses else ""
    console().print(f"{done} steps{told}; checkpoints and metrics: {out}")
    return exit_codes.DONE


def evaluate(
    folders: Sequence[Path],
    model: Path,
    data: Path,
    out: Path,
    questions: DataSettings | None,
    protocol: Protocol,
    which: str,
    peft: Sequence[Path],
    categories: Sequence[str],
    *,
    quiet: bool,
) -> int:
    """Evaluate the base model and checkpoints with progress on standard error, and return the exit code."""
    runs = [trained_runs.read_run(folder) for folder in folders]
    asked = questions or DataSettings()
    material = trained_runs.material_of(runs, model, data, questions) if runs else experiment.read(model, data, asked)
    data_seed = runs[0].data.data_seed if runs else asked.data_seed
    store.writable_folder(out)
    models = trained_runs.candidates(model, runs, peft, protocol.dtype, which, data_seed)
    pool, chosen = splits.by_subject(material.splits.rest), material.splits.only(categories)
    try:
        with reporting(quiet=quiet) as tell:
            _, diverged = evaluated(models, material.tokenizer, chosen, pool, protocol, out, lambda done, total: tell("parts", done, total))
    except KeyboardInterrupt:
        return _interrupted(out)
    console().print(f"records: {out}")
    return _failed(diverged) if diverged else exit_codes.DONE


def export(run: Path, model: Path, out: Path, step: int | None, dtype: str | None, *, peft: bool) -> int:
    """Write a checkpoint as a snapshot, or its adapters in PEFT's format, and return the exit code."""
    try:
        console().print(f"written: {trained_runs.export_run(model, run, step, out, dtype, peft=peft)}")
    except DivergedError as error:
        return _failed([str(error)])
    return exit_codes.DONE


def demo(preset: str, first_seed: int, out: Path, *, quiet: bool) -> int:
    """Run the small experiment with progress on standard error, draw its figure, print its table, and return the exit code."""
    settings, begun = small.DemoSettings(first_seed=first_seed, **small.PRESETS[preset]), time.monotonic()
    store.claim_folder(out, {name: str(value) for name, value in dataclasses.asdict(settings).items()}, files=DEMO_FILES)
    jax.config.update("jax_compilation_cache_dir", str((out / "compiled").absolute()))
    try:
        with stop_signals() as stop, reporting(quiet=quiet) as tell:
            small.run(settings, out, lambda name, step, loss: tell(f"{name}, loss {loss:.3f}", step, settings.steps_of(name)), stop)
    except KeyboardInterrupt:
        return _interrupted(out)
    except DivergedError as error:
        return _failed([str(error)])
    figures.figure(out / "records", out / "figure")
    console().print(f"{settings.seeds} seeds, {duration(time.monotonic() - begun)}; figure and numbers: {out}")
    return exit_codes.DONE


@contextlib.contextmanager
def reporting(*, quiet: bool) -> Generator[Callable[[str, int, int], None]]:
    """Yield what is told a few words, how much is done, and of how much: a bar on a terminal, else a line now and then."""
    errors, last = console(stderr=True), [-LINE_SECONDS]

    def line(words: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= LINE_SECONDS:
            last[0] = now
            errors.print(f"{done} of {total}: {words}")

    if quiet or not errors.is_terminal:
        yield (lambda *_: None) if quiet else line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("compiling", total=None)
        yield lambda words, done, total: bar.update(task, description=words, completed=done, total=total)


def console(*, stderr: bool = False) -> Console:
    """An output without folding or colouring numbers."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)


def _interrupted(out: Path) -> int:
    """Say that finished parts are kept, and return the exit code that tells it."""
    console(stderr=True).print(f"interrupted; what is finished is in {out}: run the same command to resume")
    return exit_codes.INTERRUPTED_RESUMABLE


def _failed(lines: Sequence[str]) -> int:
    """Say what diverged, a line each, and return the exit code that tells it."""
    for line in lines:
        console(stderr=True).print(f"lsa-jax: {line}")
    return exit_codes.SOME_RUNS_FAILED
