"""The experiment behind `lsa-jax reproduce`: what is trained on what, per seed, as pure functions of the seed's key."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from lsa_jax import checks, covariances, lineage, optimizers, priors
from lsa_jax.errors import InputError
from lsa_jax.lineage import Protocol, Seed, Setting
from lsa_jax.problem import LinearRegression
from lsa_jax.reproduce.settings import Settings

PHASES = ("pretrained", "full", "value", "value_auxiliary")
"""Regimes in the order they are trained."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked and prepared reproduction."""

    settings: Settings
    protocol: Protocol
    setting: Setting
    seeds: Seed

    @property
    def seed_numbers(self) -> range:
        """The training seeds."""
        return range(self.settings.seed, self.settings.seed + self.settings.seeds)


def prepare(settings: Settings) -> Experiment:
    """Check the settings and draw what each seed starts from.

    Args:
        settings: settings of the reproduction.

    Returns:
        The experiment.

    Raises:
        ValueError: if a setting is out of range, with what was got, what is wanted and how to mend it.
    """
    checks.as_count("dim", settings.dim)
    checks.as_count("seeds", settings.seeds, minimum=2)
    checks.as_count("seed", settings.seed, minimum=0)
    if settings.seed + settings.seeds > 2**32:
        raise InputError(f"seed is {settings.seed}; seeds must stay below 2**32: choose a smaller first seed")
    for name in ("pretraining_shots", "fine_tuning_shots", "evaluation_shots", "steps", "batch_size"):
        checks.as_count(name, getattr(settings, name))
    checks.as_count("pool_size", settings.pool_size, minimum=0)
    checks.as_count("simulation_prompts", settings.simulation_prompts, minimum=2)
    checks.as_scale("init_std", settings.init_std, minimum=0.0, zero_allowed=False)
    optimizers.by_name(settings.optimizer, settings.learning_rate, settings.steps, settings.decay)
    problem = LinearRegression(covariances.from_text(settings.covariance, settings.dim), settings.noise_std)
    target = None if settings.target_task == "random" else _task_from_text(settings.target_task, settings.dim)
    numbers = np.arange(settings.seed, settings.seed + settings.seeds, dtype=np.uint32)
    names = ("dim", "gradient", "steps", "batch_size", "pool_size", "optimizer", "decay")
    protocol = Protocol(**{name: getattr(settings, name) for name in names})
    setting = Setting(
        problem=problem,
        prior=priors.from_text(settings.prior, settings.dim),
        pretraining_shots=settings.pretraining_shots,
        learning_rate=settings.learning_rate,
        init_std=settings.init_std,
    )
    seeds = jax.jit(jax.vmap(lambda number: lineage.draw_seed(number, protocol, problem, target)))(numbers)
    return Experiment(settings=settings, protocol=protocol, setting=setting, seeds=seeds)


def stream(keys: Key[Array, " seeds"], tag: int) -> Key[Array, " seeds"]:
    """Return the keys of one use of each seed's randomness.

    Args:
        keys: the keys of the seeds.
        tag: number of the use.

    Returns:
        One key a seed.
    """
    return jax.vmap(jax.random.fold_in, (0, None))(keys, tag)


def _task_from_text(text: str, dim: int) -> Float[Array, " dim"]:
    """Read the entries of a task."""
    entries = [checks.as_number("target_task entry", entry) for entry in text.split(",")]
    return checks.as_task("target_task", np.array(entries), dim, zero_allowed=False)
