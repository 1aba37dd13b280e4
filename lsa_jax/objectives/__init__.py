"""What is minimised: risks that training may follow, the terms of losses made of them, and objectives as weighted sums of terms."""

from lsa_jax.objectives.objective import Objective, minimise
from lsa_jax.objectives.risks import Risk, fresh_prompts, pooled_prompts, population_gradient
from lsa_jax.objectives.schedules import LINEAR_DECAY, Schedule, Weight
from lsa_jax.objectives.terms import TERMS, Inputs, Term

__all__ = [
    "LINEAR_DECAY",
    "TERMS",
    "Inputs",
    "Objective",
    "Risk",
    "Schedule",
    "Term",
    "Weight",
    "fresh_prompts",
    "minimise",
    "pooled_prompts",
    "population_gradient",
]
