"""Settings of `lsa-jax verify`. Imports nothing heavy: the command's help is made from this file."""

import dataclasses
import itertools

from lsa_jax.flags import Whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the claims are checked; each field is a flag."""

    dim: Whole = 5
    """Dimension d of the covariates."""
    shots: Whole = 20
    """Examples n in few-shot errors, and in the auxiliary few-shot loss."""
    pretraining_shots: Whole = 20
    """Examples m in a pretraining prompt."""
    noise_std: float = 0.1**0.5
    """Standard deviation of the label noise."""
    covariance: str = "isotropic"
    """Covariance of the covariates: isotropic[:VARIANCE], power_law:EXPONENT, diagonal:A,B,... or rotated:ONE_OF_THESE."""
    prior: str = "sphere"
    """Law of the pretraining tasks: sphere[:RADIUS] or gaussian[:VARIANCE]."""
    seed: Whole = 0
    """Seed of the target task (a direction) and of every simulation."""
    prompts: Whole = 1_000_000
    """Prompts drawn to simulate each number."""


def thorough(settings: Settings) -> list[Settings]:
    """Return the grid of `--thorough`: three more dimensions with contexts that grow with them, three covariances, with and without noise.

    Args:
        settings: what all of them share.

    Returns:
        The settings, the given one first.

    Example:
        >>> len(thorough(Settings()))
        10
    """
    grid = [
        dataclasses.replace(
            settings, dim=dim, shots=4 * dim, pretraining_shots=5 * dim, covariance=covariance, prior=prior, noise_std=noise
        )
        for dim, (covariance, prior, noise) in itertools.product(
            (3, 8, 16), (("isotropic", "gaussian", 0.5), ("power_law:1", "sphere", 0.1**0.5), ("rotated:power_law:0.5", "gaussian", 0.0))
        )
    ]
    return [settings, *grid]
