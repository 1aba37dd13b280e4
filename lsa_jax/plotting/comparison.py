"""Figures of the comparison of transformers: error curves of every method, and fronts of zero-shot gain against few-shot loss."""

import itertools
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax import estimators
from lsa_jax.plotting.families import set_log_x
from lsa_jax.plotting.panels import FLOOR, bars, baseline_styles
from lsa_jax.plotting.scales import set_error_scale
from lsa_jax.plotting.style import BLACK, BLUE, FULL_WIDTH, GREEN, MARKS, PURPLE, STYLE, TASKS, VERMILION, title_of

LOOKS = {"all": (VERMILION, "s"), "query": (PURPLE, "v"), "key": (GREEN, "D"), "value": (BLUE, "^")}
"""Colour and marker of what is trained, the second part of a method's name."""

LINES: dict[str, Any] = {"zero_shot": "-", "both": "--"}
"""Line of the loss, the first part."""

OVER_PROMPTS = {"mean": "mean", "median": "median over prompts"}
"""What is said on an axis of the error over prompts."""

NAMES = {"zero_shot": "zero-shot loss", "both": "zero-shot + few-shot loss"}
HIGHEST = 30.0
"""Largest error shown, in units of the largest of the pretrained model: the rest has exploded."""


def plot_errors(errors: pd.DataFrame, fronts: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw medians over seeds of the error against shots: a row a transformer, a column what is trained, at each method's best rate.

    Args:
        errors: from `lsa_jax.comparison.fronts.errors`, those by which a transformer is `judged`.
        fronts: from `lsa_jax.comparison.fronts.fronts`; the best rate has the least zero-shot error.
        noise_variance: the floor of every error.

    Returns:
        The figure.
    """
    errors = errors[np.isfinite(errors["evaluation_shots"])]
    shapes = _shapes(fronts)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 0.9 + 1.5 * len(shapes)), layout="constrained")
        panels = figure.subplots(len(shapes), len(LOOKS), sharex=True, sharey="row", squeeze=False)
        for (row, column), axes in np.ndenumerate(panels):
            inside = errors[errors["shape"] == shapes[row]]
            axes.axhline(noise_variance, **FLOOR)
            _draw_baselines(axes, inside, baseline_styles(_baselines(errors)))
            _draw_curves(axes, inside, fronts[fronts["shape"] == shapes[row]], list(LOOKS)[column])
            if row == 0:
                axes.set_title(f"{list(LOOKS)[column]} trained")
            if column == 0:
                axes.set_ylabel(f"{shapes[row]}\n$n$-shot error,\n{OVER_PROMPTS[inside['over_prompts'].iloc[0]]}")
                start = inside.loc[inside["regime"] == "pretrained", "median"].max()
                highest = min(HIGHEST * start, inside["upper"].max())
                set_error_scale(axes, np.array([noise_variance or start / 1000, highest]), logarithmic=True)
        for axes in panels[-1]:
            axes.set_xlabel("number of shots $n$")
        figure.legend(handles=_handles(errors), loc="outside upper center", ncols=5)
    return figure


def plot_fronts(fronts: pd.DataFrame, noise_variance: float) -> Figure:
    """Draw the few-shot error on the unseen task against the zero-shot error on the target, a curve a method along its rates.

    Args:
        fronts: from `lsa_jax.comparison.fronts.fronts`.
        noise_variance: the floor of every error.

    Returns:
        The figure.
    """
    shapes = _shapes(fronts)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.6), layout="constrained")
        panels = figure.subplots(1, len(shapes), sharex=True, sharey=True, squeeze=False)[0]
        for axes, shape in zip(panels, shapes, strict=True):
            inside = fronts[fronts["shape"] == shape]
            start = inside[inside["regime"] == "pretrained"].iloc[0]
            for loss, trained in itertools.product(LINES, LOOKS):
                if f"{loss}_{trained}" in set(inside["regime"]):
                    _draw_front(axes, inside[inside["regime"] == f"{loss}_{trained}"].sort_values("rate"), loss, trained)
            axes.plot(start["zero_shot"], start["few_shot_opposite"], color=BLACK, marker="*", markersize=9, linestyle="none", zorder=4)
            axes.axvline(noise_variance, **FLOOR)
            axes.set_title(shape)
            axes.set_xlabel("zero-shot error on $\\theta_0$,\n" + OVER_PROMPTS[start["over_prompts"]])
        set_log_x(panels[0], np.append(fronts["zero_shot"], noise_variance or fronts["zero_shot"].min()))
        ends = fronts[["few_shot_opposite_lower", "few_shot_opposite_upper"]].to_numpy()
        set_error_scale(panels[0], ends.ravel(), logarithmic=True)
        panels[0].set_ylabel(r"few-shot error on $-\theta_0$, mean")
        handles = [Line2D([], [], color=color, marker=marker, label=name, **MARKS) for name, (color, marker) in LOOKS.items()]
        handles += _losses(fronts)
        handles.append(Line2D([], [], color=BLACK, marker="*", linestyle="none", label="pretrained"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def best_rate(fronts: pd.DataFrame, regime: str) -> float:
    """Return the rate at which a method has the least median zero-shot error, of those at which the fewest seeds diverged.

    Args:
        fronts: those of one transformer.
        regime: the method.

    Returns:
        The rate.

    Example:
        >>> rows = {"regime": "both_all", "rate": [0.1, 1.0], "zero_shot": [0.5, 0.2], "num_diverged": [0, 2]}
        >>> best_rate(pd.DataFrame(rows), "both_all")
        0.1
    """
    rows = fronts[fronts["regime"] == regime]
    return float(rows.sort_values(["num_diverged", "zero_shot"]).iloc[0]["rate"])


def _draw_curves(axes: Axes, errors: pd.DataFrame, fronts: pd.DataFrame, trained: str) -> None:
    """Draw the pretrained model and both methods in one panel."""
    for test_task, (color, _, _) in TASKS.items():
        rows = errors[(errors["regime"] == "pretrained") & (errors["test_task"] == test_task)].sort_values("evaluation_shots")
        axes.plot(rows["evaluation_shots"], rows["median"], color=BLACK, linestyle=":" if test_task == "opposite" else "-", linewidth=0.9)
        for loss, linestyle in LINES.items():
            regime = f"{loss}_{trained}"
            if regime not in set(fronts["regime"]):
                continue
            chosen = (errors["regime"] == regime) & (errors["rate"] == best_rate(fronts, regime)) & (errors["test_task"] == test_task)
            rows = errors[chosen].sort_values("evaluation_shots")
            axes.plot(rows["evaluation_shots"], rows["median"], color=color, linestyle=linestyle)
            axes.fill_between(rows["evaluation_shots"], rows["lower"], rows["upper"], color=color, alpha=0.15, linewidth=0)


def _draw_baselines(axes: Axes, errors: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the baselines of one transformer."""
    for name, rows in _baselines(errors).groupby("regime", sort=False):
        target = rows[rows["test_task"] == "target"].sort_values("evaluation_shots")
        axes.plot(target["evaluation_shots"], target["median"], **styles[str(name)])


def _draw_front(axes: Axes, rows: pd.DataFrame, loss: str, trained: str) -> None:
    """Draw one method along its rates, with quartiles over seeds."""
    color, marker = LOOKS[trained]
    x, y = rows["zero_shot"], rows["few_shot_opposite"]
    axes.errorbar(x, y, yerr=bars(rows, "few_shot_opposite"), color=color, marker=marker, linestyle=LINES[loss], elinewidth=0.6, **MARKS)


def _baselines(errors: pd.DataFrame) -> pd.DataFrame:
    """The rows of estimators, of descent those with as many steps as there are layers."""
    names, own = errors["regime"].astype(str), "descent_" + errors["layers"].astype(str)
    return errors[names.map(estimators.is_baseline) & (~names.str.startswith("descent") | (names == own))]


def _handles(errors: pd.DataFrame) -> list[Line2D]:
    """The legend: tasks, losses, the pretrained model and the baselines."""
    handles = [Line2D([], [], color=color, label=label) for color, _, label in TASKS.values()]
    handles += _losses(errors)
    handles.append(Line2D([], [], color=BLACK, linewidth=0.9, label=r"pretrained ($-\theta_0$ dotted)"))
    return handles + [Line2D([], [], label=title_of(name), **style) for name, style in baseline_styles(_baselines(errors)).items()]


def _shapes(fronts: pd.DataFrame) -> list[str]:
    """The transformers, linear ones first, by their layers."""
    return list(dict.fromkeys(fronts.sort_values(["attention", "layers"], kind="stable")["shape"]))


def _losses(rows: pd.DataFrame) -> list[Line2D]:
    """The losses of the methods there are, for the legend."""
    used = [loss for loss in LINES if rows["regime"].astype(str).str.startswith(loss).any()]
    return [Line2D([], [], color="0.35", linestyle=LINES[loss], label=NAMES[loss]) for loss in used]
