"""What `lsa-jax sweep`, `status`, `export` and `plot` print, and the exit codes they end with."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lsa_jax import checks, exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.sweeps import axes, estimate, plan, processes, program, records, results, run, spec
from lsa_jax.sweeps.folder import MANIFEST, Folder
from lsa_jax.sweeps.processes import Share

LOG_SECONDS = 10.0
"""Time between two lines of progress where the output is no terminal."""


def sweep(
    source: Path,
    out: Path,
    *,
    overrides: Sequence[str],
    resume: bool,
    seed_batch: str,
    shard: str | None,
    distributed: tuple[str | None, int | None, int | None],
    save_params: bool,
    device: str,
) -> int:
    """Run a sweep with progress on standard error.

    Args:
        source: the spec.
        out: folder of the results.
        overrides: `name=value` settings that come after the spec.
        resume: go on with the same sweep in the folder; else refuse a folder that holds one.
        seed_batch: `auto`, or how many lineages to train at once.
        shard: I/N, the part to work on.
        distributed: coordinator, number of processes and id of this process.
        save_params: keep trained parameters.
        device: platform to run on.

    Returns:
        The exit code.

    Raises:
        ValueError: if the sweep cannot be run, or the folder holds something else.
    """
    read = spec.read(source, overrides)
    size = None if seed_batch == "auto" else int(axes.as_whole(1)("seed_batch", checks.as_number("seed_batch", seed_batch)))
    part = processes.read_share(shard)
    if not resume and (out / MANIFEST).exists():
        raise InputError(f"{out} holds a sweep already: choose another --out, or leave out --no-resume to go on with it")
    alone = shard is not None and distributed[0] is None
    share = part if alone else processes.join(*distributed).within(part)
    errors = Console(stderr=True)
    with stop_signals() as stop, reporting(errors, share) as report:
        progress = run.run_sweep(
            read,
            out,
            seed_batch=size,
            share=share,
            save_params=save_params,
            device=device,
            report=report,
            stop=stop,
        )
    again = f"run the same command again to go on; finished work is in {out}"
    errors.print(f"{rank(share)}{summary(progress)}", highlight=False, soft_wrap=True)
    if progress.interrupted:
        errors.print(f"{rank(share)}interrupted: {again}", highlight=False, soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    if progress.failed:
        errors.print(f"{rank(share)}some chunks failed, see {out / 'failed'}: {again}", highlight=False, soft_wrap=True)
    return exit_codes.SOME_RUNS_FAILED if progress.failed or progress.diverged else exit_codes.DONE


def dry_run(source: Path, overrides: Sequence[str], device: str) -> int:
    """Print what a sweep would do: cells, groups, memory and time, without compiling anything.

    Args:
        source: the spec.
        overrides: `name=value` settings that come after the spec.
        device: platform to run on.

    Returns:
        The exit code.
    """
    read = spec.read(source, overrides)
    groups = plan.plan(read)
    mesh = processes.local_mesh(device)
    platform, devices, memory = mesh.devices.flat[0].platform, mesh.devices.size, processes.memory(mesh)
    sizes = [estimate.batch_size(group, read, len(group.lineages), platform, devices, memory) for group in groups]
    needed = max(size * estimate.bytes_a_lineage(group, read) for size, group in zip(sizes, groups, strict=True))
    trained = sum(len(group.lineages) * group.num_trained for group in groups)
    programs = {program.program_of(group, read, keep_params=False) for group in groups}
    took = sum(estimate.seconds(group, read, platform, devices) for group in groups)
    took -= estimate.COMPILE_SECONDS * (len(groups) - len(programs))
    cells, metrics = sum(group.num_cells for group in groups), 4 if read.simulation_prompts else 2
    rows = cells * len(read.cosines) * len(read.evaluation_shots) * metrics
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"cells             {cells} in {sum(len(group.lineages) for group in groups)} lineages; {trained} models to train")
    console.print(f"records           {rows}")
    console.print(f"compiled programs {len(programs)}, for {len(groups)} groups")
    console.print(f"at once           up to {max(sizes)} lineages on {devices} {platform} device{'s' * (devices > 1)}")
    console.print(f"memory            about {needed / 2**20:.0f} MiB")
    console.print(f"time              very roughly {duration(took)}")
    return exit_codes.DONE


def status(out: Path) -> int:
    """Print how far a sweep has come.

    Args:
        out: folder of the sweep.

    Returns:
        The exit code: 0 if it is complete, 75 if there is more to do, 3 if some chunks failed or models diverged.
    """
    folder = Folder(out)
    manifest = folder.manifest()
    finished, damaged = folder.finished(manifest["digest"])
    failures = folder.failures()
    done = records.covered(list(finished), {chunk: counts["cells"] for chunk, counts in finished.items()})
    diverged, missed = (sum(counts[name] for counts in finished.values()) for name in ("diverged", "above_minimum"))
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"cells done        {done} of {manifest['cells']} ({done / manifest['cells']:.1%})")
    console.print(f"diverged          {diverged}")
    console.print(f"above the minimum {missed} (pretraining ended in a local minimum)")
    console.print(f"damaged files     {len(damaged)}{' (computed again by the next run)' * bool(damaged)}")
    console.print(f"failed chunks     {len(failures)}")
    for chunk, error in list(failures.items())[:3]:
        console.print(f"  {chunk.name}: {error.splitlines()[0][:200]}", markup=False)
    if done < manifest["cells"] and not failures:
        return exit_codes.INTERRUPTED_RESUMABLE
    return exit_codes.SOME_RUNS_FAILED if failures or diverged else exit_codes.DONE


def export(out: Path, file_format: str, to: Path | None) -> int:
    """Write the records of a sweep to one file.

    Args:
        out: folder of the sweep.
        file_format: `csv`, `parquet` or `netcdf`.
        to: the file; by default `records` in the folder.

    Returns:
        The exit code.
    """
    Console(soft_wrap=True, highlight=False).print(f"written: {results.export(out, file_format, to)}")
    return exit_codes.DONE


def plot(out: Path, against: str | None, to: Path | None) -> int:
    """Draw the figures of a sweep, and write the numbers behind them.

    Args:
        out: folder of the sweep.
        against: the axis to draw against; by default every one that makes a figure.
        to: folder of the figures; by default `figures` in that of the sweep.

    Returns:
        The exit code.
    """
    from lsa_jax import plotting

    frame, folder = results.load(out).frame, to or out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(soft_wrap=True, highlight=False)
    for axis in [against] if against else plotting.drawable(frame):
        numbers = plotting.sweep_numbers(frame, axis)
        figure = plotting.plot_sweep(numbers, axis)
        store.save_figure(folder / f"error_against_{axis}", figure)
        store.save_table(folder / f"error_against_{axis}", numbers)
        rows = plotting.facets(numbers, axis)
        if len(rows.drawn) < rows.total:
            console.print(f"{len(rows.drawn)} of {rows.total} combinations of {', '.join(rows.axes)} drawn; the numbers hold all")
        console.print(f"written: {folder / f'error_against_{axis}'}.pdf, .png and the numbers as .csv and .parquet")
    return exit_codes.DONE


def summary(progress: run.Progress) -> str:
    """Return how far a run came, in one line.

    Args:
        progress: how far it came.

    Returns:
        The line.
    """
    share = progress.done / progress.total if progress.total else 1.0
    trouble = [("diverged", progress.diverged), ("above the minimum", progress.above_minimum), ("failed", progress.failed)]
    told = ", ".join(f"{number} {name}" for name, number in trouble)
    again = f", {progress.damaged} damaged files computed again" if progress.damaged else ""
    return f"{progress.done} of {progress.total} cells ({share:.1%}): {told}{again}"


def rank(share: Share) -> str:
    """Return the mark of a process's lines where there are several."""
    return f"[{share.index}/{share.count}] ".replace("[", r"\[") if share.count > 1 else ""


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    Args:
        seconds: the time.

    Returns:
        The text.

    Example:
        >>> duration(30.0), duration(3000.0), duration(30000.0)
        ('30 s', '50 min', '8.3 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def reporting(console: Console, share: Share) -> Generator[run.Report]:
    """Show progress: a bar on a terminal, else a line now and then.

    Args:
        console: where to show it.
        share: the part of the sweep this process works on.

    Yields:
        The function to tell of progress.
    """
    begun, last = time.monotonic(), [-LOG_SECONDS]

    def line(progress: run.Progress) -> None:
        passed = time.monotonic() - begun
        if passed - last[0] < LOG_SECONDS:
            return
        last[0] = passed
        rate = progress.computed / passed if passed else 0.0
        left = f", {duration((progress.total - progress.done) / rate)} left" if rate else ""
        console.print(f"{rank(share)}{summary(progress)}; {rate:.1f} cells/s{left}", highlight=False, soft_wrap=True)

    if not console.is_terminal:
        yield line
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("compiling", total=None, rate="")

        def report(progress: run.Progress) -> None:
            rate = f"{progress.computed / (time.monotonic() - begun):.1f} cells/s"
            described = f"{progress.diverged} diverged, {progress.failed} failed; {progress.current}"
            bar.update(task, completed=progress.done, total=progress.total, description=described, rate=rate)

        yield report


@contextlib.contextmanager
def stop_signals() -> Generator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM end the run after the current chunk, and the second one at once.

    Yields:
        The function that tells whether to stop.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if heard:
            os._exit(exit_codes.INTERRUPTED_RESUMABLE)
        heard.append(number)
        print("finishing the current chunk; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
