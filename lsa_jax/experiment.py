"""One lineage, a pretrained model and what is fine-tuned from it: drawn, trained and judged by pure functions of its setting."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from lsa_jax import models, objectives, optima, optimizers, prompts, training
from lsa_jax.constraints import batches_for
from lsa_jax.errors import InputError
from lsa_jax.objectives import Inputs, Objective
from lsa_jax.params import Params
from lsa_jax.population import prior_risk
from lsa_jax.priors import FiniteTasks, SpherePrior, TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import Given, Regime
from lsa_jax.setting import Setting

INIT_STREAM, TASK_STREAM, POOL_STREAM, SIMULATION_STREAM, TRAINING_STREAM, DIRECTION_STREAM = 0, 1, 2, 3, 4, 9
"""Streams of a seed's key. A regime trains on `TRAINING_STREAM` plus its own number; 5, which would be that of directions, is nobody's."""

BASELINE_STREAM, TASK_POOL_STREAM = 2**31 - 1, 2**31 - 2

ABOVE = 1.1
"""A loss above what it should be by this factor: pretraining has missed its minimum, fine-tuning has diverged."""

SLACK = 0.01
"""Part of the labels' power by which a loss may rise without counting as diverged, where it starts at 0."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows that prompts of tokens reserve for examples (static): over the prior, on the target task, and where errors are simulated."""

    prior: int | None = None
    target: int | None = None
    evaluation: int | None = None


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Lineage:
    """What one seed starts from: the data law, the law of the pretraining tasks, its randomness, target task and fine-tuning examples.

    Where the pretraining tasks are a pool, `law` is what they were drawn from; else the two are the same.
    """

    problem: LinearRegression
    prior: TaskPrior
    law: TaskPrior
    key: Key[Array, "*batch"]
    target_task: Float[Array, "*batch dim"]
    pool: prompts.Pool | None


def draw(
    setting: Setting, covariance: Float[Array, "dim dim"], prior: TaskPrior, target_task: Float[Array, " dim"] | None = None
) -> Lineage:
    """Draw what a seed starts from.

    Args:
        setting: its knobs, seed and noise among them.
        covariance: covariance of the covariates.
        prior: law of the pretraining tasks, or where `num_tasks` is finite of the tasks of their pool.
        target_task: the target task; by default one drawn uniformly from the unit sphere.

    Returns:
        The lineage.

    Example:
        >>> import lsa_jax as lsa
        >>> draw(Setting(dim=3, seed=7), jnp.eye(3), lsa.SpherePrior(dim=3)).target_task.shape
        (3,)
    """
    key, problem = jax.random.key(setting.seed), LinearRegression(covariance, setting.noise_std)
    if target_task is None:
        target_task = prompts.sample_task(jax.random.fold_in(key, TASK_STREAM), SpherePrior(dim=setting.dim))
    pool = None
    if setting.pool_size and setting.gradient == "sampled":
        pool = prompts.sample_pool(jax.random.fold_in(key, POOL_STREAM), problem, target_task, setting.pool_size)
    seen = prior
    if math.isfinite(setting.num_tasks):
        tasks = prompts.sample_tasks(jax.random.fold_in(key, TASK_POOL_STREAM), prior, int(setting.num_tasks))
        seen = FiniteTasks(tasks=tasks.T)
    return Lineage(problem=problem, prior=seen, law=prior, key=key, target_task=target_task, pool=pool)


def objective(setting: Setting, lineage: Lineage, regime: Regime, knobs: Mapping[str, ArrayLike], rows: Rows = Rows()) -> Objective:
    """Return what a regime minimises from its start on.

    Args:
        setting: the knobs.
        lineage: what the seed starts from.
        regime: the regime.
        knobs: values of the branch knobs that it reads.
        rows: rows to reserve where numbers of shots are traced and prompts drawn token by token.

    Returns:
        The objective.
    """
    model, problem = setting.network, lineage.problem
    prior, target, batch = lineage.prior, lineage.target_task, setting.batch_size
    if setting.gradient == "sampled":
        prior_risk = objectives.fresh_prompts(problem, prior, batch, max_shots=rows.prior, model=model)
        if lineage.pool is None:
            target_risk = objectives.fresh_prompts(problem, target, batch, max_shots=rows.target, model=model)
        else:
            target_risk = objectives.pooled_prompts(lineage.pool, batch, max_shots=rows.target, model=model)
        prior_distance = objectives.sampled_distance(problem, prior, batch, max_shots=rows.prior, model=model)
        target_distance = objectives.sampled_distance(problem, target, batch, max_shots=rows.target, model=model)
    else:
        prior_risk, target_risk = (_exact(objectives.population_gradient, model, problem, tasks) for tasks in (prior, target))
        prior_distance, target_distance = (_exact(objectives.exact_distance, model, problem, tasks) for tasks in (prior, target))
    inputs = Inputs(
        model=model,
        train=regime.train,
        prior_risk=prior_risk,
        target_risk=target_risk,
        pretraining_shots=setting.pretraining_shots,
        knobs=knobs,
        problem=problem,
        prior=prior,
        target_task=target,
        batches=batches_for(batch, setting.dim + 2) if setting.gradient == "sampled" else 1,
        prior_distance=prior_distance,
        target_distance=target_distance,
        max_shots=rows.prior,
    )
    return regime.objective(inputs)


