"""Task priors: the laws from which pretraining draws the regression vector θ, the built-in ones and one's own."""

from lsa_jax.priors.gaussian import GaussianPrior
from lsa_jax.priors.law import (
    TaskMoments,
    TaskPrior,
    covariance_root,
    is_symmetric,
    moments_of,
    require_moments,
    require_prior,
    require_prior_dim,
)
from lsa_jax.priors.naming import FAMILIES, from_spec, from_text, parse
from lsa_jax.priors.pool import FiniteTasks
from lsa_jax.priors.sphere import SpherePrior

__all__ = [
    "FAMILIES",
    "FiniteTasks",
    "GaussianPrior",
    "SpherePrior",
    "TaskMoments",
    "TaskPrior",
    "covariance_root",
    "from_spec",
    "from_text",
    "is_symmetric",
    "moments_of",
    "parse",
    "require_moments",
    "require_prior",
    "require_prior_dim",
]
