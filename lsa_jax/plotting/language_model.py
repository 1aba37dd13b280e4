"""The figure of the language-model experiment: few-shot against zero-shot accuracy, in and out of domain."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
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
CHANCE = 0.25
"""Accuracy of guessing one of four letters."""
CHANCE_LOOK: dict[str, Any] = {"color": "0.45", "linestyle": (0, (1, 2)), "linewidth": 0.9, "zorder": 0}
SEEDS = ["seed", "data_seed"]
RECIPE = (
    *("model", "rank", "alpha", "learning_rate", "training_shots", "batch_size", "epochs", "epoch_steps", "num_training"),
    *("training_dtype", "reasoning"),
)
"""What tells models apart, and what must not differ in one figure."""


def plot_zero_against_few(accuracies: pd.DataFrame, few_shots: int, asked: Mapping[str, str] | None = None) -> Figure:
    """Draw few-shot accuracy against zero-shot accuracy, a path from the base model over the checkpoints of each run.

    A path is the mean over models; its last checkpoint is a filled mark, the others are open ones, and small dots are the last checkpoints
    of the single models. Grey lines are the accuracies of the base model, dotted ones those of guessing. How well changes are known is for
    `lsa_jax.plotting.changes.plot_changes` to show.

    Args:
        accuracies: a row a model with the columns targets, loss, step, domain (`in` or `out`), category, shots and accuracy, see
            `lsa_jax.lm.accuracy.by_model`; of one method, format and recipe. A panel is drawn for each category.
        few_shots: number of shots on the vertical axis.
        asked: what is asked without shots in each category, where that is something else than with them.

    Returns:
        The figure; no axis goes below 0 or above 1.

    Raises:
        InputError: if there are no such accuracies, none of the base model, or some of several recipes.
    """
    points = _points(accuracies, few_shots)
    panels = list(dict.fromkeys(sorted(zip(points["domain"], points["category"], strict=True), key=lambda one: one[0] != "in")))
    looks = _looks(points)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 3.1), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)
        for one, (domain, category) in zip(axes[0], panels, strict=True):
            chosen = points[(points["domain"] == domain) & (points["category"] == category)]
            _draw_panel(one, chosen, looks)
            one.set(xlim=_limits(points["accuracy_zero"]), ylim=_limits(points["accuracy_few"]))
            one.set_title(f"{category_title(category)} ({DOMAINS.get(domain, domain)})")
            one.set_xlabel(f"zero-shot accuracy, {asked[category]}" if asked else "zero-shot accuracy")
        axes[0][0].set_ylabel(f"{few_shots}-shot accuracy")
        colors = {target: look[0] for (target, _), look in looks.items()}
        lines = {name: (line, mark) for _, line, mark, name in looks.values()}
        handles = [Line2D([], [], color=color, label=target) for target, color in colors.items()]
        handles += [
            Line2D([], [], color="0.4", linestyle=line, marker=mark, markersize=4, label=name) for name, (line, mark) in lines.items()
        ]
        star = Line2D([], [], color=BLACK, marker="*", markersize=8, linestyle="none", label="base model")
        guess = Line2D([], [], label="chance", **CHANCE_LOOK)
        figure.legend(handles=[star, guess, *handles], loc="outside upper center", ncols=min(4, len(handles) + 2))
    return figure


def category_title(category: str) -> str:
    """Return how a category is called in a figure."""
    return CATEGORY_TITLES.get(category, category)


def interval(table: pd.DataFrame) -> np.ndarray:
    """Compute half widths of 95 % intervals: normal over questions and Student's over models, joined as independent.

    Args:
        table: with question_error, seed_error and num_seeds, see `lsa_jax.lm.accuracy.accuracy`.

    Returns:
        One a row.
    """
    count = table["num_seeds"].to_numpy()
    seeds = half_width(table["seed_error"].to_numpy(float) * np.sqrt(count), count)
    return np.hypot(NORMAL_QUANTILE * np.nan_to_num(table["question_error"].to_numpy(float)), np.nan_to_num(seeds))


def check_alike(table: pd.DataFrame) -> None:
    """Refuse to draw together what was measured in several ways, or models of several recipes.

    Args:
        table: of accuracies or changes.

    Raises:
        InputError: if they differ; the message says in what.
    """
    tuned = table[table["targets"] != BASE]
    for name in ("method", "format", *RECIPE):
        values = (tuned if name in RECIPE else table)[name].unique() if name in table else []
        if len(values) > 1:
            told = f"{name.replace('_', ' ')}s ({', '.join(sorted(map(str, values)))})"
            raise InputError(f"the accuracies are of several {told}: draw one at a time, for example with --select {name}={values[0]}")


def _points(accuracies: pd.DataFrame, few_shots: int) -> pd.DataFrame:
    """A row a model, step and category, with accuracies for both numbers of shots."""
    check_alike(accuracies)
    keys = ["domain", "category", "targets", "loss", "step", *SEEDS]
    sides = [accuracies[accuracies["shots"] == shots].set_index(keys)[["accuracy"]] for shots in (0, few_shots)]
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


def _limits(values: pd.Series) -> tuple[float, float]:
    """Ends of an axis: around all values, within 0 and 1."""
    margin = 0.02 + 0.05 * float(values.max() - values.min())
    return max(0.0, float(values.min()) - margin), min(1.0, float(values.max()) + margin)


def _looks(points: pd.DataFrame) -> dict[tuple[str, str], tuple[Any, Any, str, str]]:
    """Colour, line, mark and name of the loss of each run: a colour a target set, a line and mark a loss."""
    tuned = points[points["targets"] != BASE]
    targets, losses = (
        [*known, *sorted(set(tuned[name]) - set(known))] for name, known in (("targets", TARGET_COLORS), ("loss", LOSS_LOOKS))
    )
    colors = {name: TARGET_COLORS.get(name, (SKY, "0.4", "0.7")[place % 3]) for place, name in enumerate(targets)}
    lines = {name: LOSS_LOOKS.get(name, (*OTHER_LOOKS[place % len(OTHER_LOOKS)], name)) for place, name in enumerate(losses)}
    found = sorted(set(zip(tuned["targets"], tuned["loss"], strict=True)), key=lambda one: (losses.index(one[1]), targets.index(one[0])))
    return {(target, loss): (colors[target], *lines[loss]) for target, loss in found}


def _draw_panel(axes: Axes, points: pd.DataFrame, looks: dict[tuple[str, str], tuple[Any, Any, str, str]]) -> None:
    """Draw the base model and the path of every run, with the single models at its end."""
    sides = ["accuracy_zero", "accuracy_few"]
    base = points.loc[points["targets"] == BASE, sides].mean()
    for draw_line, name in ((axes.axvline, "accuracy_zero"), (axes.axhline, "accuracy_few")):
        draw_line(base[name], color="0.8", linewidth=0.8, zorder=0)
        draw_line(CHANCE, **CHANCE_LOOK)
    for (target, loss), (color, line, mark, _) in looks.items():
        models = points[(points["targets"] == target) & (points["loss"] == loss)]
        if models.empty:
            continue
        path = models.groupby("step")[sides].mean()
        x, y = ([base[name], *path[name]] for name in sides)
        axes.plot(x, y, color=color, linestyle=line, linewidth=1.0, zorder=2, clip_on=False)
        look: dict[str, Any] = {"color": color, "marker": mark, "clip_on": False}
        if len(x) > 2:  # the layout would make room for a line without points, at the corner of the page
            axes.plot(x[1:-1], y[1:-1], linestyle="none", markersize=3, markerfacecolor="white", markeredgewidth=0.6, zorder=3, **look)
        axes.plot(x[-1:], y[-1:], markersize=6, zorder=4, **look)
        last = models[models["step"] == models["step"].max()]
        axes.plot(last[sides[0]], last[sides[1]], linestyle="none", markersize=2.5, alpha=0.6, zorder=3, **look)
    axes.plot(*base[sides], color=BLACK, marker="*", markersize=9, linestyle="none", zorder=5, clip_on=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
