"""What is drawn inside one panel: the noise floor, theory as lines and trained models as points."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lsa_jax.plotting.curves import Curve
from lsa_jax.plotting.scales import Scale
from lsa_jax.plotting.style import POINTS
from lsa_jax.plotting.summaries import EVALUATION

FIRST_POINTS, MOST_POINTS = 4, 12
"""Points that are always drawn, and those along the width of a panel that can be told apart."""

DENSE = 5
"""Places from which on theory is joined by a line over shots or cosines: a line through fewer says what was not computed."""

DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
"""Dashes of baselines, told apart in grey."""

FLOOR: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": "-", "zorder": 0}
"""How the noise floor is drawn."""


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
    """Draw trained models, as many as can be told apart."""
    apart = numbers[_legible(axes.xaxis.get_transform().transform(numbers["place"].to_numpy()))]
    axes.errorbar(
        apart["place"],
        apart["trained"],
        yerr=np.nan_to_num(apart["half_width"]),
        color=line.color,
        marker=line.marker,
        zorder=3,
        **POINTS,
    )


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
