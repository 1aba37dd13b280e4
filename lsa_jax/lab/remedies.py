"""The remedies that the lab compares, one object each: what its knob is, and how its curve is made."""

import dataclasses

import numpy as np

from lsa_jax import checks
from lsa_jax.objectives import LowRank

PENALTY, STOPPING, AVERAGING = "penalty", "early_stopping", "averaging"


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A remedy against forgetting.

    Args:
        name: its name in records; of a penalty the name of its term.
        title: its name in tables and figures.
        kind: `penalty` for a term beside the zero-shot loss, `early_stopping` or `averaging` for what is read off one training.
        train: the trainable set; None for the one that the lab trains.
    """

    name: str
    title: str
    kind: str = PENALTY
    train: str | None = None

    @property
    def knob(self) -> str:
        """What is varied along its curve."""
        return {PENALTY: "weight", STOPPING: "time", AVERAGING: "share"}[self.kind]

    def values(self, number: int) -> np.ndarray:
        """Return the values of the knob, the most protective first.

        Args:
            number: how many.

        Returns:
            Weights in units of `Landscape.unit`, times in units of the mean curvature, or shares of the fine-tuned weights.
        """
        if self.kind == PENALTY:
            return np.logspace(3, -4, number)
        return np.linspace(0, 1, number) if self.kind == AVERAGING else np.logspace(-1.5, 4, number)


PENALTIES = (
    Remedy("prior", "replay"),
    Remedy("distillation", "distillation, prior prompts"),
    Remedy("ewc", "EWC, diagonal"),
    Remedy("ewc_full", "EWC, full"),
    Remedy("ewc_empirical", "EWC, empirical Fisher"),
    Remedy("l2_sp", "L2-SP"),
    Remedy("distillation_target", "distillation, target prompts"),
    Remedy("distillation_zero_shot", "distillation, zero-shot inputs"),
    Remedy("few_shot", "few-shot loss on the target"),
)
PATHS = (Remedy(STOPPING, "early stopping", STOPPING), Remedy(AVERAGING, "weight averaging", AVERAGING))
BY_NAME = {remedy.name: remedy for remedy in (*PENALTIES, *PATHS)}


def remedy(name: str) -> Remedy:
    """Return a remedy by its name.

    Args:
        name: a name in `BY_NAME`, or a set of low rank such as `lora(2, query_key)`, stopped early.

    Returns:
        The remedy.

    Raises:
        ValueError: if there is none of this name.

    Example:
        >>> remedy("ewc").title, remedy("lora(2)").knob
        ('EWC, diagonal', 'time')
    """
    adapter = LowRank.of(name)
    if adapter is not None:
        return Remedy(name, f"LoRA, rank {adapter.rank}", STOPPING, name)
    return BY_NAME[checks.as_choice("remedy", name, tuple(BY_NAME))]
