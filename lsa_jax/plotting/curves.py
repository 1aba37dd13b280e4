"""What a figure of a sweep shows: which combinations of settings are its rows and which curves are in its panels."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.typing import LineStyleType

from lsa_jax.plotting.scales import tick_label
from lsa_jax.plotting.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from lsa_jax.plotting.summaries import SUMMARY, axes_of, varying
from lsa_jax.setting import symbol_of

MAX_ROWS, MAX_TASKS = 4, 5

Item = TypeVar("Item")
Look = tuple[str, str, LineStyleType]


@dataclasses.dataclass(frozen=True)
class Facets:
    """The rows of a figure: combinations of the axes that vary besides the one it is drawn against.

    Attributes:
        axes: names of those axes.
        drawn: the combinations that have a row, one a row.
        total: number of all combinations.
    """

    axes: list[str]
    drawn: pd.DataFrame
    total: int

    @property
    def labels(self) -> list[list[str]]:
        """Every setting of every row as a reader would write it."""
        return [[f"{symbol_of(axis)} = {_text(row[axis])}" for axis in self.axes] for _, row in self.drawn.iterrows()]


@dataclasses.dataclass(frozen=True)
class Curve:
    """One curve of every panel: its look, its name and its numbers in all panels."""

    label: str
    color: str
    marker: str
    linestyle: LineStyleType
    numbers: pd.DataFrame


TARGET: Look = (BLUE, "o", "-")
OPPOSITE: Look = (VERMILION, "s", "--")
DASH_DOT, DOTTED, DASHED = (0.0, (5.0, 1.0, 1.0, 1.0)), (0.0, (1.0, 1.2)), (0.0, (3.0, 1.0))
ZERO_SHOT: Look = (GREEN, "^", DOTTED)
BETWEEN: tuple[Look, ...] = ((SKY, "^", DASH_DOT), (GREEN, "D", DOTTED), (ORANGE, "v", DASHED), (PURPLE, "P", "-."), (BLACK, "X", ":"))
POOL: Look = (ORANGE, "v", DASHED)
PRIOR: Look = (BLACK, "D", DASH_DOT)
SHOTS: tuple[Look, ...] = ((BLACK, "o", "-"), (SKY, "^", DASH_DOT), (ORANGE, "v", "--"), (PURPLE, "D", DOTTED))


def facets(numbers: pd.DataFrame, against: str) -> Facets:
    """Choose the rows of a figure: at most four combinations, evenly out of all that hold trained models (if any do).

    Args:
        numbers: from `sweep_numbers`.
        against: axis along which the figure is drawn.

    Returns:
        The combinations drawn and the number of all.

    Example:
        >>> numbers = pd.DataFrame({"dim": range(1, 8), "steps": 5, "num_seeds": 3})
        >>> chosen = facets(numbers, "steps")
        >>> chosen.drawn["dim"].tolist(), chosen.total
        ([1, 3, 5, 7], 7)
    """
    axes = [axis for axis in varying(numbers, axes_of(numbers)) if axis not in {against, *SUMMARY}]
    if not axes:
        return Facets(axes, pd.DataFrame(index=[0]), 1)
    combinations, trained = (_combinations(table[axes]) for table in (numbers, numbers[numbers["num_seeds"] > 0]))
    candidates = combinations if trained.empty else trained
    return Facets(axes, pd.DataFrame(evenly(list(candidates.itertuples(index=False)), MAX_ROWS)), len(combinations))


def _combinations(settings: pd.DataFrame) -> pd.DataFrame:
    """Those that some model has; of axes that no regime has together all that their values allow."""
    found = settings.dropna().drop_duplicates()
    if len(found) or settings.empty:
        return found
    values = [settings[[axis]].dropna().drop_duplicates() for axis in settings]
    return functools.reduce(lambda left, right: left.merge(right, how="cross"), values)


def _text(value: object) -> str:
    """A setting as a reader would write it."""
    if not isinstance(value, float | int | np.number):
        return str(value)
    number = float(value)
    if math.isinf(number):
        return r"$\infty$"
    return tick_label(number if number.is_integer() else float(f"{number:.3g}"))


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Choose at most so many items evenly, the first and the last among them.

    Args:
        items: what to choose from.
        most: largest number of items, at least 2.

    Returns:
        The chosen ones in their order.

    Example:
        >>> evenly(range(10), 4)
        [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def curves(numbers: pd.DataFrame, against: str) -> list[Curve]:
    r"""Choose the curves of a figure.

    Args:
        numbers: those of the rows drawn, from `sweep_numbers`.
        against: axis along which the figure is drawn.

    Returns:
        Test tasks against evaluation_shots, numbers of shots against cosine, and against any other axis the three errors of the paper's
        table (zero-shot and few-shot on the target, few-shot on the opposite task) and few-shot averages over the pool and the prior.

    Example:
        >>> numbers = pd.DataFrame({"cosine": [1.0, -1.0], "evaluation_shots": [0.0, 0.0]})
        >>> [curve.label for curve in curves(numbers, "evaluation_shots")]
        ['$\\theta_0$ (target)', '$-\\theta_0$ (unseen)']
    """
    match against:
        case "evaluation_shots":
            chosen = _of_tasks(numbers)
        case "cosine":
            chosen = _of_shots(numbers)
        case _:
            chosen = _of_table(numbers)
    return [curve for curve in chosen if len(curve.numbers)]


def _of_tasks(numbers: pd.DataFrame) -> list[Curve]:
    """One curve a test task, from the target to the opposite one."""
    cosines = evenly(sorted(numbers["cosine"].dropna().unique(), reverse=True), MAX_TASKS)
    between = iter(BETWEEN)
    ends = {1.0: (r"$\theta_0$ (target)", TARGET), -1.0: (r"$-\theta_0$ (unseen)", OPPOSITE)}
    named = [ends[cosine] if cosine in ends else (rf"cosine ${cosine:g}$", next(between)) for cosine in cosines]
    return [Curve(name, *look, numbers[numbers["cosine"] == cosine]) for cosine, (name, look) in zip(cosines, named, strict=True)]


def _of_shots(numbers: pd.DataFrame) -> list[Curve]:
    """One curve a number of shots: zero, that of fine-tuning, the largest and the infinite one, as far as they were evaluated."""
    evaluated = numbers["evaluation_shots"].unique()
    tuned = numbers["fine_tuning_shots"].unique()
    wanted = {0.0, *(tuned if len(tuned) == 1 else ()), evaluated[np.isfinite(evaluated)].max(initial=0), np.inf}
    shots = [number for number in sorted(wanted) if number in evaluated]
    return [
        Curve(shots_name(float(number)), *look, numbers[numbers["evaluation_shots"] == number])
        for number, look in zip(shots, SHOTS, strict=False)
    ]


def _of_table(numbers: pd.DataFrame) -> list[Curve]:
    """The three errors of the paper's table, and averages over laws."""
    few, name = few_shots(numbers)
    target, opposite, law = numbers["cosine"] == 1, numbers["cosine"] == -1, numbers["test_task"]
    return [
        Curve(r"zero-shot, $\theta_0$", *ZERO_SHOT, numbers[target & (numbers["evaluation_shots"] == 0)]),
        Curve(rf"{name}, $\theta_0$", *TARGET, numbers[target & few]),
        Curve(rf"{name}, $-\theta_0$", *OPPOSITE, numbers[opposite & few]),
        Curve(f"{name}, pool", *POOL, numbers[(law == "pool") & few]),
        Curve(f"{name}, prior", *PRIOR, numbers[(law == "prior") & few]),
    ]


