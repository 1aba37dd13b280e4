"""Every figure of a sweep by the name of its axis: errors along one axis, or fronts."""

import pandas as pd
from matplotlib.figure import Figure

from lsa_jax.plotting.fronts import front_numbers, plot_front
from lsa_jax.plotting.summaries import FRONT, Levels, sweep_numbers
from lsa_jax.plotting.sweeps import plot_sweep


def draw(records: pd.DataFrame, against: str, quantiles: Levels | None = None) -> tuple[pd.DataFrame, Figure]:
    """Summarise records over seeds and draw them.

    Args:
        records: long records of a sweep, one value a row.
        against: one of `drawable(records)`; `zero_shot` is the front of few-shot errors against zero-shot errors, any other name an axis.
        quantiles: two levels; then medians with these quantiles over seeds, instead of means with Student's 95 % intervals.

    Returns:
        The numbers, of `sweep_numbers` or `front_numbers`, and the figure.

    Raises:
        InputError: if the records hold nothing to draw against it.

    Example:
        >>> cell = {"regime": "value", "test_task": "target", "cosine": 1.0, "evaluation_shots": 0.0, "gradient": "sampled"}
        >>> records = pd.DataFrame({"metric": "risk", "value": [1.0, 3.0, 9.0], "seed": range(3), **cell, "noise_std": 0.3})
        >>> records = records.assign(fine_tuning_shots=20.0, diverged=False, above_minimum=False)
        >>> numbers, figure = draw(records, "evaluation_shots", quantiles=(0.25, 0.75))
        >>> numbers[["trained", "trained_lower", "trained_upper"]].iloc[0].tolist()
        [3.0, 2.0, 6.0]
    """
    if against == FRONT:
        numbers = front_numbers(records, quantiles)
        return numbers, plot_front(numbers)
    numbers = sweep_numbers(records, against, quantiles)
    return numbers, plot_sweep(numbers, against)
