"""Figures from stored records: computes no result and writes no file."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from scipy import stats

FULL_WIDTH = 6.75
"""Width of an ICML page in inches."""

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

BLUE, VERMILION = "#0072B2", "#D55E00"
"""Two colours of Okabe and Ito's colour-blind safe set."""

TITLES = {
    "pretrained": "(a) pretrained",
    "full": "(b) full",
    "value": "(c) value",
    "value_auxiliary": "(d) value + auxiliary",
    "value_annealed": "value, annealed",
}
TASKS = {"target": (BLUE, "o", r"$\theta_0$ (target)"), "opposite": (VERMILION, "s", r"$-\theta_0$ (unseen)")}


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
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def plot_regimes(curves: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw error against shots, one panel a regime: theory as lines, trained models as points with 95 % intervals.

    Args:
        curves: records with the columns regime, seed, test_task, evaluation_shots, source (`closed_form`, `trained` or `simulated`)
            and risk.
        noise_variance: the floor of every error, drawn as a thin line.

    Returns:
        The figure.
    """
    regimes = list(dict.fromkeys(curves["regime"]))
    with mpl.rc_context(STYLE):
        figure, panels = plt.subplots(
            1, len(regimes), figsize=(FULL_WIDTH, 2.3), sharex=True, sharey=True, squeeze=False, layout="constrained"
        )
        for axes, regime in zip(panels[0], regimes, strict=True):
            axes.set_title(TITLES[regime])
            if noise_variance:
                axes.axhline(noise_variance, color="0.6", linewidth=0.8, zorder=0)
            for test_task in TASKS:
                chosen = curves[(curves["regime"] == regime) & (curves["test_task"] == test_task)]
                _draw_task(axes, chosen, test_task)
            axes.set_xlabel("number of shots $n$")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        if noise_variance:
            panels[0][0].annotate(
                r"noise floor $\sigma^2$",
                (1, noise_variance),
                (0, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                fontsize=7,
            )
        panels[0][0].set_ylabel("$n$-shot error")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _draw_task(axes: Axes, curves: pd.DataFrame, test_task: str) -> None:
    """Draw the theory line and the trained points of one regime on one test task."""
    color, marker, label = TASKS[test_task]
    finite = curves[np.isfinite(curves["evaluation_shots"])]
    theory = finite[finite["source"] == "closed_form"].groupby("evaluation_shots")["risk"].mean()
    style = "-" if test_task == "target" else "--"
    axes.plot(theory.index, theory, color=color, linestyle=style, zorder=3, label=f"theory, {label}")
    trained = finite[finite["source"] == "trained"]
    if trained.empty:
        return
    by_shots = trained.groupby("evaluation_shots")["risk"]
    points = pd.DataFrame({"mean": by_shots.mean(), "interval": by_shots.agg(confidence_interval)})
    points = points[points.index.isin(_legible(points.index.to_numpy()))]
    axes.errorbar(
        points.index,
        points["mean"],
        yerr=np.nan_to_num(points["interval"]),
        color=color,
        marker=marker,
        markersize=3.5,
        markerfacecolor="white",
        markeredgewidth=0.8,
        linestyle="none",
        elinewidth=0.8,
        label=f"trained, {label}",
    )


def _legible(shots: np.ndarray) -> np.ndarray:
    """The numbers of shots whose points are drawn: all of the first few, then about ten over the rest."""
    stride = max(1, round(shots.max() / 10))
    return shots[(shots <= 3) | (shots % stride == 0)]
