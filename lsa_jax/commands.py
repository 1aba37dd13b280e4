"""What `lsa-jax sweep`, `status`, `export` and `plot` print, and the exit codes they end with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsa_jax import checks, exit_codes, store
from lsa_jax.consoles import wide_console
from lsa_jax.errors import InputError
from lsa_jax.knobs import whole
from lsa_jax.sweeps import cluster, extension, histories, merging, processes, results, run, spec, state, watching
from lsa_jax.sweeps.folder import MANIFEST, Folder
from lsa_jax.sweeps.keys import ENTERS, spec_keys

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KEYS_WIDTH = 150
"""Columns of the table of keys where it is not printed to a terminal."""


def sweep(
    source: Path,
    out: Path,
    *,
    overrides: Sequence[str],
    resume: bool,
    extend: bool,
    seed_batch: str,
    shard: str | None,
    scheduler: str | None,
    save_params: bool,
    device: str,
    trained: Path | None = None,
) -> int:
    """Run a sweep with progress on standard error.

    Args:
        source: the spec.
        out: folder of the results.
        overrides: `name=value` settings that come after the spec.
        resume: resume the same sweep in the folder; else refuse a folder that holds one.
        extend: let the sweep in the folder grow by what of the spec it does not hold.
        seed_batch: `auto`, or how many lineages to train at once.
        shard: I/N, the part to work on.
        scheduler: address of a Dask scheduler, whose workers compute; None for this process.
        save_params: keep trained parameters.
        device: platform to run on.
        trained: folder of a sweep that has kept the trained models; None to train them.

    Returns:
        The exit code.

    Raises:
        ValueError: if the sweep cannot be run, or the folder holds something else.
    """
    processes.spread_over_cores()
    read = spec.read(source, overrides)
    size = None if seed_batch == "auto" else int(whole(1)("seed_batch", checks.as_number("seed_batch", seed_batch)))
    share = processes.read_share(shard)
    if not resume and (out / MANIFEST).exists():
        raise InputError(f"{out} holds a sweep already: choose another --out, or leave out --no-resume to go on with it")
    errors = Console(stderr=True)
    if extend:
        for line in extension.changes(extension.effective(Folder(out.expanduser()), read, extend=True)):
            errors.print(f"{watching.rank(share)}{line}", highlight=False, soft_wrap=True, markup=False)
    with cluster.executor(scheduler) as executor, watching.stop_signals() as stop, watching.reporting(errors, share) as report:
        progress = run.run_sweep(
            read,
            out,
            executor=executor,
            seed_batch=size,
            share=share,
            save_params=save_params,
            device=device,
            extend=extend,
            trained=trained,
            report=report,
            stop=stop,
        )
    again = f"run the same command again to resume; finished work is in {out}"
    errors.print(f"{watching.rank(share)}{watching.summary(progress)}", highlight=False, soft_wrap=True)
    if progress.interrupted:
        errors.print(f"{watching.rank(share)}interrupted: {again}", highlight=False, soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    if progress.above_minimum and progress.above_minimum + progress.diverged >= progress.done:
        errors.print(
            f"{watching.rank(share)}no model started from the pretraining minimum: take more steps, or other starts", highlight=False
        )
        return exit_codes.SOME_RUNS_FAILED
    if progress.failed:
        errors.print(f"{watching.rank(share)}some chunks failed, see {out / 'failed'}: {again}", highlight=False, soft_wrap=True)
    return exit_codes.SOME_RUNS_FAILED if progress.failed or progress.diverged else exit_codes.DONE


def keys(source: Path | None) -> int:
    """Print every key that a spec may have: meaning, default and range.

    Args:
        source: a spec, whose own regimes may have keys too; None for the built-in ones.

    Returns:
        The exit code.
    """
    known = spec_keys(spec.read(source).family if source else None)
    console = wide_console(KEYS_WIDTH, highlight=False)
    for kind, words in ENTERS.items():
        table = Table(title=words, title_justify="left")
        for heading in ("key", "meaning", "default", "a value is"):
            table.add_column(heading, overflow="fold")
        for key in known:
            if key.kind == kind:
                table.add_row(*map(escape, (key.name, key.plain, key.default, key.values)))
        console.print(table)
    return exit_codes.DONE


def merge(folders: Sequence[Path], out: Path) -> int:
    """Copy what several sweeps hold into one folder.

    Args:
        folders: their folders.
        out: the folder to make.

    Returns:
        The exit code.
    """
    there, total = merging.merge_sweeps(folders, out)
    Console(soft_wrap=True, highlight=False, markup=False).print(f"{out} holds {there} of {total} cells")
    return exit_codes.DONE if there == total else exit_codes.INTERRUPTED_RESUMABLE


def status(out: Path, *, watch: bool = False) -> int:
    """Print how far a sweep has come.

    Args:
        out: folder of the sweep.
        watch: print it again every few seconds until the sweep is complete or the user interrupts.

    Returns:
        The exit code: 0 if it is complete, 75 if there is more to do, 3 if some chunks failed or models diverged.
    """
    folder, console = Folder(out), Console(soft_wrap=True, highlight=False, markup=False)
    if watch:
        return state.watch(console, lambda: state.of(folder)).exit_code
    found = state.of(folder)
    console.print("\n".join(found.lines))
    return found.exit_code


def export(out: Path, file_format: str, to: Path | None) -> int:
    """Write the records of a sweep to one file.

    Args:
        out: folder of the sweep.
        file_format: `csv`, `parquet` or `netcdf`.
        to: the file; by default `records` in the folder.

    Returns:
        The exit code.
    """
    Console(soft_wrap=True, highlight=False, markup=False).print(f"written: {results.export(out, file_format, to)}")
    return exit_codes.DONE


def plot(out: Path, against: str | None, to: Path | None, quantiles: tuple[float, float] | None = None) -> int:
    """Draw the figures of a sweep, and write the numbers behind them.

    Args:
        out: folder of the sweep.
        against: the axis to draw against, `zero_shot` for fronts, `step` for training losses; by default every one that makes a figure.
        to: folder of the figures; by default `figures` in that of the sweep.
        quantiles: two levels; then medians with these quantiles over seeds, instead of means with Student's 95 % intervals.

    Returns:
        The exit code.
    """
    from lsa_jax import plotting

    folder = (to or out / "figures").expanduser()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if against == plotting.STEP:
        numbers = plotting.history_numbers(histories.load_histories(out), quantiles)
        return _save_figure(console, folder / "loss_against_step", plotting.plot_history(numbers), numbers)
    frame = results.load(out).frame
    for axis in [against] if against else plotting.drawable(frame):
        numbers, figure = plotting.draw(frame, axis, quantiles)
        if numbers["num_left_out"].any() and not numbers["num_seeds"].any():
            console.print(f"{axis}: every model diverged or missed the pretraining minimum, so that theory alone is drawn")
        rows = plotting.facets(numbers, axis)
        if len(rows.drawn) < rows.total:
            console.print(f"{len(rows.drawn)} of {rows.total} combinations of {', '.join(rows.axes)} drawn; the numbers hold all")
        _save_figure(console, folder / f"error_against_{axis}", figure, numbers)
    return exit_codes.DONE


def _save_figure(console: Console, path: Path, figure: "Figure", numbers: "pd.DataFrame") -> int:
    """Write a figure and the numbers behind it, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store.save_figure(path, figure)
    store.save_table(path, numbers)
    console.print(f"written: {path}.pdf, .png and the numbers as .csv and .parquet")
    return exit_codes.DONE


def report(out: Path, to: Path | None) -> int:
    """Write one page about a sweep.

    Args:
        out: folder of the sweep.
        to: the file; by default `report.html` in the folder.

    Returns:
        The exit code.
    """
    from lsa_jax import report

    path = (to or out / "report.html").expanduser()
    report.save(out, path)
    Console(soft_wrap=True, highlight=False, markup=False).print(f"written: {path}")
    return exit_codes.DONE
