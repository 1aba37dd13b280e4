"""Samplers of tasks, prompts and projected contexts: pure and keyed; vmap over keys for a batch.

A key names the same tasks, Gaussian covariates and label noise in every floating type, up to rounding. The chi-square of a projected
context and the other laws of covariates belong to the type they are drawn in.
"""

from lsa_jax.covariates import CovariateLaw, Covariates, gaussian, rademacher, student_t, uniform
from lsa_jax.prompts.gram import CompressedPrompts, GramPrompts, sample_compressed_prompts, sample_context_factors, sample_gram_prompts
from lsa_jax.prompts.label_sums import sample_label_sums
from lsa_jax.prompts.pool import Pool, sample_pool, sample_pool_prompt
from lsa_jax.prompts.projection import sample_context_means
from lsa_jax.prompts.tasks import sample_task, sample_tasks
from lsa_jax.prompts.tokens import Prompt, reserved_shots, sample_prompt

__all__ = [
    "CompressedPrompts",
    "CovariateLaw",
    "Covariates",
    "GramPrompts",
    "Pool",
    "Prompt",
    "gaussian",
    "rademacher",
    "reserved_shots",
    "sample_compressed_prompts",
    "sample_context_factors",
    "sample_context_means",
    "sample_gram_prompts",
    "sample_label_sums",
    "sample_pool",
    "sample_pool_prompt",
    "sample_prompt",
    "sample_task",
    "sample_tasks",
    "student_t",
    "uniform",
]
