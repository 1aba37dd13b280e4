"""The figure of full fine-tuning in time: what it gains and forgets when, and what stopping early costs."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsa_jax.plotting.families import set_log_x
from lsa_jax.plotting.style import BLACK, FULL_WIDTH, LOOKS, POINTS, STYLE, TASKS, TITLES

ERRORS = {
    "zero_shot": (TASKS["target"][0], "--", "D", r"zero-shot, $\theta_0$"),
    "target": (TASKS["target"][0], "-", TASKS["target"][1], r"few-shot, $\theta_0$"),
    "opposite": (TASKS["opposite"][0], "-", TASKS["opposite"][1], r"few-shot, $-\theta_0$"),
    "prior": (BLACK, "-", "^", "few-shot, prior"),
}
"""Colour, dashes, marker and name of each error."""

PATHS = {"flow": ("full", "-"), "value": ("value", "--")}
"""Regime whose colour a path has, and its dashes."""

TOLD = (20.0, 30.0, 35.0)
"""Times that are written beside the path of the flow."""


def plot_forgetting(table: pd.DataFrame) -> Figure:
    """Draw errors against time with trained models on them, and the few-shot error on the prior against the zero-shot error.

    Args:
        table: records with the columns kind, time, zero_shot, target, opposite, prior and lost, see `lsa_jax.studies.training.forgetting`.

    Returns:
        The figure.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.6), layout="constrained")
        time, price = figure.subplots(1, 2, width_ratios=[3, 2])
        _draw_time(time, table)
        _draw_price(price, table)
        figure.legend(*time.get_legend_handles_labels(), loc="outside upper center", ncols=len(ERRORS))
    return figure


def _draw_time(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the errors of the flow, and the means of trained models with twice their standard errors."""
    flow, trained = (table[(table["kind"] == kind) & (table["time"] > 0)] for kind in ("flow", "trained"))
    seen = trained.groupby("time")
    for name, (color, dashes, marker, label) in ERRORS.items():
        axes.plot(flow["time"], flow[name], color=color, linestyle=dashes, label=label)
        axes.errorbar(seen["time"].first(), seen[name].mean(), yerr=2 * seen[name].sem(), color=color, marker=marker, **POINTS)
    axes.axvline(table["lost"].iloc[0], color="0.5", linestyle=":", linewidth=0.8)
    axes.set(xlabel="time of gradient flow", ylabel="error", ylim=(0, None))
    set_log_x(axes, flow["time"].to_numpy())


def _draw_price(axes: Axes, table: pd.DataFrame) -> None:
    """Draw what zero-shot error is to be had at what few-shot error on the prior, by stopping early."""
    for kind, (regime, dashes) in PATHS.items():
        path = table[table["kind"] == kind]
        color, marker = LOOKS[TITLES[regime]]
        axes.plot(path["zero_shot"], path["prior"], color=color, linestyle=dashes, label=TITLES[regime])
        axes.plot(path["zero_shot"].iloc[-1], path["prior"].iloc[-1], color=color, marker=marker, markersize=4, linestyle="none")
    flow = table[table["kind"] == "flow"]
    for time in TOLD:
        point = flow.iloc[(flow["time"] - time).abs().argmin()][["zero_shot", "prior"]]
        axes.plot(*point, color=LOOKS[TITLES["full"]][0], marker=".", linestyle="none")
        axes.annotate(f"$t = {time:g}$", tuple(point), (4, 1), textcoords="offset points", fontsize=7, color="0.4")
    axes.set(xlabel=r"zero-shot error on $\theta_0$", ylabel="few-shot error on the prior", ylim=(0, None))
    axes.legend(loc="upper right")
