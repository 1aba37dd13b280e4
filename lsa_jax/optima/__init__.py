"""Minimisers of the four regimes' objectives, in closed form and for any prior; derivations in docs/theory.md, section on optima."""

from lsa_jax.optima.any_prior import alternating, pretrained_slice
from lsa_jax.optima.full_tuning import balanced, conserved_quantity, conserved_scale, full
from lsa_jax.optima.pretraining import pretrained
from lsa_jax.optima.value_tuning import value, value_auxiliary

__all__ = [
    "alternating",
    "balanced",
    "conserved_quantity",
    "conserved_scale",
    "full",
    "pretrained",
    "pretrained_slice",
    "value",
    "value_auxiliary",
]
