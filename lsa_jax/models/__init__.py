"""Models: what is trained, as one object each; the only room that knows both the simulation and the closed forms."""

from lsa_jax.models.named import BUILT_IN, of
from lsa_jax.models.one_layer import LINEAR, SOFTMAX, OneLayer
from lsa_jax.models.protocol import Acting, Model, Plain, Theory, entries, mask, require_group
from lsa_jax.models.transformer import Transformer

__all__ = [
    "BUILT_IN",
    "LINEAR",
    "SOFTMAX",
    "Acting",
    "Model",
    "OneLayer",
    "Plain",
    "Theory",
    "Transformer",
    "entries",
    "mask",
    "of",
    "require_group",
]
