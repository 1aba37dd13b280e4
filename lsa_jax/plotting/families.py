"""Families of curves: one panel a case, one line a member, exact lines with simulated points on them."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lsa_jax.plotting.scales import log_ticks, set_error_scale, tick_label
from lsa_jax.plotting.style import FULL_WIDTH, LOOKS, MARKS, POINTS, STYLE

SIMULATED = 1.96
"""Standard errors on each side of a simulated point: a 95 % interval."""

MARKERS = "osD^vP<>X"


def plot_family(
    curves: pd.DataFrame, x_label: str, y_label: str, *, log_x: bool = False, log_y: bool = False, share_y: bool = True
) -> Figure:
    """Draw families of exact curves with simulated points and their 95 % intervals, one panel a case.

    Args:
        curves: records with the columns panel, line, x, y, and if there are any simulated, standard_error and mark (the place of a
            vertical line of the colour of its curve).
        x_label: what x is.
        y_label: what y is.
        log_x: a logarithmic horizontal axis.
        log_y: a logarithmic vertical axis.
        share_y: one vertical scale for all panels.

    Returns:
        The figure.
    """
    panels, lines = (list(dict.fromkeys(curves[column])) for column in ("panel", "line"))
    looks = line_looks(lines)
    with mpl.rc_context(STYLE):
        width = FULL_WIDTH if len(panels) > 1 else 0.6 * FULL_WIDTH
        figure = Figure(figsize=(width, 2.3), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=share_y, squeeze=False)
        for one, panel in zip(axes[0], panels, strict=True):
            chosen = curves[curves["panel"] == panel]
            draw_lines(one, chosen, looks)
            one.set_title(panel)
            one.set_xlabel(x_label)
            set_error_scale(one, _heights(curves if share_y else chosen), logarithmic=log_y)
            if log_x:
                set_log_x(one, curves["x"].to_numpy())
        axes[0][0].set_ylabel(y_label)
        figure.legend(handles=legend_handles(curves, looks), loc="outside right center")
    return figure


def _heights(curves: pd.DataFrame) -> np.ndarray:
    """Everything that a vertical axis has to hold: exact values and simulated ones."""
    return curves[[name for name in ("y", "simulated") if name in curves]].to_numpy(float).ravel()


def set_log_x(axes: Axes, values: np.ndarray) -> None:
    """Make the horizontal axis logarithmic, with ticks a reader would choose.

    Args:
        axes: the panel.
        values: what is drawn along it.
    """
    low, high = values.min() / 1.1, values.max() * 1.1
    ticks = log_ticks(low, high)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [tick_label(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def legend_handles(curves: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> list[Line2D]:
    """Return an entry a line, with its marker where there are simulated points.

    Args:
        curves: the records drawn.
        looks: colour and marker by line.

    Returns:
        The entries.
    """
    simulated = "simulated" in curves and curves["simulated"].notna().any()
    marker_of = {line: marker if simulated else "" for line, (_, marker) in looks.items()}
    return [Line2D([], [], color=color, label=line, marker=marker_of[line], **MARKS) for line, (color, _) in looks.items()]


def line_looks(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each line: those of a regime where it is one, else along a colour-blind safe scale of brightness.

    Args:
        lines: names of the lines, in order.

    Returns:
        Colour and marker by name.
    """
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(lines)))
    markers = itertools.cycle(MARKERS)
    return {line: LOOKS.get(line, (mpl.colors.to_hex(shade), marker)) for line, shade, marker in zip(lines, shades, markers, strict=False)}


def draw_lines(axes: Axes, curves: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    """Draw the lines of one panel.

    Args:
        axes: the panel.
        curves: its records.
        looks: colour and marker by line.
    """
    for line, rows in curves.groupby("line", sort=False):
        color, marker = looks[str(line)]
        axes.plot(rows["x"], rows["y"], color=color)
        if "mark" in rows:
            axes.axvline(rows["mark"].iloc[0], color=color, linestyle=":", linewidth=0.8)
        points = rows[rows["simulated"].notna()] if "simulated" in rows else rows.iloc[:0]
        if len(points):
            axes.errorbar(points["x"], points["simulated"], yerr=SIMULATED * points["standard_error"], color=color, marker=marker, **POINTS)


def plot_value_family(curves: pd.DataFrame) -> Figure:
    r"""Draw the family of `value` optima above, and the best scale $w^\star(n)$ with its limit below.

    Args:
        curves: records of `plot_family`; the panel `scale` holds the best scale, in its column mark the limit.

    Returns:
        The figure.
    """
    best, family = (curves[flag] for flag in (curves["panel"] == "scale", curves["panel"] != "scale"))
    panels, looks = list(dict.fromkeys(family["panel"])), line_looks(list(dict.fromkeys(family["line"])))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 3.6), layout="constrained")
        grid = figure.add_gridspec(2, len(panels), height_ratios=[2, 1])
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(grid[0, place])
            draw_lines(axes, family[family["panel"] == panel].drop(columns="mark"), looks)
            axes.set_title(panel)
            set_error_scale(axes, family["y"].to_numpy(), logarithmic=True)
            if place == 0:
                axes.set_ylabel("$n$-shot error")
        figure.legend(handles=legend_handles(family, looks), loc="outside right upper")
        below = figure.add_subplot(grid[1, :])
        below.plot(best["x"], best["y"], color="black")
        below.axhline(best["mark"].iloc[0], color="0.6", linestyle=":", linewidth=0.8)
        end = best["x"].max(), best["mark"].iloc[0]
        below.annotate(r"$w^\star(\infty)$", end, (0, 2), textcoords="offset points", ha="right", va="bottom")
        below.set_ylim(0, 1.1)
        below.set_xlabel("number of shots $n$")
        below.set_ylabel(r"best scale $w^\star(n)$")
    return figure
