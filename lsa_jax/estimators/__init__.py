"""Baselines: estimators of statistics on the same prompts, called like a model: (parameters, tokens, num_tokens) -> prediction."""

from lsa_jax.estimators.baselines import Baseline, baseline, is_baseline, require_baseline
from lsa_jax.estimators.descent import fit_gradient_descent, gradient_descent
from lsa_jax.estimators.linear import averaging, least_squares, ridge, ridge_penalty, zero
from lsa_jax.estimators.pool import KnownPool, pool_mean

__all__ = [
    "Baseline",
    "KnownPool",
    "averaging",
    "baseline",
    "fit_gradient_descent",
    "gradient_descent",
    "is_baseline",
    "least_squares",
    "pool_mean",
    "require_baseline",
    "ridge",
    "ridge_penalty",
    "zero",
]
