"""The sweep behind `lsa-jax reproduce --experiment comparison`, written from its settings."""

from typing import Any

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.reproduce.experiment import AXES, evaluation_numbers
from lsa_jax.reproduce.settings import Settings

SHAPES: tuple[dict[str, Any], ...] = (
    {"layers": 1, "heads": 1, "attention": "linear"},
    {"layers": 2, "heads": 2, "attention": "linear"},
    {"layers": 3, "heads": 1, "attention": "linear"},
    {"layers": 2, "heads": 2, "attention": "softmax"},
)
"""Transformers that are compared, all with separate query and key."""

TRAINED = ("all", "query", "key", "value")
LOSSES = {"zero_shot": {"zero_shot": 1.0}, "both": {"zero_shot": 1.0, "few_shot": "linear_decay"}}
"""The published objectives: the zero-shot loss, and beside it the few-shot loss with a weight that falls to 0 over the run."""

RATES = (0.001, 0.003, 0.01)
"""Learning rates of fine-tuning along which each method traces its front."""

QUICK = (*SHAPES[:3], {**SHAPES[3], "regime": ("pretrained", *(f"zero_shot_{trained}" for trained in TRAINED))})
"""What the quick preset compares: softmax attention, whose prompts are drawn token by token, on the zero-shot loss alone."""

BASELINES = ("ridge", "least_squares", "descent_1", "descent_2", "descent_3")
LEVELS = (0.1, 0.5, 0.9)
COPIED = (*AXES, "batch_size", "pool_size", "simulation_prompts", "dtype")
"""Settings that are keys of the spec under the same name."""


def spec_of(settings: Settings, shapes: tuple[dict[str, Any], ...] = SHAPES) -> dict[str, Any]:
    """Write the comparison as the spec of a sweep.

    Args:
        settings: settings of the reproduction; its `model` and `gradient` must be at their defaults.
        shapes: the transformers to compare, each with the methods it is fine-tuned by (`regime`) unless it is by all.

    Returns:
        The spec, see `lsa_jax.sweeps.spec.read`.

    Raises:
        ValueError: if another model or gradient is asked for, or there are too few seeds for a median.

    Example:
        >>> sorted(spec_of(Settings(seeds=4))["regimes"])[:2]
        ['both_all', 'both_key']
    """
    if settings.model != "linear" or settings.gradient != "sampled":
        raise InputError("the comparison trains transformers on sampled prompts: leave model and gradient out")
    checks.as_count("seeds", settings.seeds, minimum=2)
    regimes = {
        f"{loss}_{trained}": {"loss": dict(weights), "train": trained, "rate": list(RATES)}
        for loss, weights in LOSSES.items()
        for trained in TRAINED
    }
    return {
        **{name: getattr(settings, name) for name in COPIED},
        "model": "transformer",
        "query_key": "separate",
        "points": [dict(shape) for shape in shapes],
        "seed": f"{settings.seed}:{settings.seed + settings.seeds}",
        "regime": ["pretrained", *regimes],
        "regimes": regimes,
        "evaluation_shots": evaluation_numbers(settings),
        "simulation_quantiles": list(LEVELS),
        "baselines": list(BASELINES),
    }


def shape_name(layers: int, heads: int, attention: str) -> str:
    """Return the name of a transformer in tables and figures.

    Args:
        layers: number of layers.
        heads: heads a layer.
        attention: `linear` or `softmax`.

    Returns:
        The name.

    Example:
        >>> shape_name(2, 2, "softmax")
        '(2, 2) softmax'
    """
    return f"({layers}, {heads})" + ("" if attention == "linear" else f" {attention}")
