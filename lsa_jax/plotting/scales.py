"""Scales of axes with readable ticks: 1, 2, 5 rather than 6e0, and a place for infinity."""

import dataclasses
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

MOST_DECADES = 6
"""Span of a logarithmic error axis beyond which its lowest part is cut off."""

MARGIN = 0.08
"""Space above and below the values of an error axis, as a part of their span."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Where the values of a horizontal axis are drawn.

    Attributes:
        kind: `linear`, `log` or `symlog`.
        threshold: up to where `symlog` is linear.
        ticks: where ticks are.
        infinity: where infinity is drawn; NaN if no value is infinite.
    """

    kind: str
    threshold: float
    ticks: list[float]
    infinity: float

    def place(self, values: np.ndarray) -> np.ndarray:
        """The values with infinity where it is drawn."""
        return np.where(np.isinf(values), self.infinity, values)

    def apply(self, axes: Axes) -> None:
        """Set the scale and the ticks of the horizontal axis."""
        axes.set_xscale(self.kind, **({"linthresh": self.threshold} if self.kind == "symlog" else {}))
        ticks = {tick: tick_label(tick) for tick in self.ticks}
        if not math.isnan(self.infinity):
            ticks[self.infinity] = r"$\infty$"
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.xaxis.set_minor_locator(NullLocator())


def horizontal_scale(values: np.ndarray, linear_decades: int) -> Scale:
    """Choose the scale of a horizontal axis.

    Args:
        values: all values along it, infinity included.
        linear_decades: span of the positive values above which the axis is logarithmic.

    Returns:
        The scale: linear, logarithmic, or both if there are zeros or negative values.

    Example:
        >>> horizontal_scale(np.array([1, 10, 100]), linear_decades=1).kind, horizontal_scale(np.array([0, 5, 20]), linear_decades=2).ticks
        ('log', [0.0, 5.0, 20.0])
    """
    finite = np.unique(values[np.isfinite(values)]).astype(float)
    low, high = (float(finite[0]), float(finite[-1])) if len(finite) else (1.0, 1.0)
    positive = finite[finite > 0]
    infinite = np.isinf(values).any()
    if len(positive) and high / positive[0] > 10**linear_decades * (1 + 1e-9):
        kind = "log" if low > 0 else "symlog"
        ticks = [0.0] * (low <= 0) + log_ticks(float(positive[0]), high, sparse=low <= 0)
        infinity = high * (high / positive[0]) ** 0.25
    else:
        kind, ticks = "linear", linear_ticks(finite)
        infinity = high + 0.2 * ((high - low) or 1)
    return Scale(kind, positive[0] if len(positive) else 1.0, ticks, infinity if infinite else math.nan)


def linear_ticks(values: np.ndarray) -> list[float]:
    """Choose at most six round ticks of a linear axis.

    Args:
        values: finite values along it, sorted.

    Returns:
        The ticks, whole numbers if all values are; the values themselves if there are at most three.

    Example:
        >>> linear_ticks(np.array([0.1, 0.35, 0.5, 0.9]))
        [0.2, 0.4, 0.6, 0.8]
    """
    if len(values) <= 3:
        return values.tolist()
    whole = bool((values == values.round()).all())
    ticks = np.round(MaxNLocator(5, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(values[0], values[-1]), 12)
    return ticks[(ticks >= values[0]) & (ticks <= values[-1])].tolist()


def log_ticks(low: float, high: float, *, sparse: bool = False) -> list[float]:
    """Choose the ticks of a logarithmic axis: 1, 2 and 5 of every decade, or powers of ten if there are many.

    Args:
        low: lowest value, above zero.
        high: highest value.
        sparse: always powers of ten.

    Returns:
        The ticks; round numbers on a linear scale where the range holds fewer than two of 1, 2 and 5.

    Example:
        >>> log_ticks(0.3, 4.0), log_ticks(1.1, 1.9), log_ticks(1.0, 1e4)
        ([0.5, 1.0, 2.0], [1.2, 1.4, 1.6, 1.8], [1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    dense = high / low < 60 and not sparse
    step = 1 if dense else math.ceil((last - first) / 5)
    ticks = [float(f"{digit}e{power}") for power in range(first, last + 1, step) for digit in ((1, 2, 5) if dense else (1,))]
    inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    if len(inside) > 1:
        return inside
    return [float(tick) for tick in np.round(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high), 12) if low <= tick <= high]


def tick_label(value: float) -> str:
    """Write a number as a reader would.

    Args:
        value: place of a tick.

    Returns:
        Plain digits, or a power of ten where they would be many.

    Example:
        >>> tick_label(0.5), tick_label(200.0), tick_label(1e5), tick_label(-0.5)
        ('0.5', '200', '$10^{5}$', '−0.5')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}".replace("-", "−")
    digits, power = f"{value:e}".split("e")
    factor = "" if float(digits) == 1 else rf"{float(digits):g} \times "
    return rf"${factor}10^{{{int(power)}}}$"


def decades(values: np.ndarray) -> float:
    """Measure the span of positive values.

    Args:
        values: any; those not above zero are left out.

    Returns:
        The logarithm to base ten of the largest over the smallest; 0 if there are none.

    Example:
        >>> decades(np.array([0.0, 0.1, 10.0]))
        2.0
    """
    positive = values[values > 0]
    return float(np.log10(positive.max() / positive.min())) if len(positive) else 0.0


def set_error_scale(axes: Axes, values: np.ndarray, *, logarithmic: bool) -> None:
    """Set the vertical axis to hold the values: their means and theory, so that a wide interval does not flatten the rest.

    Args:
        axes: the panel.
        values: errors drawn in it.
        logarithmic: whether the axis is.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return
    if logarithmic and (values > 0).any():
        high = values.max()
        low = max(values[values > 0].min(), high / 10**MOST_DECADES)
        margin = max((high / low) ** MARGIN, 1.05)
        axes.set_yscale("log")
        axes.set_ylim(low / margin, high * margin)
        ticks = log_ticks(low / margin, high * margin)
    else:
        margin = MARGIN * (np.ptp(values) or 1)
        axes.set_ylim(values.min() - margin, values.max() + margin)
        ticks = linear_ticks(np.linspace(values.min() - margin, values.max() + margin, 100))
    axes.set_yticks(ticks, [tick_label(tick) for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
