"""The figure of the language-model experiment: few-shot against zero-shot accuracy, in and out of domain."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lsa_jax.errors import InputError
from lsa_jax.plotting.style import BLACK, BLUE, FULL_WIDTH, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILION, half_width

BASE = "base"
DOMAINS = {"in": "in domain", "out": "out of domain"}
CATEGORY_TITLES = {"humanities": "Humanities", "stem": "STEM", "social_sciences": "Social sciences", "other": "Other"}
TARGET_COLORS = {"qkv": VERMILION, "v": BLUE, "q": ORANGE, "k": GREEN, "qk": PURPLE}
LOSS_LOOKS = {"zero_shot": ("-", "o", "zero-shot loss"), "mixture": ("--", "s", "zero-shot + few-shot")}
OTHER_LOOKS = [(":", "^"), ("-.", "D"), ((0, (5, 1, 1, 1, 1, 1)), "v")]
NORMAL_QUANTILE = 1.96


def plot_zero_against_few(accuracies: pd.DataFrame, few_shots: int) -> Figure:
    """Draw few-shot accuracy against zero-shot accuracy, a path from the base model over the checkpoints of each run.

    A path is the mean over seeds; its last checkpoint is a filled mark with 95 % intervals in both directions, the others are open ones
    with thin intervals. Dotted lines are the accuracies of the base model.

    Args:
        accuracies: a row a setting with the columns targets, loss, step, domain (`in` or `out`), category, shots, accuracy,
            question_error, seed_error and num_seeds, see `lsa_jax.lm.accuracy.accuracy`; of one method and format. A panel is drawn for
            each category.
        few_shots: number of shots on the vertical axis.

    Returns:
        The figure.

    Raises:
        InputError: if there are no such accuracies, or none of the base model.
    """
    points = _points(accuracies, few_shots)
    panels = list(dict.fromkeys(sorted(zip(points["domain"], points["category"], strict=True), key=lambda one: one[0] != "in")))
    looks = _looks(points)
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(FULL_WIDTH, 2.9), squeeze=False, layout="constrained")
        for one, (domain, category) in zip(axes[0], panels, strict=True):
            chosen = points[(points["domain"] == domain) & (points["category"] == category)]
            _draw_panel(one, chosen, looks)
            one.set_title(f"{CATEGORY_TITLES.get(category, category)} ({DOMAINS.get(domain, domain)})")
            one.set_xlabel("zero-shot accuracy")
        axes[0][0].set_ylabel(f"{few_shots}-shot accuracy")
        handles = [
            Line2D([], [], color=color, linestyle=line, marker=mark, markersize=4, label=name) for color, line, mark, name in looks.values()
        ]
        star = Line2D([], [], color=BLACK, marker="*", markersize=8, linestyle="none", label="base model")
        figure.legend(handles=[star, *handles], loc="outside upper center", ncols=min(4, len(handles) + 1))
    return figure


def _points(accuracies: pd.DataFrame, few_shots: int) -> pd.DataFrame:
    """A row a model and category, with accuracies and half widths of intervals for both numbers of shots."""
    for name in ("method", "format"):
        if name in accuracies and accuracies[name].nunique() > 1:
            raise InputError(f"the accuracies are of several {name}s ({', '.join(sorted(accuracies[name].unique()))}): draw one at a time")
    table = accuracies.assign(interval=_interval(accuracies))
    keys = ["domain", "category", "targets", "loss", "step"]
    sides = [table[table["shots"] == shots].set_index(keys)[["accuracy", "interval"]] for shots in (0, few_shots)]
    points = pd.merge(*sides, left_index=True, right_index=True, suffixes=("_zero", "_few")).reset_index().sort_values("step")
    if points.empty or few_shots == 0:
        found = ", ".join(str(shots) for shots in sorted(accuracies["shots"].unique()))
        raise InputError(
            f"there are no accuracies at both 0 and {few_shots} shots; there are some at {found}: choose another number of shots"
        )
    for domain, category in points[["domain", "category"]].drop_duplicates().itertuples(index=False):
        if not ((points["targets"] == BASE) & (points["domain"] == domain) & (points["category"] == category)).any():
            raise InputError(f"there are no accuracies of the base model on {category}: evaluate it too")
    return points


def _interval(table: pd.DataFrame) -> np.ndarray:
    """Half widths of 95 % intervals: normal over questions and Student's over seeds, joined as independent."""
    count = table["num_seeds"].to_numpy()
    seeds = half_width(table["seed_error"].to_numpy() * np.sqrt(count), count)
    return np.hypot(NORMAL_QUANTILE * table["question_error"].to_numpy(), np.nan_to_num(seeds))


def _looks(points: pd.DataFrame) -> dict[tuple[str, str], tuple[Any, Any, str, str]]:
    """Colour, line, mark and label of each run: a colour a target set, a line and mark a loss."""
    tuned = points[points["targets"] != BASE]
    targets, losses = (
        [*known, *sorted(set(tuned[name]) - set(known))] for name, known in (("targets", TARGET_COLORS), ("loss", LOSS_LOOKS))
    )
    colors = {name: TARGET_COLORS.get(name, (SKY, "0.4", "0.7")[place % 3]) for place, name in enumerate(targets)}
    lines = {name: LOSS_LOOKS.get(name, (*OTHER_LOOKS[place % len(OTHER_LOOKS)], name)) for place, name in enumerate(losses)}
    found = sorted(set(zip(tuned["targets"], tuned["loss"], strict=True)), key=lambda one: (losses.index(one[1]), targets.index(one[0])))
    return {(target, loss): (colors[target], *lines[loss][:2], f"{target}, {lines[loss][2]}") for target, loss in found}


def _draw_panel(axes: Axes, points: pd.DataFrame, looks: dict[tuple[str, str], tuple[Any, Any, str, str]]) -> None:
    """Draw the base model and the path of every run."""
    base = points[points["targets"] == BASE].iloc[0]
    axes.axvline(base["accuracy_zero"], color="0.7", linestyle=":", linewidth=0.8, zorder=0)
    axes.axhline(base["accuracy_few"], color="0.7", linestyle=":", linewidth=0.8, zorder=0)
    for (target, loss), (color, line, mark, _) in looks.items():
        path = points[(points["targets"] == target) & (points["loss"] == loss)]
        if path.empty:
            continue
        x, y = ([base[name], *path[name]] for name in ("accuracy_zero", "accuracy_few"))
        axes.plot(x, y, color=color, linestyle=line, linewidth=1.0, zorder=2)
        _draw_crosses(axes, path.iloc[:-1], {"color": color, "marker": mark, "markersize": 2.5, "markerfacecolor": "white", "alpha": 0.35})
        _draw_crosses(axes, path.iloc[-1:], {"color": color, "marker": mark, "markersize": 5, "zorder": 4})
    _draw_crosses(axes, base.to_frame().T, {"color": BLACK, "marker": "*", "markersize": 9, "zorder": 5})
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _draw_crosses(axes: Axes, points: pd.DataFrame, look: dict[str, Any]) -> None:
    """Draw points with their intervals in both directions, cut at 0 and 1."""
    values = {side: points[f"accuracy_{side}"].to_numpy(float) for side in ("zero", "few")}
    widths = {side: points[f"interval_{side}"].to_numpy(float) for side in values}
    cut = {side: np.minimum(widths[side], [values[side], 1 - values[side]]) for side in values}
    drawn: dict[str, Any] = {"xerr": cut["zero"], "yerr": cut["few"], "linestyle": "none", "elinewidth": 0.6, "markeredgewidth": 0.7}
    axes.errorbar(values["zero"], values["few"], **drawn, **look)
