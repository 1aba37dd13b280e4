"""The experiment behind `lsa-jax reproduce`: what is trained on what, per seed, as pure functions of the seed's key."""

import dataclasses

import chex
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from lsa_jax import checks, covariances, objectives, optima, optimizers, priors, prompts, training
from lsa_jax.errors import InputError
from lsa_jax.priors import SpherePrior, TaskPrior
from lsa_jax.problem import LinearRegression, Params
from lsa_jax.reproduce.settings import Settings

PARENTS = {"pretrained": None, "full": "pretrained", "value": "pretrained", "value_auxiliary": "value"}
"""Regimes in the order they are trained, and where each starts. Stage 1 of regime (d) is regime (c), so (d) goes on from it."""

INIT_STREAM, TASK_STREAM, POOL_STREAM, SIMULATION_STREAM, TRAINING_STREAM = range(5)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Seed:
    """All that belongs to one training seed: its randomness, its target task and its fine-tuning examples."""

    key: Key[Array, "*batch"]
    target_task: Float[Array, "*batch dim"]
    pool: prompts.Pool | None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked and prepared reproduction."""

    settings: Settings
    problem: LinearRegression
    prior: TaskPrior
    training: training.Settings
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
    seeds = jax.jit(jax.vmap(lambda number: _seed(number, settings, problem, target)))(numbers)
    return Experiment(
        settings=settings,
        problem=problem,
        prior=priors.from_text(settings.prior, settings.dim),
        training=training.Settings(steps=settings.steps, history_stride=training.stride_for(settings.steps)),
        seeds=seeds,
    )


def objective(experiment: Experiment, regime: str, seed: Seed) -> objectives.Objective:
    """Return what a regime minimises for one seed; for `value_auxiliary` its second stage.

    Args:
        experiment: the prepared experiment.
        regime: name of the regime.
        seed: what belongs to the seed.

    Returns:
        The objective.
    """
    settings, problem = experiment.settings, experiment.problem
    tasks = experiment.prior if regime == "pretrained" else seed.target_task
    if settings.gradient == "population":
        risk = objectives.population_gradient(problem, tasks)
    elif regime == "pretrained" or seed.pool is None:
        risk = objectives.fresh_prompts(problem, tasks, settings.batch_size)
    else:
        risk = objectives.pooled_prompts(seed.pool, settings.batch_size)
    shots = settings.pretraining_shots if regime == "pretrained" else settings.fine_tuning_shots
    return objectives.stages(regime, risk, shots)[-1]


def initial_params(experiment: Experiment) -> Params:
    """Return the published initialisation of every seed.

    Args:
        experiment: the prepared experiment.

    Returns:
        Parameters with a leading axis of seeds.
    """
    settings = experiment.settings
    draw = jax.vmap(lambda key: training.initial_params(key, settings.dim, settings.init_std))
    return draw(stream(experiment.seeds.key, INIT_STREAM))


def closed_form(experiment: Experiment, target_task: Float[Array, " dim"]) -> dict[str, Params]:
    """Return the theory's parameters of every regime for one target task.

    The pretrained optimum is known up to $(cV, Q/c)$; c is fixed by the conserved quantity, whose mean at the published initialisation is
    $-d(d+2)s^2$ for entries of standard deviation s. That fixes the scale of `full`.

    Args:
        experiment: the prepared experiment.
        target_task: the target task θ₀.

    Returns:
        Parameters by regime.

    References:
        docs/theory.md, section on optima.
    """
    settings, problem = experiment.settings, experiment.problem
    conserved = -settings.dim * (settings.dim + 2) * settings.init_std**2
    pretrained = optima.balanced(optima.pretrained(problem, experiment.prior, settings.pretraining_shots), conserved)
    return {
        "pretrained": pretrained,
        "full": optima.full(problem, target_task, None, pretrained),
        "value": optima.value(pretrained, problem, target_task),
        "value_auxiliary": optima.value_auxiliary(pretrained, problem, target_task, settings.fine_tuning_shots),
    }


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


def _seed(number: Array, settings: Settings, problem: LinearRegression, target: Float[Array, " dim"] | None) -> Seed:
    """Draw the pool of one seed, and its target task where none is given."""
    key = jax.random.key(number)
    if target is None:
        target = prompts.sample_task(jax.random.fold_in(key, TASK_STREAM), SpherePrior(dim=settings.dim))
    pool = None
    if settings.pool_size and settings.gradient == "sampled":
        pool = prompts.sample_pool(jax.random.fold_in(key, POOL_STREAM), problem, target, settings.pool_size)
    return Seed(key=key, target_task=target, pool=pool)
