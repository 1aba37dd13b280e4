"""The figure of the lab: what is left of in-context learning against the zero-shot error, a curve a remedy."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax.plotting.scales import set_error_scale
from lsa_jax.plotting.style import BLACK, BLUE, FULL_WIDTH, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILION

LOOKS: dict[str, tuple[str, Any]] = {
    "prior": (BLACK, "-"),
    "distillation": (ORANGE, (0, (2, 2))),
    "ewc": (BLUE, "-"),
    "ewc_full": (SKY, "--"),
    "l2_sp": (GREEN, "-"),
    "distillation_target": (PURPLE, "-"),
    "distillation_zero_shot": (PURPLE, ":"),
    "few_shot": (SKY, ":"),
    "early_stopping": (VERMILION, "-"),
    "averaging": (ORANGE, "-"),
}
"""Colour and line of each remedy."""

LOW_RANK = (":", "-.", "--")
"""Lines of low-rank sets, the lowest rank first."""

PANELS = {
    "forgotten": "few-shot risk on the prior, above pretrained",
    "few_shot_opposite": r"few-shot error on $-\theta_0$",
    "prior_limit": "risk on the prior, infinite context",
}
HIGHEST, LEAST_FORGOTTEN = 10.0, 1e-4
"""Largest error shown, in units of that of the pretrained model, and least forgetting."""

LEAST: dict[int, tuple[Any, str]] = {1: ("-", "best possible, one head"), 2: (":", "best possible, two heads")}
BOUND: dict[str, Any] = {"color": "0.6", "linewidth": 2.6}
"""Line of the best front of so many heads, and what these lines share."""


ABOVE, BELOW = (-11, 4), (-9, -9)
"""Where the letter of a regime stands in points from its mark: that of (c) below, as (d) is right above it."""


def plot_lab(fronts: pd.DataFrame, best: pd.DataFrame, regimes: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw every remedy's curve in three measures of in-context learning, the paper's regimes and the best front beside them.

    Args:
        fronts: from `lsa_jax.lab.curves.table`.
        best: from `lsa_jax.lab.best.best_front`, with a column of heads; may be empty.
        regimes: from `lsa_jax.lab.best.regime_points`.
        noise_variance: the floor of every error.

    Returns:
        The figure.
    """
    start = fronts.iloc[0]
    fronts, best, regimes = (_measured(table, start, noise_variance) for table in (fronts, best, regimes))
    curves = dict(list(fronts.iloc[1:].groupby("remedy", sort=False)))
    looks = _looks(list(curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 3.6), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharex=True)
        for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
            for heads, (line, _) in LEAST.items() if column == "forgotten" else ():
                rows = best[best["heads"] == heads]
                axes.plot(rows["gain"], rows[column].where(rows[column] > LEAST_FORGOTTEN), linestyle=line, zorder=1, **BOUND)
            for name, rows in curves.items():
                color, line = looks[name]
                axes.plot(rows["gain"], rows[column].where(rows[column] > LEAST_FORGOTTEN), color=color, linestyle=line)
            _mark(axes, regimes[regimes[column] > LEAST_FORGOTTEN], column)
            axes.set_xlim(0, 1.03)
            axes.set_xlabel("part of the zero-shot excess gone")
            axes.set_title(label)
            lowest = LEAST_FORGOTTEN if column == "forgotten" else max(noise_variance, fronts[column].min() / 2)
            set_error_scale(axes, np.array([lowest, HIGHEST * start["prior" if column == "forgotten" else column]]), logarithmic=True)
        handles = [Line2D([], [], color=looks[name][0], linestyle=looks[name][1], label=curves[name]["title"].iloc[0]) for name in curves]
        known = [look for heads, look in LEAST.items() if (best["heads"] == heads).any()]
        handles += [Line2D([], [], linestyle=line, label=label, **BOUND) for line, label in known]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=2.4)
    return figure


def _measured(table: pd.DataFrame, start: pd.Series, noise_variance: float) -> pd.DataFrame:
    """A table with the part of the zero-shot excess that is gone, and what is forgotten on the prior."""
    gain = (start["zero_shot"] - table["zero_shot"]) / (start["zero_shot"] - noise_variance)
    return table.assign(gain=gain, forgotten=table["prior"] - start["prior"])


def _looks(names: list[str]) -> dict[str, tuple[str, Any]]:
    """Colour and line of every curve."""
    low_rank = [name for name in names if name not in LOOKS]
    return LOOKS | {name: (VERMILION, LOW_RANK[place % len(LOW_RANK)]) for place, name in enumerate(low_rank)}


def _mark(axes: Axes, regimes: pd.DataFrame, column: str) -> None:
    """Mark the paper's regimes by their letters."""
    for _, row in regimes.iterrows():
        letter = row["title"][:3]
        place = BELOW if letter == "(c)" else ABOVE
        axes.plot(row["gain"], row[column], color=BLACK, marker="o", markersize=3, linestyle="none", zorder=4)
        axes.annotate(letter, (row["gain"], row[column]), xytext=place, textcoords="offset points", fontsize=7)
