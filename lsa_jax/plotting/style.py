"""What all figures share: sizes, colours, titles and the interval of a mean."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from lsa_jax.regimes import PAPER

FULL_WIDTH, COLUMN_WIDTH = 6.75, 3.25
"""Widths of an ICML page and of one of its columns in inches."""

STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}
"""Matplotlib settings of every figure: paper-sized."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
"""Okabe and Ito's colour-blind safe colours."""

GREY = "0.35"
"""Colour of what belongs to no curve in a legend."""

LETTER, HANDLE = 0.05, 8
"""Width of a letter of the legend in inches, and of the line before it in letters."""

TITLES = {regime.name: regime.title for regime in PAPER}
"""Panel titles of the paper's regimes, in the order of the panels."""

TASKS = {"target": (BLUE, "o", r"$\theta_0$ (target)"), "opposite": (VERMILION, "s", r"$-\theta_0$ (unseen)")}
"""Colour, marker and label of the two test tasks of the paper."""

LOOKS = {
    TITLES["pretrained"]: (BLACK, "o"),
    TITLES["full"]: (VERMILION, "s"),
    TITLES["value"]: (BLUE, "^"),
    TITLES["value_auxiliary"]: (GREEN, "D"),
    TITLES["value_annealed"]: (PURPLE, "v"),
}
"""Colour and marker of the regimes, where they share a panel."""

MARKS: dict[str, Any] = {"markersize": 3.5, "markerfacecolor": "white", "markeredgewidth": 0.8}
POINTS: dict[str, Any] = {**MARKS, "linestyle": "none", "elinewidth": 0.8}
"""How simulated or trained models are drawn: their marks, and these with error bars."""


def add_legend(figure: Figure, handles: list[Line2D]) -> None:
    """Add a legend above a figure, in as many columns as its width holds.

    Args:
        figure: the figure.
        handles: the entries.
    """
    widths = [LETTER * (len(re.sub(r"\\[a-z]+|[${}_]", "", str(handle.get_label()))) + HANDLE) for handle in handles]
    columns = range(len(widths), 1, -1)
    fitting = (number for number in columns if sum(max(part) for part in np.array_split(widths, number)) <= figure.get_figwidth())
    figure.legend(handles=handles, loc="outside upper center", ncols=next(fitting, 1))


def title_of(regime: str) -> str:
    """Return the panel title of a regime: the paper's, or the name of a user-defined one."""
    return TITLES.get(regime, regime.replace("_", " "))


def regimes_in_order(found: Iterable[str]) -> list[str]:
    """Return regimes in the order of their panels: the paper's, then one's own as they come.

    Args:
        found: names of regimes, repeated or not.

    Returns:
        Each of them once.

    Example:
        >>> regimes_in_order(["gentle", "value", "pretrained", "value"])
        ['pretrained', 'value', 'gentle']
    """
    names = dict.fromkeys(map(str, found))
    return [*(name for name in TITLES if name in names), *(name for name in names if name not in TITLES)]


def confidence_interval(values: pd.Series, level: float = 0.95) -> float:
    """Compute half the width of Student's interval of a mean.

    Args:
        values: independent values, for example one a training seed.
        level: probability to cover the mean.

    Returns:
        Half the width; NaN for fewer than two values.

    Example:
        >>> round(confidence_interval(pd.Series([1.0, 2.0, 3.0])), 3)
        2.484
    """
    return float(half_width(np.array([values.std(ddof=1)]), np.array([len(values)]), level)[0])


def half_width(deviation: np.ndarray, count: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Compute half the widths of Student's intervals of many means.

    Args:
        deviation: sample standard deviations.
        count: numbers of values behind each.
        level: probability to cover a mean.

    Returns:
        Half the widths; NaN where there are fewer than two values.

    Example:
        >>> half_width(np.array([1.0, 1.0]), np.array([3, 1])).round(3)
        array([2.484,   nan])
    """
    several = np.where(count > 1, count, np.nan)
    return stats.t.ppf((1 + level) / 2, several - 1) * deviation / np.sqrt(several)