def few_shots(numbers: pd.DataFrame) -> tuple[pd.Series, str]:
    """Choose the few-shot errors of a figure: at the number of fine-tuning shots, or else the largest finite one, or else the infinite one.

    Args:
        numbers: from `sweep_numbers`.

    Returns:
        Which rows they are, and their name in a legend.

    Example:
        >>> numbers = pd.DataFrame({"evaluation_shots": [0.0, 20.0, 40.0], "fine_tuning_shots": 20.0})
        >>> few_shots(numbers)[0].tolist(), few_shots(numbers)[1]
        ([False, True, False], '20-shot')
    """
    evaluated, tuned = numbers["evaluation_shots"], numbers["fine_tuning_shots"]
    if tuned.isin(evaluated).all():
        several = tuned.nunique() > 1
        return evaluated == tuned, f"{symbol_of('fine_tuning_shots')}-shot" if several else shots_name(float(tuned.iloc[0]))
    number = evaluated[np.isfinite(evaluated)].max()
    number = number if number > 0 else np.inf
    return evaluated == number, shots_name(float(number))


def shots_name(number: float) -> str:
    r"""Name the error after so many examples.

    Args:
        number: a number of shots, 0 and infinity included.

    Returns:
        Its name in a legend.

    Example:
        >>> shots_name(0.0), shots_name(20.0), shots_name(np.inf)
        ('zero-shot', '20-shot', '$\\infty$-shot')
    """
    if number == 0:
        return "zero-shot"
    return r"$\infty$-shot" if np.isinf(number) else f"{number:g}-shot"
