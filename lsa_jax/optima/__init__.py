"""Closed-form minimisers of the four regimes' objectives; derivations in docs/theory.md, section on optima."""

from lsa_jax.optima.full_tuning import balanced, conserved_quantity, conserved_scale, full
from lsa_jax.optima.pretraining import pretrained
from lsa_jax.optima.value_tuning import value, value_auxiliary

__all__ = ["balanced", "conserved_quantity", "conserved_scale", "full", "pretrained", "value", "value_auxiliary"]
