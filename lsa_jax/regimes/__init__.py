"""Regimes: what is trained, from where, on which loss."""

from lsa_jax.regimes.family import Branch, Family, paper_limits, stages
from lsa_jax.regimes.paper import PAPER, reached_scale
from lsa_jax.regimes.regime import Given, Limits, Regime

__all__ = ["PAPER", "Branch", "Family", "Given", "Limits", "Regime", "paper_limits", "reached_scale", "stages"]
