"""Figures of sweeps: theory as lines, trained models as points with their spread, one column per regime, one row per setting."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lsa_jax import estimators
from lsa_jax.errors import InputError
from lsa_jax.plotting.curves import Curve, Facets, curves, facets
from lsa_jax.plotting.panels import FLOOR, baseline_styles, draw_baselines, draw_panel, regime_grid
from lsa_jax.plotting.scales import decades, horizontal_scale, set_error_scale
from lsa_jax.plotting.style import GREY, MARKS, STYLE, add_legend, regimes_in_order, title_of
from lsa_jax.setting import label_of

LINEAR_DECADES = 1.5
"""Span up to which errors against cosine are drawn on a linear axis."""


def plot_sweep(numbers: pd.DataFrame, against: str) -> Figure:
    """Draw error along one axis of a sweep: a column for every regime, a row for every combination of the other axes.

    At most four combinations are drawn; `facets(numbers, against)` says which of how many. Baselines are grey lines in every panel against
    evaluation_shots. Test tasks are told apart against evaluation_shots, numbers of shots against cosine, and both against any other axis.
    Intervals of means are bars, quantiles over seeds bands.

    Args:
        numbers: from `sweep_numbers`.
        against: axis along which to draw.

    Returns:
        The figure.

    Raises:
        InputError: if the numbers were not made for this axis.

    Example:
        >>> row = {"regime": "value", "test_task": "target", "cosine": 1.0, "noise_std": 0.5, "fine_tuning_shots": 20.0}
        >>> seeds = {"trained": 0.5, "trained_lower": 0.4, "trained_upper": 0.6, "spread": "95 % interval", "num_seeds": 3}
        >>> numbers = pd.DataFrame({"evaluation_shots": [0.0, 1.0], "theory": [0.5, 0.4], **row, **seeds})
        >>> plot_sweep(numbers, "evaluation_shots").axes[0].get_title()
        '(c) value'
    """
    if against not in numbers:
        raise InputError(f"numbers have no column {against!r}; they must have been made for it: call sweep_numbers(records, {against!r})")
    beside = numbers["regime"].map(estimators.is_baseline)
    numbers, baselines = numbers[~beside], numbers[beside]
    shown = facets(numbers, against)
    lines = curves(_of_rows(numbers, shown, against), against)
    if not lines:
        raise InputError(f"numbers hold no target or opposite test task; a figure against {against} wants one: evaluate cosine 1 or -1")
    used = pd.concat([line.numbers for line in lines])
    regimes = regimes_in_order(used["regime"])
    with mpl.rc_context(STYLE):
        figure, panels = regime_grid(regimes, shown, label_of(against), "$n$-shot error" if against == "evaluation_shots" else "error")
        scale = horizontal_scale(used[against].to_numpy(), 2 if against == "evaluation_shots" else 1)
        for row, column in np.ndindex(*panels.shape):
            draw_panel(panels[row, column], [_part(line, row, regimes[column]) for line in lines], against, scale)
        _scale_errors(panels, used, against)
        if against == "evaluation_shots" and len(baselines):
            estimates = _of_rows(baselines, shown, against)
            for row, column in np.ndindex(*panels.shape):
                draw_baselines(panels[row, column], estimates[estimates["row"] == row], against, scale)
        _add_legend(figure, lines, used, baselines if against == "evaluation_shots" else baselines[:0])
    return figure


def _of_rows(numbers: pd.DataFrame, shown: Facets, against: str) -> pd.DataFrame:
    """The numbers of the combinations drawn, with the row each is in: in every row for a regime that does not have an axis."""
    finite = numbers[np.isfinite(numbers["evaluation_shots"])] if against == "evaluation_shots" else numbers
    found = []
    for row, (_, wanted) in enumerate(shown.drawn.iterrows()):
        inside = pd.Series(data=True, index=finite.index)
        for axis in shown.axes:
            inside &= finite[axis].isna() | (finite[axis] == wanted[axis])
        found.append(finite[inside].assign(row=row))
    return pd.concat(found, ignore_index=True)


def _part(line: Curve, row: int, regime: str) -> Curve:
    """The part of a curve that is in one panel."""
    inside = (line.numbers["row"] == row) & (line.numbers["regime"] == regime)
    return dataclasses.replace(line, numbers=line.numbers[inside])


def _scale_errors(panels: np.ndarray, used: pd.DataFrame, against: str) -> None:
    """Give every row the error axis that holds its means, its theory and a noise floor near them; linear for a short one against cosine."""
    errors = ["theory", "trained"]
    logarithmic = against != "cosine" or decades(used[errors].to_numpy()) > LINEAR_DECADES
    for row, axes in enumerate(panels[:, 0]):
        numbers = used[used["row"] == row]
        values = numbers[errors].to_numpy().ravel()
        set_error_scale(axes, np.concatenate([values, _near_floor(numbers)]), logarithmic=logarithmic)


def _near_floor(numbers: pd.DataFrame) -> np.ndarray:
    """Noise floors no more than a decade below the errors: those worth showing."""
    floor = numbers["noise_std"].to_numpy() ** 2
    return floor[floor > numbers[["theory", "trained"]].min(axis=None) / 10]


def _add_legend(figure: Figure, lines: list[Curve], used: pd.DataFrame, baselines: pd.DataFrame) -> None:
    """Add one legend above: the curves, then what lines and points are, then the baselines."""
    handles = [Line2D([], [], color=line.color, linestyle=line.linestyle, label=line.label) for line in lines]
    if used["trained"].notna().any():
        for handle, line in zip(handles, lines, strict=True):
            handle.set(marker=line.marker, **MARKS)
        spread = used["spread"].iloc[0]
        handles.append(Line2D([], [], color=GREY, marker="o", linestyle="none", label=f"trained, {spread}", **MARKS))
    if used["theory"].notna().any():
        handles.append(Line2D([], [], color=GREY, label="theory"))
    if len(_near_floor(used)):
        handles.append(Line2D([], [], label=r"noise floor $\sigma^2$", **FLOOR))
    handles += [Line2D([], [], label=title_of(name), **style) for name, style in baseline_styles(baselines).items()]
    add_legend(figure, handles)
