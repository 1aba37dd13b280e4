"""Figures of training: losses against steps, one column per regime, one row per setting, one line per model that branches there."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax.errors import InputError
from lsa_jax.plotting.curves import evenly, facets
from lsa_jax.plotting.families import line_looks
from lsa_jax.plotting.panels import BAND, regime_grid
from lsa_jax.plotting.scales import set_error_scale
from lsa_jax.plotting.style import GREY, STYLE, add_legend, regimes_in_order
from lsa_jax.plotting.summaries import Levels, axes_of, over_seeds, spread_name, varying

STEP = "step"
"""What losses are drawn against."""

MAX_LINES = 5
OF_HISTORY = ("branch", STEP, "loss")


def history_numbers(histories: pd.DataFrame, quantiles: Levels | None = None) -> pd.DataFrame:
    """Summarise losses over seeds; those of models that diverged are left out.

    Args:
        histories: from `lsa_jax.load_histories`.
        quantiles: two levels; then medians and these quantiles over seeds, instead of means and Student's 95 % intervals.

    Returns:
        One row a setting, model and step: the axes that vary, regime, branch, step, `trained` (the loss) with its ends `trained_lower`
        and `trained_upper`, spread and num_seeds.

    Raises:
        InputError: if every model diverged, or the levels are not 0 to 1 and rising.

    Example:
        >>> run = {"regime": "value", "branch": "value", "step": 10, "diverged": [False, False, True]}
        >>> losses = pd.DataFrame({**run, "seed": [0, 1, 2], "loss": [1.0, 2.0, 90.0]})
        >>> history_numbers(losses)[["trained", "num_seeds"]].to_numpy().tolist()
        [[1.5, 2.0]]
    """
    kept = histories[~histories["diverged"]]
    if kept.empty:
        raise InputError("every model diverged; at least one must not: take a smaller learning_rate, or more steps")
    settings = [name for name in axes_of(histories) if name not in OF_HISTORY]
    keys = [*varying(histories, settings), "regime", "branch", STEP]
    losses = kept.groupby(keys, observed=True, sort=False)["loss"]
    return over_seeds(losses, quantiles).assign(spread=spread_name(quantiles)).reset_index()


def plot_history(numbers: pd.DataFrame) -> Figure:
    """Draw losses against steps on logarithmic axes of loss: a band is the spread over seeds, a line one model, lighter as its knob rises.

    At most five models of a regime and four combinations of the other axes are drawn, evenly chosen.

    Args:
        numbers: from `history_numbers`.

    Returns:
        The figure.
    """
    shown, regimes = facets(numbers.drop(columns="branch"), STEP), regimes_in_order(numbers["regime"])
    branches = {regime: evenly(list(dict.fromkeys(numbers.loc[numbers["regime"] == regime, "branch"])), MAX_LINES) for regime in regimes}
    with mpl.rc_context(STYLE):
        figure, panels = regime_grid(regimes, shown, "step", "training loss", alike=False)
        for (row, column), axes in np.ndenumerate(panels):
            wanted = shown.drawn.iloc[row]
            inside = numbers[(numbers[shown.axes] == wanted[shown.axes]).all(axis=1) & (numbers["regime"] == regimes[column])]
            _draw_panel(axes, inside, branches[regimes[column]])
        for axes, regime in zip(panels[0], regimes, strict=True):
            axes.set_title(axes.get_title() + _ends(branches[regime]), fontsize=7)
        if numbers["num_seeds"].max() > 1:
            add_legend(figure, [Line2D([], [], color=GREY, label=str(numbers["spread"].iloc[0]))])
    return figure


def _ends(branches: list[str]) -> str:
    """What tells the models of a regime apart, where there are several."""
    if len(branches) == 1:
        return ""
    first, last = (" ".join(f"{float(value):.3g}" for value in branch.split()[1:]) for branch in (branches[0], branches[-1]))
    return f"\ndark {first}, light {last}"


def _draw_panel(axes: Axes, numbers: pd.DataFrame, branches: list[str]) -> None:
    """Draw the models of one regime, from dark to light."""
    looks = line_looks(branches)
    for branch in branches:
        line, (color, _) = numbers[numbers["branch"] == branch].sort_values(STEP), looks[branch]
        axes.plot(line[STEP], line["trained"], color=color, linewidth=1.0)
        axes.fill_between(line[STEP], line["trained_lower"], line["trained_upper"], color=color, **BAND)
    set_error_scale(axes, numbers.loc[numbers["branch"].isin(branches), "trained"].to_numpy(), logarithmic=True)
