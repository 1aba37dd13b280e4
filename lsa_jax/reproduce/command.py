"""What `lsa-jax reproduce` prints, and the exit code it ends with."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lsa_jax import exit_codes
from lsa_jax.consoles import wide_console
from lsa_jax.reproduce.run import SWEEP, Outcome, Report, reproduce
from lsa_jax.reproduce.settings import Settings
from lsa_jax.sweeps import processes
from lsa_jax.sweeps.run import Progress as Done

TABLE_WIDTH = 130
ERROR_NAMES = {
    "zero_shot_target": "zero-shot, θ₀",
    "few_shot_target": "few-shot, θ₀",
    "few_shot_opposite": "few-shot, -θ₀",
}


def run(settings: Settings, preset: str, out: Path, *, force: bool, figure: bool, quiet: bool) -> int:
    """Run a reproduction with progress on standard error and its table on standard output.

    Args:
        settings: settings of the reproduction.
        preset: name of the preset they came from, for the heading.
        out: folder for the results.
        force: replace another run in the folder.
        figure: draw the figure.
        quiet: print the table only.

    Returns:
        The exit code.
    """
    processes.spread_over_cores()
    errors, console = Console(stderr=True), wide_console(TABLE_WIDTH)
    if not quiet:
        errors.print(f"{preset}: {describe(settings)}", highlight=False, soft_wrap=True)
    try:
        with progress(errors, disable=quiet) as report:
            outcome = reproduce(settings, out, force=force, figure=figure, report=report)
    except KeyboardInterrupt:
        kept = len(list((out / SWEEP / "chunks").glob("*.parquet")))
        if not kept:
            errors.print("interrupted before anything was finished", highlight=False)
            return exit_codes.INTERRUPTED
        errors.print(f"interrupted; finished seeds are kept in {out}: run the same command to resume", highlight=False, soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    print_outcome(console, outcome)
    console.print(f"\nfigure, numbers and parameters: {out}", highlight=False, soft_wrap=True)
    return exit_code(outcome)


def exit_code(outcome: Outcome) -> int:
    """Return 3 if seeds had to be left out, else 1 if a claim does not hold, else 0.

    Args:
        outcome: what the reproduction found.

    Returns:
        The exit code.
    """
    if any(seeds for reasons in outcome.failures.values() for seeds in reasons.values()):
        return exit_codes.SOME_RUNS_FAILED
    return exit_codes.DONE if outcome.claims["verdict"].isin(["agrees", "no theory"]).all() else exit_codes.CLAIM_FAILED


def describe(settings: Settings) -> str:
    """Return the settings that matter most, in one line.

    Args:
        settings: settings of the reproduction.

    Returns:
        The line.
    """
    data = "population gradients"
    if settings.gradient == "sampled":
        source = f"a pool of {settings.pool_size} examples" if settings.pool_size else "fresh examples"
        data = f"batches of {settings.batch_size}, fine-tuning on {source}"
    return (
        f"d = {settings.dim}, m = {settings.pretraining_shots}, n = {settings.fine_tuning_shots}, σ = {settings.noise_std:.4g}, "
        f"{settings.covariance} covariance, {settings.prior} prior; {settings.seeds} seeds x {settings.steps} steps a phase, "
        f"{settings.optimizer} at {settings.learning_rate:g} with {settings.decay} decay, {data}"
    )


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the twelve claims, the scale of `full`, and the seeds left out.

    Args:
        console: where to print.
        outcome: what the reproduction found.
    """
    table = Table(title=f"n-shot errors, few-shot at n = {outcome.settings.fine_tuning_shots}", title_justify="left")
    table.add_column("regime", no_wrap=True)
    table.add_column("error", no_wrap=True)
    for heading in ("paper's limit", "exact optimum", "trained", "± SE", "simulated", "excess", "bound"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for _, claim in outcome.claims.iterrows():
        name = ERROR_NAMES[claim["error"]]
        table.add_row(claim["regime"], name, *_cells(claim), end_section=claim["error"] == "few_shot_opposite")
    console.print(table)
    scales = outcome.scales
    if len(scales):
        console.print(
            f"full: scale w/v_y {_with_error(scales['trained'])} as trained, {_with_error(scales['conserved'])} by the conserved quantity",
            highlight=False,
        )
    if outcome.settings.optimizer == "adam":
        console.print("full: Adam conserves nothing, so its exact optimum above is the one at each run's own scale", highlight=False)
    for regime, reasons in outcome.failures.items():
        for reason, seeds in reasons.items():
            if seeds:
                console.print(f"{regime}: seeds {seeds} {reason}; left out above", highlight=False)


@contextlib.contextmanager
def progress(console: Console, *, disable: bool) -> Generator[Report]:
    """Show a bar over all models with the time left.

    Args:
        console: where to draw it.
        disable: draw nothing.

    Yields:
        The function that moves it.
    """
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("models, elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, disable=disable) as bar:
        task = bar.add_task("training", total=None)

        def report(done: Done) -> None:
            finished = done.done >= done.total
            bar.update(task, description="evaluating" if finished else "training", completed=done.done, total=done.total)

        yield report


def _cells(claim: pd.Series) -> tuple[str, ...]:
    """Numbers of one claim as text."""
    if claim["verdict"] == "no model":
        return f"{claim['paper_limit']:.4f}", f"{claim['exact']:.4f}", "-", "-", "-", "-", "-", "[red]no model[/red]"
    if claim["verdict"] == "no theory":
        cells = f"{claim['paper_limit']:.4f}", "-", "-", f"{claim['standard_error']:.4f}", f"{claim['simulated']:.4f}", "-", "-"
        return *cells, "no theory"
    verdict = "agrees" if claim["verdict"] == "agrees" else "[red]differs[/red]"
    return (
        f"{claim['paper_limit']:.4f}",
        f"{claim['exact']:.4f}",
        f"{claim['trained']:.4f}",
        f"{claim['standard_error']:.4f}",
        f"{claim['simulated']:.4f}",
        f"{claim['excess']:+.2%}",
        f"{claim['bound']:.0%}",
        verdict,
    )


def _with_error(values: pd.Series) -> str:
    """Mean and standard error over seeds as text."""
    return f"{values.mean():.3f} ± {values.sem():.3f}"
