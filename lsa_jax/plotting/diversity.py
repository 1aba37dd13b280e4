"""The figure of task diversity: what regimes and remedies do to pool tasks and to fresh ones, against the number of tasks in the pool."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax.plotting import lab
from lsa_jax.plotting.scales import horizontal_scale, set_error_scale
from lsa_jax.plotting.style import FULL_WIDTH, LOOKS, STYLE

ERRORS = {"zero_shot": r"zero-shot, $\theta_0$", "pool": "few-shot, pool tasks", "prior": "few-shot, fresh tasks"}
FORGOTTEN = {"pool": "forgotten on pool tasks", "prior": "forgotten on fresh tasks"}
"""Titles of the panels, by the tasks they are about."""

Looks = dict[str, tuple[str, Any]]

BAND = 0.2
"""Opacity of the 95 % intervals."""

WORTHLESS: dict[str, Any] = {"color": "0.5", "linestyle": ":", "linewidth": 0.8}
"""Line at the error of a model that makes nothing of examples."""


def plot_diversity(table: pd.DataFrame) -> Figure:
    """Draw the errors of the regimes above, and what remedies forget at one zero-shot gain below, with 95 % intervals over pools.

    Args:
        table: from `lsa_jax.studies.diversity.task_diversity`.

    Returns:
        The figure.
    """
    regimes, remedies = (table[table["kind"] == kind] for kind in ("regime", "remedy"))
    looks = {title: (LOOKS[title][0], "-") for title in regimes["title"].unique()}
    own = {title: lab.LOOKS[name] for name, title in remedies[["name", "title"]].drop_duplicates().itertuples(index=False)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 4.2), layout="constrained")
        panels = figure.subplots(2, 3, sharex=True)
        before = float(regimes.loc[regimes["panel"] == "zero_shot", "error"].max())
        for axes, (panel, title) in zip(panels[0], ERRORS.items(), strict=True):
            _draw(axes, regimes[regimes["panel"] == panel], "error", looks)
            axes.axhline(before, **WORTHLESS)
            axes.set_title(title)
        for axes, (panel, title) in zip(panels[1, 1:], FORGOTTEN.items(), strict=True):
            _draw(axes, remedies[remedies["panel"] == panel], "forgotten", own)
            axes.set_title(title)
        panels[0, 0].set_ylabel("error")
        for axes in (panels[0, 0], *panels[1, 1:]):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("tasks in the pool $M$")
        _legend(panels[1, 0], looks, own)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, column: str, looks: Looks) -> None:
    """Draw every line of a panel with its band, infinity at the right."""
    scale = horizontal_scale(rows["tasks"].to_numpy(), 1)
    half = f"{column}_half_width" if column == "forgotten" else "half_width"
    for title, own in rows.groupby("title", sort=False):
        color, dashes = looks[str(title)]
        x, y, width = scale.place(own["tasks"].to_numpy()), own[column].to_numpy(), own[half].to_numpy()
        finite = np.isfinite(own["tasks"].to_numpy())
        axes.plot(x[finite], y[finite], color=color, linestyle=dashes)
        axes.plot(x[~finite], y[~finite], color=color, marker=".", linestyle="none")
        axes.fill_between(x[finite], (y - width)[finite], (y + width)[finite], color=color, alpha=BAND, linewidth=0)
    scale.apply(axes)
    set_error_scale(axes, rows[column].to_numpy(), logarithmic=column == "forgotten")


def _legend(axes: Axes, regimes: Looks, remedies: Looks) -> None:
    """Write both legends where a panel would be."""
    axes.axis("off")
    known = []
    for title, looks, place in (("regimes, above", regimes, "upper left"), ("remedies over $V$, right", remedies, "lower left")):
        handles = [Line2D([], [], color=color, linestyle=dashes, label=line) for line, (color, dashes) in looks.items()]
        known.append(axes.legend(handles=handles, title=title, loc=place, alignment="left", borderaxespad=0, labelspacing=0.2))
    axes.add_artist(known[0])
