"""The figure of the lab: what is left of in-context learning against the zero-shot error, a curve a remedy."""

from collections.abc import Mapping, Sequence
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
    "ewc_empirical": (BLUE, ":"),
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

BEFORE: dict[str, Any] = {"color": "0.6", "linewidth": 0.9, "marker": "."}
"""Errors of the pretrained model against the cosine."""

COSINES = {"few_shot_opposite": -1.0, "cosine_-0.5": -0.5, "cosine_0": 0.0, "cosine_0.5": 0.5, "few_shot_target": 1.0}
"""Cosine to the target by the column of the few-shot error there."""


ABOVE, BELOW = (-11, 4), (-9, -9)
"""Where the letter of a regime stands in points from its mark: that of (c) below, as (d) is right above it."""


def plot_lab(fronts: pd.DataFrame, best: pd.DataFrame, regimes: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw every remedy's curve in three measures of in-context learning, the paper's regimes and the best front beside them.

    Args:
        fronts: from `lsa_jax.lab.curves.table`.
        best: from `lsa_jax.lab.best.best_front`, with heads, gain and forgotten; may be empty.
        regimes: from `lsa_jax.lab.best.regime_points`, with gain and forgotten: the paper's regimes.
        noise_variance: the floor of every error.

    Returns:
        The figure.
    """
    start, curves = fronts.iloc[0], dict(list(fronts.iloc[1:].groupby("remedy", sort=False)))
    looks = looks_of(list(curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 3.6), layout="constrained")
        for axes, column in zip(figure.subplots(1, len(PANELS), sharex=True), PANELS, strict=True):
            _draw_fronts(axes, column, fronts, best, looks)
            _mark(axes, regimes[regimes[column] > LEAST_FORGOTTEN], column)
            lowest = LEAST_FORGOTTEN if column == "forgotten" else max(noise_variance, fronts[column].min() / 2)
            set_error_scale(axes, np.array([lowest, HIGHEST * start["prior" if column == "forgotten" else column]]), logarithmic=True)
        handles = _handles({name: str(rows["title"].iloc[0]) for name, rows in curves.items()}, looks)
        known = [look for heads, look in LEAST.items() if (best["heads"] == heads).any()]
        handles += [Line2D([], [], linestyle=line, label=label, **BOUND) for line, label in known]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, handlelength=2.4)
    return figure


def plot_cosines(compared: pd.DataFrame, start: pd.Series) -> Figure:
    """Draw few-shot errors against the cosine of the task to the target, a panel a part of the zero-shot excess that is gone.

    Args:
        compared: from `lsa_jax.lab.experiment.compare`; a remedy that never gains as much has no line.
        start: errors of the pretrained model, a row of `lsa_jax.lab.curves.table`.

    Returns:
        The figure.
    """
    looks, gains = looks_of(list(dict.fromkeys(compared["remedy"]))), list(dict.fromkeys(compared["gain"]))
    places, columns = list(COSINES.values()), list(COSINES)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 3.6), layout="constrained")
        panels = figure.subplots(1, len(gains), sharey=True)
        for axes, gain in zip(panels, gains, strict=True):
            for _, row in compared[compared["gain"] == gain].iterrows():
                color, line = looks[row["remedy"]]
                axes.plot(places, row[columns].astype(float), color=color, linestyle=line)
            axes.plot(places, start[columns].astype(float), **BEFORE)
            axes.set(xticks=places, xlabel=r"cosine of the task to $\theta_0$", title=f"{gain:.0%} of the zero-shot excess gone")
        panels[0].set_ylabel("few-shot error")
        set_error_scale(panels[0], compared[columns].to_numpy(float), logarithmic=True)
        titles = dict(zip(compared["remedy"], compared["title"], strict=True))
        figure.legend(handles=[*_handles(titles, looks), Line2D([], [], label="pretrained", **BEFORE)], loc="outside upper center", ncols=4)
    return figure


def _handles(titles: Mapping[str, str], looks: Mapping[str, tuple[str, Any]]) -> list[Line2D]:
    """The entries of remedies in a legend."""
    return [Line2D([], [], color=looks[name][0], linestyle=looks[name][1], label=title) for name, title in titles.items()]


def looks_of(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return colour and line of every remedy.

    Args:
        names: their names; those that are not in `LOOKS` are sets of low rank.

    Returns:
        Both by name.
    """
    low_rank = [name for name in names if name not in LOOKS]
    return LOOKS | {name: (VERMILION, LOW_RANK[place % len(LOW_RANK)]) for place, name in enumerate(low_rank)}


def _draw_fronts(axes: Axes, column: str, fronts: pd.DataFrame, best: pd.DataFrame, looks: Mapping[str, tuple[str, Any]]) -> None:
    """Draw every remedy in one measure of in-context learning, and the best front where that is the measure."""
    for heads, (line, _) in LEAST.items() if column == "forgotten" else ():
        rows = best[best["heads"] == heads]
        axes.plot(rows["gain"], rows[column].where(rows[column] > LEAST_FORGOTTEN), linestyle=line, zorder=1, **BOUND)
    for name, rows in fronts.iloc[1:].groupby("remedy", sort=False):
        color, line = looks[str(name)]
        axes.plot(rows["gain"], rows[column].where(rows[column] > LEAST_FORGOTTEN), color=color, linestyle=line)
    axes.set(xlim=(0, 1.03), xlabel="part of the zero-shot excess gone", title=PANELS[column])


def _mark(axes: Axes, regimes: pd.DataFrame, column: str) -> None:
    """Mark the paper's regimes by their letters."""
    for _, row in regimes.iterrows():
        letter = row["title"][:3]
        place = BELOW if letter == "(c)" else ABOVE
        axes.plot(row["gain"], row[column], color=BLACK, marker="o", markersize=3, linestyle="none", zorder=4)
        axes.annotate(letter, (row["gain"], row[column]), xytext=place, textcoords="offset points", fontsize=7)
