"""Panels of figures of sweeps, and what is drawn inside one: the noise floor, theory as lines and trained models as points."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsa_jax.plotting.curves import Curve, Facets
from lsa_jax.plotting.scales import Scale
from lsa_jax.plotting.style import COLUMN_WIDTH, FULL_WIDTH, POINTS, title_of
from lsa_jax.plotting.summaries import EVALUATION, INTERVAL

FIRST_POINTS, MOST_POINTS = 4, 12
"""Points that are always drawn, and those along the width of a panel that can be told apart."""

DENSE = 5
"""Places from which on theory is joined by a line over shots or cosines: a line through fewer says what was not computed."""

DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
"""Dashes of baselines, told apart in grey."""

FLOOR: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": "-", "zorder": 0}
"""How the noise floor is drawn."""

BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0, "zorder": 1}
"""How quantiles over seeds are drawn."""


LABEL_LETTERS = 17
"""Letters of a line of the settings beside a row, which are about an inch."""


def regime_grid(regimes: list[str], shown: Facets, x_label: str, y_label: str, *, alike: bool = True) -> tuple[Figure, np.ndarray]:
    """Make a figure with a column per regime and a row per combination of settings, its titles, axes and settings written.

    Args:
        regimes: the columns.
        shown: the rows.
        x_label: what runs along the horizontal axes.
        y_label: what runs along the vertical axes.
        alike: whether all panels have one horizontal axis, and those of a row one vertical axis.

    Returns:
        The figure and its panels, rows first.
    """
    num_rows, width = len(shown.drawn), FULL_WIDTH if len(regimes) > 1 else COLUMN_WIDTH
    figure = Figure(figsize=(width, 2.4 if num_rows == 1 else 0.8 + 1.3 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, len(regimes), sharex=alike or "col", sharey="row" if alike else False, squeeze=False)
    for axes, regime in zip(panels[0], regimes, strict=True):
        axes.set_title(title_of(regime), fontsize=8 if len(regimes) < 5 else 7)
    for axes in panels[-1]:
        axes.set_xlabel(x_label)
    for axes in panels[:, 0]:
        axes.set_ylabel(y_label)
    for axes, settings in zip(panels[:, -1], shown.labels, strict=True):
        text = "\n".join(line for setting in settings for line in textwrap.wrap(setting, LABEL_LETTERS))
        axes.annotate(text, (1, 0.5), (6, 0), xycoords="axes fraction", textcoords="offset points", va="center", fontsize=7)
    return figure, panels


def draw_panel(axes: Axes, lines: list[Curve], against: str, scale: Scale) -> None:
    """Draw the curves of one panel and the noise floor below them.

    Args:
        axes: the panel.
        lines: the curves with the numbers of this panel.
        against: column of the numbers that runs along the horizontal axis.
        scale: of that axis.
    """
    scale.apply(axes)
    for line in lines:
        numbers = line.numbers.sort_values(against)
        numbers = numbers.assign(place=scale.place(numbers[against].to_numpy()), infinite=np.isinf(numbers[against]))
        axes.plot(numbers["place"], numbers["noise_std"] ** 2, **FLOOR)
        theory = numbers[numbers["theory"].notna()]
        _draw_theory(axes, theory, line, joined=against not in EVALUATION or len(theory) >= DENSE)
        _draw_points(axes, numbers[numbers["trained"].notna()], line)


def draw_baselines(axes: Axes, numbers: pd.DataFrame, against: str, scale: Scale) -> None:
    """Draw estimators of statistics behind the curves of a panel, on the target task, without moving its limits.

    Args:
        axes: the panel.
        numbers: the numbers of all baselines, the name of each in the column `regime`.
        against: column of the numbers that runs along the horizontal axis.
        scale: of that axis.
    """
    limits = axes.get_ylim()
    for name, style in baseline_styles(numbers).items():
        line = numbers[(numbers["regime"] == name) & (numbers["cosine"] == 1)].sort_values(against)
        axes.plot(scale.place(line[against].to_numpy()), line["trained"], **style)
    axes.set_ylim(limits)


def baseline_styles(numbers: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return how each baseline is drawn, by name.

    Args:
        numbers: the numbers of all baselines.

    Returns:
        Arguments of a line.

    Example:
        >>> list(baseline_styles(pd.DataFrame({"regime": ["ridge", "zero", "ridge"]})))
        ['ridge', 'zero']
    """
    names = list(dict.fromkeys(numbers["regime"]))
    return {name: {"color": "0.55", "linewidth": 0.9, "zorder": 1, "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)}


def _draw_theory(axes: Axes, numbers: pd.DataFrame, line: Curve, *, joined: bool) -> None:
    """Draw the theory as a line if it is to be joined, else, and where the axis is infinite, as dashes of their own."""
    finite, limit = numbers[~numbers["infinite"]], numbers[numbers["infinite"]]
    if joined:
        axes.plot(finite["place"], finite["theory"], color=line.color, linestyle=line.linestyle, zorder=2)
    apart = limit if joined else numbers
    axes.plot(apart["place"], apart["theory"], color=line.color, linestyle="none", marker="_", markersize=9, markeredgewidth=1.2, zorder=2)


def _draw_points(axes: Axes, numbers: pd.DataFrame, line: Curve) -> None:
    """Draw trained models, as many as can be told apart: intervals of the mean as bars, quantiles over seeds as a band."""
    banded = (numbers["spread"] != INTERVAL).to_numpy() & ~numbers["infinite"].to_numpy()
    banded &= banded.sum() > 1
    if banded.any():
        band = numbers[banded]
        axes.fill_between(band["place"], band["trained_lower"], band["trained_upper"], color=line.color, **BAND)
    shown = _legible(axes.xaxis.get_transform().transform(numbers["place"].to_numpy()))
    apart, lengths = numbers[shown], np.where(banded, 0, bars(numbers, "trained"))[:, shown]
    axes.errorbar(apart["place"], apart["trained"], yerr=lengths, color=line.color, marker=line.marker, zorder=3, **POINTS)


def bars(numbers: pd.DataFrame, name: str) -> np.ndarray:
    """Return the lengths of error bars, 0 where a spread is not known.

    Args:
        numbers: the points, with the ends of their spread in the columns `NAME_lower` and `NAME_upper`.
        name: column of the points.

    Returns:
        Two rows, of the lengths below and above.
    """
    lengths = [numbers[name] - numbers[f"{name}_lower"], numbers[f"{name}_upper"] - numbers[name]]
    return np.clip(np.nan_to_num(np.stack(lengths)), 0, None)


def _legible(places: np.ndarray) -> np.ndarray:
    """Which of the sorted places have a point: all of few, else those far enough apart, and the first where they begin at 0."""
    if len(places) <= MOST_POINTS:
        return np.ones(len(places), dtype=bool)
    first = FIRST_POINTS if places[0] == 0 else 0
    chosen, last, gap = np.arange(len(places)) < first, np.inf, np.ptp(places) / MOST_POINTS
    for index in reversed(range(len(places))):
        if last - places[index] >= gap:
            chosen[index], last = True, places[index]
    return chosen
