"""The sweep behind `lsa-jax reproduce`, written from its settings."""

import dataclasses
from typing import Any

import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.regimes import PAPER
from lsa_jax.reproduce.settings import Settings

REGIMES = tuple(regime for regime in PAPER if regime.limits is not None)
"""The paper's four regimes, about which it makes its twelve claims."""

AXES = (
    "dim",
    "model",
    "gradient",
    "steps",
    "optimizer",
    "decay",
    "covariance",
    "prior",
    "target_task",
    "pretraining_shots",
    "noise_std",
    "learning_rate",
    "init_std",
    "fine_tuning_shots",
)
"""Settings that are axes of the sweep under the same name."""


def spec_of(settings: Settings) -> dict[str, Any]:
    """Write a reproduction as the spec of a sweep.

    Args:
        settings: settings of the reproduction.

    Returns:
        The spec, see `lsa_jax.sweeps.spec.read`.

    Raises:
        ValueError: if there are too few seeds for an interval, or a number of shots, seeds or prompts is out of range.

    Example:
        >>> spec_of(Settings(seeds=4))["seed"]
        '0:4'
    """
    checks.as_count("seeds", settings.seeds, minimum=2)
    checks.as_count("seed", settings.seed, minimum=0)
    if settings.seed + settings.seeds > 2**32:
        raise InputError(f"seed is {settings.seed}; seeds must stay below 2**32: choose a smaller first seed")
    for name in ("pretraining_shots", "fine_tuning_shots", "evaluation_shots", "batch_size"):
        checks.as_count(name, getattr(settings, name))
    checks.as_count("pool_size", settings.pool_size, minimum=0)
    checks.as_count("simulation_prompts", settings.simulation_prompts, minimum=2)
    shots = evaluation_numbers(settings)
    sampled = {name: getattr(settings, name) for name in ("batch_size", "pool_size")} if settings.gradient == "sampled" else {}
    return {
        **{name: getattr(settings, name) for name in AXES},
        **sampled,
        "seed": f"{settings.seed}:{settings.seed + settings.seeds}",
        "regime": [regime.name for regime in REGIMES],
        "evaluation_shots": shots,
        "simulation_shots": [number for number in simulated_numbers(settings) if number in shots],
        "simulation_prompts": settings.simulation_prompts,
        "dtype": settings.dtype,
    }


def evaluation_numbers(settings: Settings) -> list[float]:
    """Return the numbers of shots of the exact curves: 0 to `evaluation_shots`, those of the claims, and infinity.

    Args:
        settings: settings of the reproduction.

    Returns:
        The numbers, in order.
    """
    finite = {*range(settings.evaluation_shots + 1), settings.fine_tuning_shots}
    return [*map(float, sorted(finite)), float("inf")]


def simulated_numbers(settings: Settings) -> list[float]:
    """Return the numbers of shots at which trained models are simulated as well: those of the claims, and a few along the curve.

    Args:
        settings: settings of the reproduction.

    Returns:
        The numbers, in order.
    """
    along = {0, 1, 2, 5, 10, settings.fine_tuning_shots, settings.evaluation_shots, float("inf")}
    return [shots for shots in evaluation_numbers(settings) if shots in along]


@dataclasses.dataclass(frozen=True)
class Trained:
    """The trained models of one regime, with a leading axis of seeds.

    Args:
        params: the leaves of its parameters by path.
        history: recorded losses.
        diverged: which seeds diverged.
    """

    params: dict[str, np.ndarray]
    history: np.ndarray
    diverged: np.ndarray
