"""Fronts of a sweep: the few-shot error on unseen tasks against the zero-shot error on the target, one line per regime along its knob."""

import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax import estimators
from lsa_jax.errors import InputError
from lsa_jax.plotting.curves import facets, few_shots, shots_name
from lsa_jax.plotting.families import MARKERS, set_log_x
from lsa_jax.plotting.panels import FLOOR, bars
from lsa_jax.plotting.scales import set_error_scale, tick_label
from lsa_jax.plotting.style import (
    BLUE,
    FULL_WIDTH,
    GREEN,
    GREY,
    LOOKS,
    MARKS,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    add_legend,
    regimes_in_order,
    title_of,
)
from lsa_jax.plotting.summaries import FRONT, FRONT_COLUMNS, SUMMARY, Levels, branch_knobs, sweep_numbers, varying
from lsa_jax.setting import label_of, symbol_of

UNSEEN = {"opposite": r"on $-\theta_0$", "prior": "on the prior"}
"""Test tasks that stand for unseen ones, the first that was evaluated."""

COLORS = (ORANGE, SKY, PURPLE, GREEN, VERMILION, BLUE)
LINES: tuple[Any, ...] = ("-", "--", "-.", ":")
"""Colours of user-defined regimes, and their lines once all colours are taken."""

OF_CURVE = ("test_task", "cosine", "evaluation_shots")


def front_numbers(records: pd.DataFrame, quantiles: Levels | None = None) -> pd.DataFrame:
    """Set the few-shot error on unseen tasks beside the zero-shot error on the target: one row for every point of a front.

    Unseen tasks are the opposite of the target, or the law `prior` where only that was evaluated. Few-shot is at the number of
    fine-tuning shots, or else the largest. An error is that of trained models, or the closed form's where nothing was trained.

    Args:
        records: long records of a sweep, one value a row.
        quantiles: two levels; then medians and these quantiles over seeds, instead of means and Student's 95 % intervals.

    Returns:
        The axes that vary, noise_std, fine_tuning_shots, regime, test_task and evaluation_shots (of the few-shot error), `knob` (the
        first weight, rate or other knob of its own that the regime was swept along), `at` (its value), `line` (its line's name),
        `zero_shot` and `few_shot` with their ends `..._lower` and `..._upper`, spread, num_seeds and num_left_out.

    Raises:
        InputError: if the records hold no zero-shot error on the target, or no few-shot error on unseen tasks.

    Example:
        >>> row = {"metric": "risk", "regime": "gentle", "gradient": "population", "weight_prior": [0.1, 1.0], "fine_tuning_shots": 20.0}
        >>> row |= {"seed": 0, "noise_std": 0.3, "diverged": False, "above_minimum": False}
        >>> zero = pd.DataFrame({**row, "test_task": "target", "cosine": 1.0, "evaluation_shots": 0.0, "value": [0.2, 0.5]})
        >>> few = pd.DataFrame({**row, "test_task": "opposite", "cosine": -1.0, "evaluation_shots": 20.0, "value": [0.9, 0.4]})
        >>> front_numbers(pd.concat([zero, few]))[["at", "zero_shot", "few_shot"]].to_numpy().tolist()
        [[0.1, 0.2, 0.9], [1.0, 0.5, 0.4]]
    """
    numbers = sweep_numbers(records, "evaluation_shots", quantiles)
    numbers = numbers[~numbers["regime"].map(estimators.is_baseline)]
    few, _ = few_shots(numbers)
    unseen = next((task for task in UNSEEN if (few & (numbers["test_task"] == task)).any()), None)
    zero = (numbers["test_task"] == "target") & (numbers["evaluation_shots"] == 0)
    if unseen is None or not zero.any():
        raise InputError(
            "a front sets zero-shot errors on the target beside few-shot errors on unseen tasks, and these records lack one of them: "
            "evaluation_shots must hold 0 and another number, test_tasks 'target' and 'opposite' (or 'prior')"
        )
    keys = [name for name in numbers if name not in {*SUMMARY, *OF_CURVE}]
    points = _error(numbers[zero], FRONT)[[*keys, *_ends(FRONT)]]
    points = points.merge(_error(numbers[few & (numbers["test_task"] == unseen)], "few_shot"), on=keys)
    knobs = branch_knobs(points)
    lines = [_along_its_knob(points[points["regime"] == regime], knobs) for regime in regimes_in_order(points["regime"])]
    told = [name for name in points if name not in {*knobs, *SUMMARY, "cosine"}]
    return pd.concat(lines, ignore_index=True)[[*told, *FRONT_COLUMNS, "spread", "num_seeds", "num_left_out"]]


