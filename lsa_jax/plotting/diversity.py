"""The figure of task diversity: what regimes and remedies do to pool tasks and to fresh ones, against the number of tasks in the pool."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax.plotting import lab
from lsa_jax.plotting.scales import Scale, horizontal_scale, set_error_scale
from lsa_jax.plotting.style import FULL_WIDTH, LOOKS, STYLE

ERRORS = {"zero_shot": r"zero-shot, $\theta_0$", "pool": "few-shot, pool tasks", "prior": "few-shot, fresh tasks"}
FORGOTTEN = {"pool": "pool tasks", "prior": "fresh tasks"}
"""Titles of the panels, by the tasks they are about."""

FAINT, SPARE = 0.01, 1.5
"""What is forgotten up to which axes of larger numbers are linear, and the room that they leave beyond."""

MOVED = {"remedy": "$V$ alone", "remedy_all": "all parameters"}
"""What remedies move, by the kind of their rows."""

Looks = dict[str, tuple[str, Any]]

BAND = 0.2
"""Opacity of the 95 % intervals."""

WORTHLESS: dict[str, Any] = {"color": "0.5", "linestyle": ":", "linewidth": 0.8}
"""Line at the error of a model that makes nothing of examples, and where nothing is forgotten."""


def plot_diversity(table: pd.DataFrame) -> Figure:
    """Draw the errors of the regimes, and what remedies over V and over all parameters forget at one zero-shot gain, with 95 % intervals.

    Args:
        table: from `lsa_jax.studies.diversity.task_diversity`.

    Returns:
        The figure.
    """
    regimes, remedies = table[table["kind"] == "regime"], table[table["kind"] != "regime"]
    looks = {title: (LOOKS[title][0], "-") for title in regimes["title"].unique()}
    own = {title: lab.LOOKS[name] for name, title in remedies[["name", "title"]].drop_duplicates().itertuples(index=False)}
    scale = horizontal_scale(table["tasks"].to_numpy(), 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 5.8), layout="constrained")
        panels = figure.subplots(3, 3, sharex=True)
        before = float(regimes.loc[regimes["panel"] == "zero_shot", "error"].max())
        for axes, (panel, title) in zip(panels[0], ERRORS.items(), strict=True):
            own_rows = regimes[regimes["panel"] == panel]
            _draw(axes, own_rows, "error", looks, scale)
            set_error_scale(axes, own_rows["error"].to_numpy(), logarithmic=False)
            axes.axhline(before, **WORTHLESS)
            axes.set_title(title)
        for row, (kind, moved) in zip(panels[1:], MOVED.items(), strict=True):
            for axes, (panel, title) in zip(row[1:], FORGOTTEN.items(), strict=True):
                both = remedies[remedies["panel"] == panel]
                _draw(axes, both[both["kind"] == kind], "forgotten", own, scale)
                axes.axhline(0, **WORTHLESS)
                if both["forgotten"].max() > 10 * FAINT:
                    axes.set_yscale("symlog", linthresh=FAINT)
                axes.set_ylim(*(SPARE * both["forgotten"].agg(["min", "max"])))
                axes.set_title(f"{title}, {moved}")
            row[1].set_ylabel("forgotten")
        panels[0, 0].set_ylabel("error")
        for axes in (panels[0, 0], *panels[2, 1:]):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("tasks in the pool $M$")
        _legend(panels[1, 0], "regimes, above", looks)
        _legend(panels[2, 0], "remedies, right", own)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, column: str, looks: Looks, scale: Scale) -> None:
    """Draw every line of a panel with its band, infinity at the right."""
    half = f"{column}_half_width" if column == "forgotten" else "half_width"
    for title, own in rows.groupby("title", sort=False):
        color, dashes = looks[str(title)]
        x, y, width = scale.place(own["tasks"].to_numpy()), own[column].to_numpy(), own[half].to_numpy()
        finite = np.isfinite(own["tasks"].to_numpy())
        axes.plot(x[finite], y[finite], color=color, linestyle=dashes)
        axes.plot(x[~finite], y[~finite], color=color, marker=".", linestyle="none")
        axes.fill_between(x[finite], (y - width)[finite], (y + width)[finite], color=color, alpha=BAND, linewidth=0)
    scale.apply(axes)


def _legend(axes: Axes, title: str, looks: Looks) -> None:
    """Write a legend where a panel would be."""
    axes.axis("off")
    handles = [Line2D([], [], color=color, linestyle=dashes, label=line) for line, (color, dashes) in looks.items()]
    axes.legend(handles=handles, title=title, loc="center left", alignment="left", borderaxespad=0, labelspacing=0.3)
