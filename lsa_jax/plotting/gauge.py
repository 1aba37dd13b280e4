"""The figure of what remedies against forgetting cost from each scale of the start."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from lsa_jax.plotting.lab import looks_of
from lsa_jax.plotting.scales import set_error_scale
from lsa_jax.plotting.style import FULL_WIDTH, MARKS, STYLE


def plot_gauge(table: pd.DataFrame) -> Figure:
    """Draw what is forgotten at equal gains against the scale of the start, a line a remedy.

    Args:
        table: from `lsa_jax.studies.gauge.forgetting_by_scale`.

    Returns:
        The figure.
    """
    remedies, gains, scales = (list(dict.fromkeys(table[name])) for name in ("remedy", "gain", "scale"))
    looks = looks_of(remedies)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(FULL_WIDTH, 2.8), layout="constrained")
        for axes, gain in zip(figure.subplots(1, len(gains), sharey=True), gains, strict=True):
            inside = table[table["gain"] == gain]
            for scale, name in ((1.0, "unit"), (table["balanced"].iloc[0], "balanced")):
                axes.axvline(scale, color="0.6", linestyle=":", linewidth=0.8)
                axes.annotate(name, (scale, 1), (2, -2), ("data", "axes fraction"), "offset points", va="top", fontsize=7, color="0.4")
            for remedy, rows in inside.groupby("remedy", sort=False):
                color, line = looks[str(remedy)]
                axes.plot(rows["scale"], rows["forgotten"], color=color, linestyle=line, marker="o", label=rows["title"].iloc[0], **MARKS)
            axes.set_xscale("log")
            axes.set_xticks(scales, [f"{scale:g}" for scale in scales])
            axes.set_xticks([], minor=True)
            set_error_scale(axes, table["forgotten"].to_numpy(), logarithmic=True)
            axes.set(xlabel=r"scale of the start, $v_y$", title=f"{gain:.0%} of the zero-shot excess gone")
        figure.axes[0].set_ylabel("forgotten on the prior")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, handlelength=2.4)
    return figure
