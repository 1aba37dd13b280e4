"""What `lsa-jax lab` prints and writes."""

import time
from pathlib import Path

import pandas as pd
from rich.table import Table

from lsa_jax import exit_codes, store
from lsa_jax.consoles import wide_console
from lsa_jax.lab.curves import COSINES, column_of
from lsa_jax.lab.experiment import GAINS, Lab, compare, run
from lsa_jax.lab.settings import Settings
from lsa_jax.plotting.lab import plot_cosines, plot_lab

TABLE_WIDTH = 150
HEADINGS = {
    "zero_shot": "zero-shot, θ₀",
    "prior": "prior",
    "forgotten": "forgotten",
    "above_best": "above the best",
    "prior_limit": "prior, n = ∞",
    column_of(1.0): "few-shot, θ₀",
    **{column_of(cosine): f"cosine {cosine:g}" for cosine in COSINES},
    column_of(-1.0): "-θ₀",
}
"""Headings of columns; the best front has one where it was searched for."""


def command(settings: Settings, out: Path, *, best: bool) -> int:
    """Run the lab, print its table, and write figure and numbers.

    Args:
        settings: what is fine-tuned.
        out: the folder.
        best: whether to search for the best front.

    Returns:
        The exit code.

    Raises:
        ValueError: if a value is out of range or unknown.
    """
    out = store.writable_folder(out)
    begun, console = time.monotonic(), wide_console(TABLE_WIDTH)
    lab = run(settings, best)
    compared = compare(lab)
    for name, numbers in (("fronts", lab.fronts), ("best", lab.best), ("compared", compared)):
        store.save_table(out / name, numbers)
    store.save_figure(out / "lab", plot_lab(lab.fronts, lab.best, lab.regimes, lab.noise_variance))
    if settings.dim > 1:
        store.save_figure(out / "cosines", plot_cosines(compared, lab.fronts.iloc[0]))
    for gain in GAINS:
        console.print(_table(lab, compared[compared["gain"] == gain], gain))
    console.print(f"figures and numbers: {out} ({time.monotonic() - begun:.0f} s)", highlight=False, soft_wrap=True)
    return exit_codes.DONE


def _table(lab: Lab, rows: pd.DataFrame, gain: float) -> Table:
    """What each remedy costs where a part of the zero-shot excess is gone."""
    start = lab.fronts.iloc[0]
    before = ", ".join(f"{start[name]:.4f} {told}" for name, told in (("prior", "on the prior"), ("few_shot_opposite", "on -θ₀")))
    title = f"{gain:.0%} of the zero-shot excess gone; few-shot errors before: {before}"
    table = Table(title=title, title_justify="left")
    table.add_column("remedy", no_wrap=True)
    known = {name: heading for name, heading in HEADINGS.items() if name != "above_best" or len(lab.best)}
    for heading in ("knob", *known.values()):
        table.add_column(heading, justify="right")
    for _, row in rows.sort_values("prior", na_position="last").iterrows():
        missed = pd.isna(row["knob"])
        cells = [""] * len(known) if missed else [f"{row[name]:.4f}" for name in known]
        table.add_row(str(row["title"]), "never" if missed else f"{row['knob']:.3g}", *cells)
    return table
