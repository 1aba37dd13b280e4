"""What is minimised: risks that training may follow, the terms of losses made of them, and objectives as weighted sums of terms."""

from lsa_jax.objectives.distances import Distance, exact_distance, sampled_distance
from lsa_jax.objectives.low_rank import RANK, LowRank, plain_set
from lsa_jax.objectives.named import TERMS
from lsa_jax.objectives.objective import Objective, minimise
from lsa_jax.objectives.risks import Risk, fresh_prompts, pooled_prompts, population_gradient
from lsa_jax.objectives.schedules import LINEAR_DECAY, Schedule, Weight
from lsa_jax.objectives.terms import Inputs, Term

__all__ = [
    "LINEAR_DECAY",
    "RANK",
    "TERMS",
    "Distance",
    "Inputs",
    "LowRank",
    "Objective",
    "Risk",
    "Schedule",
    "Term",
    "Weight",
    "exact_distance",
    "fresh_prompts",
    "minimise",
    "plain_set",
    "pooled_prompts",
    "population_gradient",
    "sampled_distance",
]
