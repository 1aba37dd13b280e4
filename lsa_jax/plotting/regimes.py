"""The paper's figure: error against shots, one panel per regime."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from lsa_jax.plotting.style import FULL_WIDTH, POINTS, STYLE, TASKS, confidence_interval, title_of


def plot_regimes(curves: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw error against shots, one panel per regime: theory as lines, trained models as points with 95 % intervals.

    Args:
        curves: records with the columns regime, seed, test_task, evaluation_shots, source (`closed_form`, `trained` or `simulated`)
            and risk.
        noise_variance: the floor of every error, drawn as a thin line.

    Returns:
        The figure.
    """
    regimes = list(dict.fromkeys(curves["regime"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.3), layout="constrained")
        panels = figure.subplots(1, len(regimes), sharex=True, sharey=True, squeeze=False)
        for axes, regime in zip(panels[0], regimes, strict=True):
            axes.set_title(title_of(regime))
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
        label=f"trained, {label}",
        **POINTS,
    )


def _legible(shots: np.ndarray) -> np.ndarray:
    """The numbers of shots whose points are drawn: all of the first few, then about ten over the rest."""
    stride = max(1, round(shots.max() / 10))
    return shots[(shots <= 3) | (shots % stride == 0)]
