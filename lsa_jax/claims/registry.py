"""All claims, each with its source, its assumptions, its limit, its exact form and its check."""

from lsa_jax.claims.beyond import BEYOND
from lsa_jax.claims.paper import PAPER

CONVENTIONS = "normaliser n + 1, query token inside the sum, bias coordinate, Gaussian covariates, errors include σ²"
"""What every claim assumes; `sensitivity` drops these one by one."""

CLAIMS = (*PAPER, *BEYOND)
"""The claims, in the order they are printed."""
