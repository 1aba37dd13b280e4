"""Figures of the studies that are no family of curves: the trade-off, the phase diagrams and the training paths."""

import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lsa_jax.plotting.families import line_looks, set_log_x
from lsa_jax.plotting.scales import set_error_scale
from lsa_jax.plotting.style import FULL_WIDTH, LOOKS, STYLE, TITLES

ENTRIES = {"w": "$w$", "value_label": "$v_y$", "bias": "$Q_{00}$", "block": r"$\mathrm{tr}\,Q_{xx}/d$"}
AXIS_NAMES = {"dim": "dimension $d$", "noise_std": r"noise $\sigma$"}


def plot_tradeoff(models: pd.DataFrame) -> Figure:
    """Draw what zero-shot gains cost unseen tasks, and what the target task costs them.

    Args:
        models: records with the columns kind, name, zero_shot, target and unseen, see `lsa_jax.studies.tradeoffs.tradeoff`.

    Returns:
        The figure.
    """
    panels = [
        ("zero_shot", "zero-shot curve", r"zero-shot error on $\theta_0$", r"$v = (0, t\,v_x, v_y)$"),
        ("target", "scale curve", r"few-shot error on $\theta_0$", r"$v_y = w$"),
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.6), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for one, (column, kind, label, name) in zip(axes, panels, strict=True):
            curve = models[models["kind"] == kind]
            one.plot(curve[column], curve["unseen"], color="0.6", zorder=1)
            one.annotate(
                name, (curve[column].iloc[-1], curve["unseen"].iloc[-1]), (3, 0), textcoords="offset points", fontsize=7, color="0.4"
            )
            _draw_models(one, models, column)
            one.set_xlabel(label)
            set_log_x(one, models[column].to_numpy())
            set_error_scale(one, models["unseen"].to_numpy(), logarithmic=True)
        axes[0].set_ylabel(r"few-shot error on $-\theta_0$")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _draw_models(axes: Axes, models: pd.DataFrame, column: str) -> None:
    """Draw the optimum of each regime as a filled point, and around it its trained models as open ones."""
    for regime, title in TITLES.items():
        color, marker = LOOKS[title]
        optimum, trained = (models[(models["kind"] == kind) & (models["name"] == regime)] for kind in ("optimum", "trained"))
        if optimum.empty:
            continue
        looks: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none"}
        axes.plot(optimum[column], optimum["unseen"], **looks, markersize=3, label=title, zorder=2)
        axes.plot(trained[column], trained["unseen"], **looks, markersize=7, markerfacecolor="none", markeredgewidth=0.6, zorder=3)


def plot_phases(table: pd.DataFrame) -> Figure:
    """Draw which regime is best on a mixture of target and unseen tasks, over (d, n) and over (σ, n).

    Args:
        table: records with the columns against, level, shots, mixture and best, see `lsa_jax.studies.tradeoffs.phases`.

    Returns:
        The figure.
    """
    mixtures, regimes = sorted(table["mixture"].unique()), [name for name in TITLES if name in set(table["best"])]
    colors = ListedColormap([mpl.colors.to_rgba(LOOKS[TITLES[name]][0], 0.75) for name in regimes])
    rows = list(dict.fromkeys(table["against"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 4.0), layout="constrained")
        axes = figure.subplots(len(rows), len(mixtures), sharey=True, squeeze=False)
        for line, against in zip(axes, rows, strict=True):
            for one, mixture in zip(line, mixtures, strict=True):
                chosen = table[(table["against"] == against) & (table["mixture"] == mixture)]
                codes = chosen.assign(code=[regimes.index(name) for name in chosen["best"]])
                grid = codes.pivot_table(index="shots", columns="level", values="code")
                one.pcolormesh(
                    grid.columns, grid.index, grid, cmap=colors, vmin=-0.5, vmax=len(regimes) - 0.5, shading="nearest", rasterized=True
                )
                _draw_boundaries(one, chosen, regimes)
                one.set_title(f"{mixture:.0%} target, {1 - mixture:.0%} unseen tasks")
                one.set_xlabel(AXIS_NAMES[against])
            line[0].set_ylabel("number of shots $n$")
        patches = [Patch(color=colors(place), label=TITLES[name]) for place, name in enumerate(regimes)]
        figure.legend(handles=patches, loc="outside upper center", ncols=len(patches))
    return figure


def _draw_boundaries(axes: Axes, table: pd.DataFrame, regimes: list[str]) -> None:
    """Draw where the risks of two regimes are equal, near where one of them is the best."""
    for one, other in itertools.combinations(regimes, 2):
        near = table.assign(gap=(table[one] - table[other]).where(table["best"].isin([one, other])))
        grid = near.pivot_table(index="shots", columns="level", values="gap", dropna=False)
        if (grid < 0).any(axis=None) and (grid > 0).any(axis=None):
            axes.contour(grid.columns, grid.index, grid, levels=[0], colors="white", linewidths=1.0)


def plot_paths(table: pd.DataFrame) -> Figure:
    r"""Draw paths of full fine-tuning: towards $Q_{00} = 1/w$, the fate of $Q_{xx}$, and all entries against time for one start.

    Args:
        table: records with the columns conserved, time, w, value_label, bias, block, error and w_end, see
            `lsa_jax.studies.trajectories.paths`.

    Returns:
        The figure.
    """
    starts = list(dict.fromkeys(table["conserved"]))
    names = [f"$C = {value:g}$" for value in starts]
    looks = line_looks(names)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.5), layout="constrained")
        (plane, block, time) = figure.subplots(1, 3)
        scales = np.geomspace(0.9 * table["w_end"].min(), 1.1 * table["w_end"].max(), 200)
        plane.plot(scales, 1 / scales, color="0.7", linestyle="--", label="$Q_{00} = 1/w$")
        for start, name in zip(starts, names, strict=True):
            path = table[table["conserved"] == start]
            color = looks[name][0]
            plane.plot(path["w"], path["bias"], color=color, label=name)
            plane.plot(path["w_end"].iloc[0], 1 / path["w_end"].iloc[0], color=color, marker="*", markersize=8, linestyle="none")
            block.plot(path["w"], path["block"], color=color)
        plane.set(xlabel=r"$w$ ($v_x = w\theta_0$)", ylabel="$Q_{00}$")
        block.set(xlabel="$w$", ylabel=r"$\mathrm{tr}\,Q_{xx}/d$")
        published = table[table["conserved"] == starts[len(starts) // 2]]
        for column, label, style in (
            ("w", "$w$", "-"),
            ("value_label", "$v_y$", ":"),
            ("bias", "$Q_{00}$", "--"),
            ("block", r"$\mathrm{tr}\,Q_{xx}/d$", "-."),
        ):
            time.plot(published["time"], published[column], label=label, color="black", linestyle=style)
        time.set(xlabel=f"time, start with {names[len(starts) // 2]}")
        time.set_ylim(top=1.4 * time.get_ylim()[1])
        time.legend(loc="upper left", ncols=2, handlelength=2.2)
        figure.legend(*plane.get_legend_handles_labels(), loc="outside upper center", ncols=len(names) + 1)
    return figure