def plot_front(numbers: pd.DataFrame) -> Figure:
    """Draw the few-shot error on unseen tasks against the zero-shot error on the target: one line per regime, along its swept knob.

    The end of a line with the largest value of the knob is a filled mark, the other points are open; the legend says the ends.
    A regime without a swept knob is a single mark. At most four combinations of the other axes are drawn, one a panel.

    Args:
        numbers: from `front_numbers`.

    Returns:
        The figure.
    """
    shown, looks = facets(numbers, FRONT), _looks(numbers)
    columns = min(2, len(shown.drawn))
    rows = -(-len(shown.drawn) // columns)
    with mpl.rc_context(STYLE):
        width = FULL_WIDTH if columns > 1 else 0.75 * FULL_WIDTH
        figure = Figure(figsize=(width, 0.8 + 2.3 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (_, wanted), settings in zip(panels, shown.drawn.iterrows(), shown.labels, strict=False):
            inside = numbers[(numbers[shown.axes] == wanted[shown.axes]).all(axis=1)]
            _draw_panel(axes, inside, looks)
            axes.set_title(", ".join(settings))
        for axes in panels[len(shown.drawn) :]:
            axes.set_visible(False)
        add_legend(figure, _handles(numbers, looks))
    return figure


def _ends(error: str) -> list[str]:
    """The columns of an error and of the ends of its spread."""
    return [error, f"{error}_lower", f"{error}_upper"]


def _error(numbers: pd.DataFrame, name: str) -> pd.DataFrame:
    """The numbers with the error of trained models, or else of the closed form, under a name."""
    trained = numbers.assign(trained=numbers["trained"].fillna(numbers["theory"]))
    return trained.rename(columns=dict(zip(_ends("trained"), _ends(name), strict=True)))


def _along_its_knob(points: pd.DataFrame, knobs: list[str]) -> pd.DataFrame:
    """The points of a regime in order along the first knob it was swept in, a line for every combination of the others."""
    title, own = title_of(points["regime"].iloc[0]), varying(points, knobs)
    if not own:
        return points.assign(knob="", at=np.nan, line=title)
    knob, *others = own
    names = [f"{title}, {label_of(knob)} {tick_label(points[knob].min())} to {tick_label(points[knob].max())}"] * len(points)
    for other in others:
        names = [f"{name}, {symbol_of(other)} = {value:g}" for name, value in zip(names, points[other], strict=True)]
    return points.assign(knob=knob, at=points[knob], line=names).sort_values(["line", "at"], kind="stable")


def _looks(numbers: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of every line: those of the paper's regimes, and colours that these leave for one's own."""
    lines = numbers.drop_duplicates("line")[["line", "regime"]].to_numpy().tolist()
    known = {line: LOOKS[title_of(regime)] for line, regime in lines if title_of(regime) in LOOKS}
    taken = {color for color, _ in known.values()}
    free = [color for color in COLORS if color not in taken]
    styles, markers = itertools.cycle(itertools.product(LINES, free)), itertools.cycle(MARKERS)
    own = (line for line, _ in lines if line not in known)
    found = {line: (color, marker, style) for line, (style, color), marker in zip(own, styles, markers, strict=False)}
    found |= {line: (*look, "-") for line, look in known.items()}
    return {line: dict(zip(("color", "marker", "linestyle"), found[line], strict=True)) for line, _ in lines}


def _draw_panel(axes: Axes, numbers: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> None:
    """Draw the lines of one combination, and the noise floor where it is near."""
    floor = numbers["noise_std"].iloc[0] ** 2
    near = [floor] if floor > numbers[FRONT].min() / 2 else []
    for level in near:
        axes.axvline(level, **FLOOR)
    for line, points in numbers.groupby("line", sort=False):
        look = looks[str(line)]
        spread: dict[str, Any] = {"ecolor": to_rgba(look["color"], 0.5), "elinewidth": 0.8}
        axes.errorbar(points[FRONT], points["few_shot"], xerr=bars(points, FRONT), yerr=bars(points, "few_shot"), **look, **spread, **MARKS)
        axes.plot(points[FRONT].iloc[-1:], points["few_shot"].iloc[-1:], color=look["color"], marker=look["marker"], markersize=4, zorder=4)
    known = numbers.dropna(subset=[FRONT, "few_shot"])
    if len(known):
        set_log_x(axes, np.append(known[FRONT].to_numpy(), near))
        set_error_scale(axes, known["few_shot"].to_numpy(), logarithmic=True)
    axes.set_xlabel(label_of(FRONT))
    shots = numbers["evaluation_shots"].unique()
    few = shots_name(float(shots[0])) if len(shots) == 1 else "few-shot"
    axes.set_ylabel(f"{few} error {UNSEEN[numbers['test_task'].iloc[0]]}")


def _handles(numbers: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    """The legend: lines with the ends of their knobs, single regimes, and what marks and bars are."""
    swept = set(numbers.loc[numbers["knob"] != "", "line"])
    handles = []
    for line, look in looks.items():
        single: dict[str, Any] = {} if line in swept else {"linestyle": "none", "markerfacecolor": look["color"]}
        handles.append(Line2D([], [], label=line, **{**look, **MARKS, **single}))
    if swept:
        handles.append(Line2D([], [], color=GREY, marker="o", markersize=4, linestyle="none", label="largest value of the knob"))
    if numbers["num_seeds"].max() > 1:
        handles.append(Line2D([], [], color=GREY, marker="|", markersize=7, linestyle="none", label=str(numbers["spread"].iloc[0])))
    return handles
