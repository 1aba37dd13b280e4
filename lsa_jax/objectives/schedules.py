"""Weights of the terms of a loss: numbers, or schedules over the run."""

import dataclasses
from collections.abc import Callable

from jaxtyping import ArrayLike


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A weight as a function of the fraction of the run that is over, from 0 to 1.

    Args:
        name: its name in specs and records.
        at: the function.
    """

    name: str
    at: Callable[[ArrayLike], ArrayLike] = dataclasses.field(repr=False)

    def __call__(self, fraction: ArrayLike) -> ArrayLike:
        """Return the weight when this part of the run is over."""
        return self.at(fraction)


LINEAR_DECAY = Schedule("linear_decay", lambda fraction: 1 - fraction)
"""1 at the start, falling linearly to 0 at the end: the auxiliary few-shot loss of the published code."""

SCHEDULES = {schedule.name: schedule for schedule in (LINEAR_DECAY,)}
Weight = ArrayLike | Schedule
"""The weight of a term: a number, or a schedule over the steps of a run."""