def train(
    setting: Setting,
    lineage: Lineage,
    regime: Regime,
    knobs: Mapping[str, ArrayLike],
    parent: training.Trained | None = None,
    rows: Rows = Rows(),
) -> training.Trained:
    """Train one model of a lineage.

    Args:
        setting: the knobs.
        lineage: what the seed starts from.
        regime: the regime to train.
        knobs: values of the branch knobs that it reads, such as `fine_tuning_shots`.
        parent: the model it goes on from; None for the initial parameters.
        rows: see `objective`.

    Returns:
        The outcome. Where the exact loss is known it counts as diverged if it ends above where it started, by more than a tenth; so does a
        model whose parent diverged.

    Example:
        >>> import lsa_jax as lsa
        >>> setting = Setting(dim=3, steps=100)
        >>> lineage = draw(setting, jnp.eye(3), lsa.SpherePrior(dim=3))
        >>> train(setting, lineage, lsa.regimes.PAPER[0], {}).history.shape
        (100,)
    """
    model = setting.network
    start = model.init(jax.random.fold_in(lineage.key, INIT_STREAM), setting.dim, setting.init_std) if parent is None else parent.params
    steps, rate = regime.steps or setting.steps, regime.rate_at(knobs, setting.learning_rate)
    optimizer = optimizers.by_name(setting.optimizer, rate, steps, setting.decay, clip_norm=setting.clip_norm)
    key = jax.random.fold_in(lineage.key, TRAINING_STREAM + regime.stream)
    run = training.train(key, objective(setting, lineage, regime, knobs, rows), start, optimizer, schedule(steps))
    diverged = run.diverged
    if setting.gradient == "population":
        diverged |= _above(lineage, run.first_loss, run.history[-1])
    elif model.theory is not None and model.theory.exact_at is None:
        with contextlib.suppress(InputError):
            diverged |= _rose(setting, lineage, regime, knobs, start, run.params)
    return dataclasses.replace(run, diverged=diverged if parent is None else diverged | parent.diverged)


def schedule(steps: int) -> training.Settings:
    """Return the steps of a training phase, and how often its loss is recorded."""
    return training.Settings(steps=steps, history_stride=training.stride_for(steps))


def pretrained_optimum(setting: Setting, problem: LinearRegression, prior: TaskPrior) -> Params:
    """Return the pretraining optimum at the scale that gradient flow from the published initialisation ends at.

    The optimum is known up to $(cV, Q/c)$; c is fixed by the conserved quantity, whose mean at that initialisation is $-d(d+2)s^2$ for
    entries of standard deviation s. That fixes the scale of `full` as well.

    Args:
        setting: the knobs, of which the initialisation and the number of pretraining shots are used.
        problem: covariance of the covariates and label noise.
        prior: law of the pretraining tasks, symmetric unless it is a pool of `num_tasks`; then it is the minimum at $v = e_y$.

    Returns:
        The parameters.

    References:
        docs/theory.md, equations (12) and (14).
    """
    conserved = -problem.dim * (problem.dim + 2) * setting.init_std**2
    return optima.balanced(_minimiser(setting, problem, prior), conserved)


def _minimiser(setting: Setting, problem: LinearRegression, prior: TaskPrior) -> Params:
    """The minimiser over all entries for the law of a setting, which is symmetric; for a pool that over Q at v = e_y."""
    closed = optima.pretrained_slice if math.isfinite(setting.num_tasks) else optima.pretrained
    return closed(problem, prior, setting.pretraining_shots)


def given(setting: Setting, lineage: Lineage, fine_tuning_shots: ArrayLike, reached: Params | None = None) -> Given:
    """Return what the closed-form minimisers of a lineage are computed from, see `lsa_jax.regimes.Given`."""
    pretrained = pretrained_optimum(setting, lineage.problem, lineage.prior)
    return Given(lineage.problem, pretrained, lineage.target_task, fine_tuning_shots, reached)


def above_minimum(setting: Setting, lineage: Lineage, pretrained: Params) -> Bool[Array, ""]:
    """Tell whether pretraining missed its global minimum: the landscape has strict spurious ones, and steps may be too few.

    Args:
        setting: the knobs.
        lineage: what the seed started from.
        pretrained: its pretrained parameters.

    Returns:
        True if the pretraining loss is above the minimum by more than a tenth of it.

    References:
        docs/theory.md, section on pretraining.
    """
    problem, prior, shots = lineage.problem, lineage.prior, setting.pretraining_shots
    minimum = prior_risk(_minimiser(setting, problem, prior), problem, prior, shots)
    return prior_risk(pretrained, problem, prior, shots) > ABOVE * minimum


def _exact(make: Callable[..., Any], model: models.Model, problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Any:
    """The exact risk or distance, or where there is none what refuses it when a term asks for it."""
    try:
        return make(problem, tasks, model=model)
    except InputError as error:
        reason = str(error)

        def refuse(*given: Any) -> Float[Array, ""]:
            raise InputError(reason)

        return refuse


def _rose(setting: Setting, lineage: Lineage, regime: Regime, knobs: Mapping[str, ArrayLike], start: Any, end: Any) -> Bool[Array, ""]:
    """Whether the exact loss at the end of a run is above that at its start."""
    plain = dataclasses.replace(regime, within=None, train=objectives.plain_set(regime.train))
    exact = objective(dataclasses.replace(setting, gradient="population"), lineage, plain, knobs)
    aux = exact.prepare(lineage.key, start)
    return _above(lineage, *(exact.loss(lineage.key, params, 1.0, aux) for params in (start, end)))


def _above(lineage: Lineage, before: Float[Array, ""], after: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether a loss has risen by more than a tenth of what it was, beyond a small part of the labels' power."""
    power = jnp.sum((lineage.problem.root.T @ lineage.target_task) ** 2) + lineage.problem.noise_std**2
    return ~(after <= ABOVE * before + SLACK * power)
