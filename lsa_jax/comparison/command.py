"""What `lsa-jax reproduce --experiment comparison` prints, and the exit code it ends with."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from lsa_jax import exit_codes
from lsa_jax.comparison.experiment import LOSSES, QUICK, SHAPES
from lsa_jax.comparison.run import SWEEP, Outcome, compare
from lsa_jax.consoles import wide_console
from lsa_jax.reproduce.command import TABLE_WIDTH, progress
from lsa_jax.reproduce.settings import Settings
from lsa_jax.sweeps import processes

VERDICTS = {
    "late": "left the plateau of pretraining late",
    "never left": "never left the plateau of pretraining",
    "behind": "ended pretraining above twice the loss of the best seed",
}
"""What is said of seeds whose pretraining stands out."""


def run(settings: Settings, preset: str, out: Path, *, force: bool, figure: bool, quiet: bool) -> int:
    """Run a comparison with progress on standard error and its table on standard output.

    Args:
        settings: settings of the reproduction.
        preset: name of the preset; `quick` leaves out the few-shot loss with softmax attention.
        out: folder for the results.
        force: replace another run in the folder.
        figure: draw the figures.
        quiet: print the table only.

    Returns:
        The exit code.
    """
    processes.spread_over_cores()
    errors, console = Console(stderr=True), wide_console(TABLE_WIDTH)
    shapes = QUICK if preset == "quick" else SHAPES
    try:
        with progress(errors, disable=quiet) as report:
            outcome = compare(settings, out, shapes=shapes, force=force, figure=figure, report=report)
    except KeyboardInterrupt:
        kept = bool(list((out / SWEEP / "chunks").glob("*.parquet")))
        told = f"finished seeds are kept in {out}: run the same command to resume" if kept else "nothing was finished"
        errors.print(f"interrupted; {told}", highlight=False, soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE if kept else exit_codes.INTERRUPTED
    print_outcome(console, outcome)
    console.print(f"\nfigures, numbers and parameters: {out}", highlight=False, soft_wrap=True)
    failed = outcome.fronts["num_diverged"].any() or (outcome.pretraining["verdict"] != "left").any()
    return exit_codes.SOME_RUNS_FAILED if failed else exit_codes.DONE


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the front of every transformer, whether training all or value alone is better, and seeds whose pretraining stands out.

    Args:
        console: where to print.
        outcome: what the comparison found.
    """
    few = outcome.settings.fine_tuning_shots
    table = Table(title=f"medians over seeds; few-shot at n = {few}", title_justify="left")
    for heading in ("transformer", "method"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rate", "zero-shot, θ₀", "few-shot, θ₀", "few-shot, -θ₀", "quartiles", "seeds", "diverged"):
        table.add_column(heading, justify="right")
    for shape, rows in outcome.fronts.groupby("shape", sort=False):
        for place, (_, row) in enumerate(rows.iterrows()):
            table.add_row(str(shape) if place == 0 else "", str(row["regime"]), *_cells(row), end_section=place == len(rows) - 1)
    console.print(table)
    _print_notes(console, outcome)
    for shape, rows in outcome.pretraining.groupby("shape", sort=False):
        for verdict, told in VERDICTS.items():
            seeds = rows.loc[rows["verdict"] == verdict, "seed"].tolist()
            if seeds:
                console.print(f"{shape}: seeds {seeds} {told}", highlight=False)


def _print_notes(console: Console, outcome: Outcome) -> None:
    """Print which zero-shot errors are medians over prompts, and for how many seeds training all matches value alone, or the reverse."""
    medians = outcome.fronts.loc[outcome.fronts["over_prompts"] == "median", "shape"].unique()
    if len(medians):
        told = f"zero-shot errors of {' and '.join(medians)}: medians over prompts, since rare prompts rule the mean"
        console.print(told, highlight=False, soft_wrap=True)
    pairs = [(f"{loss}_{method}", f"{loss}_{rival}") for loss in LOSSES for method, rival in (("value", "all"), ("all", "value"))]
    for _, row in outcome.rivals.iterrows():
        if (row["regime"], row["rival"]) in pairs:
            told = f"{row['shape']}: {row['rival']} is at least as good as {row['regime']} on both errors for"
            console.print(f"{told} {row['num_matched']} of {row['num_seeds']} seeds", highlight=False, soft_wrap=True)


def _cells(row: pd.Series) -> tuple[str, ...]:
    """Numbers of one row as text."""
    rate = "-" if pd.isna(row["rate"]) else f"{row['rate']:g}"
    errors = (f"{row[name]:.4g}" for name in ("zero_shot", "few_shot_target", "few_shot_opposite"))
    quartiles = f"{row['few_shot_opposite_lower']:.3g} to {row['few_shot_opposite_upper']:.3g}"
    return rate, *errors, quartiles, str(int(row["num_seeds"])), str(int(row["num_diverged"]))
