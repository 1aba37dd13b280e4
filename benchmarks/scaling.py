"""Scaling laws from a record alone: exponents of time and memory in each size, and the figure that shows them."""

import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lsa_jax.plotting.families import set_log_x
from lsa_jax.plotting.style import BLUE, COLUMN_WIDTH, GREEN, STYLE, VERMILION

COLORS = (BLUE, VERMILION, GREEN)
TAIL = 3
"""Points at the large end of a line from which an exponent is taken: small sizes show what a call costs, not how work grows."""

Line = dict[str, Any]


def lines(record: dict[str, Any]) -> list[Line]:
    """Return the lines of a record: points of one series that differ in one size alone, at least three of them.

    Args:
        record: what a case wrote.

    Returns:
        For each line its series, the size that varies and its values, the other sizes, and the points.
    """
    points, found = record.get("points", []), []
    for series in dict.fromkeys(point["series"] for point in points):
        members = [point for point in points if point["series"] == series]
        for size in members[0]["sizes"]:
            groups: dict[tuple[Any, ...], list[Any]] = {}
            for point in members:
                groups.setdefault(tuple(value for name, value in point["sizes"].items() if name != size), []).append(point)
            group = max(groups.values(), key=len)
            if len(group) >= TAIL:
                group = sorted(group, key=lambda point: point["sizes"][size])
                found.append({"series": series, "size": size, "values": [point["sizes"][size] for point in group], "points": group})
    return found


def exponents(record: dict[str, Any], line: Line, resamples: int = 500) -> dict[str, Any]:
    """Fit the power of a size with which time and memory grow, by least squares on logarithms over the largest sizes.

    Args:
        record: what a case wrote.
        line: one of its lines.
        resamples: bootstrap resamples of the rounds.

    Returns:
        The exponent of the time a unit of work with the ends of its 95 % interval; that of memory, where it is known, has no spread.
    """
    tail = line["points"][-TAIL:]
    sizes = np.log([point["sizes"][line["size"]] for point in tail])
    rounds = np.log([record["seconds"][point["name"]] for point in tail])
    random = np.random.default_rng(0)
    chosen = random.integers(0, rounds.shape[1], (resamples, rounds.shape[1]))
    slopes = [np.polyfit(sizes, np.median(rounds[:, places], axis=1), 1)[0] for places in chosen]
    memory = [point["memory"] for point in tail]
    low, high = np.quantile(slopes, [0.025, 0.975])
    return {
        "time": (float(np.polyfit(sizes, np.median(rounds, axis=1), 1)[0]), float(low), float(high)),
        "memory": float(np.polyfit(sizes, np.log(memory), 1)[0]) if all(memory) else None,
    }


def plot(record: dict[str, Any]) -> Figure:
    """Draw the time a unit of work against each size, medians and ranges, above dashes for what the machine could do at best.

    Where the compiler told the memory of a call, it is drawn below.

    Args:
        record: what a case wrote, with points.

    Returns:
        The figure.
    """
    drawn = lines(record)
    sizes = list(dict.fromkeys(line["size"] for line in drawn))
    with mpl.rc_context(STYLE):
        rows = 1 + all(point["memory"] for line in drawn for point in line["points"])
        extent = COLUMN_WIDTH * len(sizes) ** 0.75, 0.8 + 1.6 * rows
        figure, axes = plt.subplots(rows, len(sizes), figsize=extent, sharex="col", sharey="row", squeeze=False, layout="constrained")
        for column, size in zip(axes.T, sizes, strict=True):
            for color, line in zip(COLORS, (line for line in drawn if line["size"] == size), strict=False):
                _draw(column, record, line, color)
            column[-1].set_xlabel(size)
            set_log_x(column[0], np.array([value for line in drawn if line["size"] == size for value in line["values"]]))
        for axis, label in zip(axes[:, 0], (record["unit"], "memory of a call (MiB)"), strict=False):
            axis.set(yscale="log", ylabel=label)
        if record.get("share_of_limit"):
            axes[0, 0].plot([], [], "--", color="0.5", linewidth=0.8, label="the machine at best")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _draw(column: Sequence[Axes], record: dict[str, Any], line: Line, color: str) -> None:
    """One line: medians with ranges, dashes at the limit of the resource that binds, and the memory where there is a panel for it."""
    axis, *below = column
    for panel in below:
        panel.plot(line["values"], [point["memory"] / 2**20 for point in line["points"]], color=color, marker="o", markersize=3)
    seconds = [record["seconds"][point["name"]] for point in line["points"]]
    medians = np.array([statistics.median(taken) for taken in seconds])
    spread = np.abs(np.array([[min(taken), max(taken)] for taken in seconds]).T - medians)
    axis.errorbar(line["values"], medians, spread, color=color, marker="o", markersize=3, label=line["series"])
    shares = [record.get("share_of_limit", {}).get(point["name"]) for point in line["points"]]
    if all(shares):
        limits = [median * share[0] for median, share in zip(medians, shares, strict=True)]
        axis.plot(line["values"], limits, "--", color=color, linewidth=0.8)
