"""Figures from stored records: computes no result and writes no file."""

from lsa_jax.plotting.curves import Facets, facets
from lsa_jax.plotting.figures import draw
from lsa_jax.plotting.fronts import front_numbers, plot_front
from lsa_jax.plotting.histories import STEP, history_numbers, plot_history
from lsa_jax.plotting.regimes import plot_regimes
from lsa_jax.plotting.style import BLUE, COLUMN_WIDTH, FULL_WIDTH, STYLE, TITLES, VERMILION, confidence_interval
from lsa_jax.plotting.summaries import drawable, sweep_numbers
from lsa_jax.plotting.sweeps import plot_sweep

__all__ = [
    "BLUE",
    "COLUMN_WIDTH",
    "FULL_WIDTH",
    "STEP",
    "STYLE",
    "TITLES",
    "VERMILION",
    "Facets",
    "confidence_interval",
    "draw",
    "drawable",
    "facets",
    "front_numbers",
    "history_numbers",
    "plot_front",
    "plot_history",
    "plot_regimes",
    "plot_sweep",
    "sweep_numbers",
]
