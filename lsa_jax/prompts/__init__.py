"""Samplers of tasks, prompts and projected contexts: pure and keyed; vmap over keys for a batch.

A key names the same tasks, Gaussian covariates and label noise in every floating type, up to rounding. The chi-square of a projected
context and the other laws of covariates belong to the type they are drawn in.
"""

from lsa_jax.prompts.covariates import Covariates, gaussian, rademacher, student_t, uniform
from lsa_jax.prompts.pool import Pool, sample_pool, sample_pool_prompt
from lsa_jax.prompts.projection import sample_context_means
from lsa_jax.prompts.tasks import sample_task, sample_tasks
from lsa_jax.prompts.tokens import Prompt, reserved_shots, sample_prompt

__all__ = [
    "Covariates",
    "Pool",
    "Prompt",
    "gaussian",
    "rademacher",
    "reserved_shots",
    "sample_context_means",
    "sample_pool",
    "sample_pool_prompt",
    "sample_prompt",
    "sample_task",
    "sample_tasks",
    "student_t",
    "uniform",
]
