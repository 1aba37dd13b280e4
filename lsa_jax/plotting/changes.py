"""The main figure of the language-model experiment: what fine-tuning changed, paired, for every set of targets and loss."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lsa_jax.errors import InputError
from lsa_jax.plotting.language_model import CHANCE, CHANCE_LOOK, DOMAINS, LOSS_LOOKS, TARGET_COLORS, category_title, check_alike, interval
from lsa_jax.plotting.style import BLACK, FULL_WIDTH, STYLE

ROW_HEIGHT = 0.19
POINTS = 100.0
"""Changes are drawn in percentage points."""


def plot_changes(
    effects: pd.DataFrame, models: pd.DataFrame, base: pd.DataFrame, few_shots: int, asked: Mapping[str, str] | None = None
) -> Figure:
    """Draw changes of accuracy from the base model, and differences between targets, one row each.

    Filled marks are means with 95 % intervals, small open ones the single models. A row of differences (black) compares two sets of targets
    directly, question by question; it is known better than the two rows that it is of. Dotted lines are changes to guessing.

    Args:
        effects: changes and differences, see `lsa_jax.lm.accuracy.changes` and `differences`; the last steps are drawn.
        models: the same for each model, see `lsa_jax.lm.accuracy.changes_by_model`.
        base: accuracies of the base model, see `lsa_jax.lm.accuracy.accuracy`.
        few_shots: number of shots of the few-shot columns.
        asked: what is asked without shots in each category, where that is something else than with them.

    Returns:
        The figure: a column for zero-shot and one for few-shot accuracy in each category.

    Raises:
        InputError: if there are no changes to draw, or some of several recipes.
    """
    check_alike(effects)
    last, dots = (_last(table[table["shots"].isin([0, few_shots])]) for table in (effects, models))
    if last.empty:
        raise InputError(f"there are no changes at 0 or {few_shots} shots; choose another number of shots")
    rows, columns = _rows(last), _columns(last)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 1.0 + ROW_HEIGHT * (len(rows) + len({loss for loss, _ in rows}))), layout="constrained")
        panels = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
        places = _places(rows)
        for axes, (domain, category, shots) in zip(panels, columns, strict=True):
            means, points = (_of(table, domain, category, shots) for table in (last, dots))
            _draw_panel(axes, means, points, places)
            _draw_chance(axes, CHANCE - float(_of(base, domain, category, shots)["accuracy"].mean()), places)
            told = f"{shots}-shot" if shots else f"zero-shot, {asked[category]}" if asked else "zero-shot"
            axes.set_title(f"{category_title(category)}\n({DOMAINS.get(domain, domain)})\n{told}", fontsize=STYLE["legend.fontsize"])
        _label_rows(panels[0], places)
        panels[0].set_xlim(max(-POINTS, panels[0].get_xlim()[0]), min(POINTS, panels[0].get_xlim()[1]))
        figure.supxlabel("change of accuracy in percentage points", fontsize=STYLE["axes.labelsize"])
    return figure


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """The last step of each set of targets and loss."""
    return table[table["step"] == table.groupby(["targets", "loss"])["step"].transform("max")]


def _of(table: pd.DataFrame, domain: str, category: str, shots: int) -> pd.DataFrame:
    """Rows of one column of the figure."""
    return table[(table["domain"] == domain) & (table["category"] == category) & (table["shots"] == shots)]


def _rows(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Loss and targets of every row: losses in turn, sets of targets in their order, differences after them."""
    losses = [*LOSS_LOOKS, *sorted(set(table["loss"]) - set(LOSS_LOOKS))]
    known = list(TARGET_COLORS)
    order = {name: known.index(name) if name in known else len(known) + (" - " in name) for name in table["targets"]}
    found = set(zip(table["loss"], table["targets"], strict=True))
    return sorted(found, key=lambda one: (losses.index(one[0]), order[one[1]], one[1]))


def _columns(table: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Domain, category and shots of every column; in domain first."""
    found = table[["domain", "category", "shots"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(found, key=lambda one: (one[0] != "in", one[2] != 0, one[1]))


def _places(rows: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Heights of the rows from the top, a gap before each loss for its name."""
    losses = list(dict.fromkeys(loss for loss, _ in rows))
    return {row: number + losses.index(row[0]) + 1.0 for number, row in enumerate(rows)}


def _draw_panel(axes: Axes, means: pd.DataFrame, points: pd.DataFrame, places: dict[tuple[str, str], float]) -> None:
    """Draw a column: single models, and means with intervals that end where an accuracy could not go on."""
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    for row, half in zip(means.to_dict("records"), interval(means), strict=True):
        height, look = places[row["loss"], row["targets"]], _look(row)
        bounds = np.clip([row["change"] - half, row["change"] + half], -1, 1)
        axes.plot(POINTS * bounds, [height, height], color=look["color"], linewidth=1.4, zorder=2)
        axes.plot(POINTS * row["change"], height, linestyle="none", markersize=4, zorder=3, clip_on=False, **look)
        same = points[(points["loss"] == row["loss"]) & (points["targets"] == row["targets"])]
        small: dict[str, Any] = {**look, "markerfacecolor": "none", "markeredgewidth": 0.5, "markersize": 3}
        axes.plot(POINTS * same["change"], np.full(len(same), height + 0.3), linestyle="none", zorder=1, clip_on=False, **small)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)


def _draw_chance(axes: Axes, change: float, places: dict[tuple[str, str], float]) -> None:
    """Draw the change to guessing across the rows that are changes from the base model."""
    for loss in dict.fromkeys(loss for loss, _ in places):
        heights = [height for (one, targets), height in places.items() if one == loss and " - " not in targets]
        axes.plot([POINTS * change] * 2, [min(heights) - 0.5, max(heights) + 0.5], **CHANCE_LOOK)
        axes.text(POINTS * change, min(heights) - 0.55, "chance", ha="center", va="bottom", color="0.45", fontsize="x-small")


def _look(row: dict[str, Any]) -> dict[str, Any]:
    """Colour and mark of a row."""
    if " - " in row["targets"]:
        return {"color": BLACK, "marker": "D"}
    marks = LOSS_LOOKS.get(row["loss"], ("-", "^"))
    return {"color": TARGET_COLORS.get(row["targets"], "0.4"), "marker": marks[1]}


def _label_rows(axes: Axes, places: dict[tuple[str, str], float]) -> None:
    """Name rows and, in the gaps, losses."""
    ticks, labels = list(places.values()), [targets.replace(" - ", " − ") for _, targets in places]
    losses: dict[str, float] = {}
    for (loss, _), height in places.items():
        losses.setdefault(loss, height - 1)
    names = [LOSS_LOOKS[loss][2] if loss in LOSS_LOOKS else loss for loss in losses]
    axes.set_yticks([*ticks, *losses.values()], [*labels, *names])
    for label, name in zip(axes.get_yticklabels(), [*labels, *names], strict=True):
        label.set_fontweight("bold" if name in names else "normal")
    axes.set_ylim(max(ticks) + 0.8, min(losses.values()) - 0.6)
