"""Optax training loops: a whole run is one `lax.scan`, a pure function of its key."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.models.protocol import all_finite, kept, mask
from lsa_jax.objectives import Objective

DIVERGENCE_FACTOR = 10.0
"""A run that ends with its loss above that of its first step by this factor counts as diverged: clipped steps keep a bad run finite."""

MAX_RECORDS = 100
STEP_STREAM = 0
"""Stream of a run's key from which its steps draw; see `lsa_jax.objectives.objective` for the others."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Static settings of a run: the number of steps, how often the loss is recorded, and how much of its end is averaged.

    Args:
        steps: number of gradient steps, at least 1.
        history_stride: steps between two records of the loss; divides `steps`.
        average_last: fraction of the run, from its end, over which the iterates are averaged; 0 keeps the last iterate.

    Raises:
        ValueError: if `steps` or `history_stride` is below 1, the stride does not divide the steps, or the fraction is outside [0, 1].
    """

    steps: int
    history_stride: int = 1
    average_last: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        checks.as_count("steps", self.steps)
        checks.as_count("history_stride", self.history_stride)
        if self.steps % self.history_stride:
            raise InputError(f"history_stride is {self.history_stride}; it must divide steps, {self.steps}: see stride_for")
        if not 0 <= self.average_last <= 1:
            raise InputError(f"average_last is {self.average_last:g}; it must be a fraction of the run, from 0 to 1")

    @property
    def num_records(self) -> int:
        """Number of recorded losses."""
        return self.steps // self.history_stride

    @property
    def average_from(self) -> int:
        """First step whose iterate enters the average."""
        return self.steps - round(self.average_last * self.steps)


def stride_for(steps: int) -> int:
    """Return the smallest stride that divides the steps into at most 100 records.

    Args:
        steps: number of steps.

    Returns:
        The stride.

    Example:
        >>> stride_for(5000), stride_for(7)
        (50, 1)
    """
    return next(stride for stride in range(-(-steps // MAX_RECORDS), steps + 1) if steps % stride == 0)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class State:
    """What a run carries from step to step; `params` are what its steps move, see `Objective.enter`."""

    step: Int[Array, "*batch"]
    params: Any
    optimizer: Any
    aux: Any
    average: Any
    first_loss: Float[Array, "*batch"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Trained:
    """Outcome of a run: parameters, loss of the first step, mean loss over each stride, and whether it diverged: then it is no result."""

    params: Any
    first_loss: Float[Array, "*batch"]
    history: Float[Array, "*batch records"]
    diverged: Bool[Array, "*batch"]


def train(
    key: Key[Array, ""],
    objective: Objective,
    params: Any,
    optimizer: optax.GradientTransformation,
    settings: Settings,
) -> Trained:
    """Minimise an objective: one `lax.scan`, pure in its key, to be jitted and vmapped over seeds, tasks, rates and noise levels.

    Step t draws with the key `fold_in(fold_in(key, 0), t)`. Parameters outside the trainable set do not move. What the objective prepares
    is computed once, at the start, and its constraint is applied to the update of every step.

    Args:
        key: randomness of the run.
        objective: what to minimise.
        params: where to start.
        optimizer: any optax optimiser, for example `lsa_jax.optimizers.sgd`.
        settings: number of steps and what is kept.

    Returns:
        Parameters, loss history and a flag of divergence.

    References:
        docs/theory.md, section on optima (the constraint).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), num_shots=20)
        >>> risk = lsa.objectives.population_gradient(problem, jnp.ones(2))
        >>> (objective,) = lsa.regimes.stages("value", risk, num_shots=20)
        >>> settings = Settings(steps=200, history_stride=100)
        >>> run = train(jax.random.key(0), objective, start, lsa.optimizers.sgd(0.01, steps=200), settings)
        >>> bool(jnp.allclose(run.params.value, lsa.optima.value(start, problem, jnp.ones(2)).value, atol=1e-3))
        True
    """

    def advance_one(state: State, _: None) -> tuple[State, Float[Array, ""]]:
        return advance(key, objective, optimizer, settings, state)

    state = start(key, objective, params, optimizer, settings)
    state, history = jax.lax.scan(advance_one, state, length=settings.num_records)
    return finish(objective, settings, state, history)


def start(
    key: Key[Array, ""],
    objective: Objective,
    params: Any,
    optimizer: optax.GradientTransformation,
    settings: Settings,
) -> State:
    """Return the state before the first step; with `advance` and `finish` the pieces of `train`, for a caller that reports progress.

    Args:
        key: randomness of the run.
        objective: what to minimise.
        params: where to start.
        optimizer: the optimiser.
        settings: number of steps and what is kept.

    Returns:
        The state.
    """
    average = params if settings.average_last else None
    aux, moving = objective.prepare(key, params), objective.enter(key, params)
    with jax.numpy_dtype_promotion("standard"):
        optimizer_state = _restricted(objective, optimizer).init(moving)
    loss = jax.eval_shape(objective.loss, key, moving, jnp.zeros(()), aux)
    return State(
        step=jnp.zeros((), jnp.int32),
        params=moving,
        optimizer=optimizer_state,
        aux=aux,
        average=average,
        first_loss=jnp.zeros(loss.shape, loss.dtype),
    )


def advance(
    key: Key[Array, ""],
    objective: Objective,
    optimizer: optax.GradientTransformation,
    settings: Settings,
    state: State,
) -> tuple[State, Float[Array, ""]]:
    """Take `settings.history_stride` steps and return the mean loss over them.

    Args:
        key: randomness of the run, the same as for `start`.
        objective: what to minimise.
        optimizer: the optimiser.
        settings: number of steps and what is kept.
        state: the state to go on from.

    Returns:
        The new state and the mean loss.
    """
    restricted = _restricted(objective, optimizer)
    step_key, before = jax.random.fold_in(key, STEP_STREAM), state.params
    inside = mask(objective.model, before, objective.trainable)

    def moved(params: Any) -> Any:
        # Leaves that stay are those from before the loop, so that what is computed from them alone is computed once.
        return jax.tree.map(lambda new, old, within: new if np.any(within) else old, params, before, inside)

    def step(state: State, _: None) -> tuple[State, Float[Array, ""]]:
        current = moved(state.params)

        def loss_of(params: Any) -> Float[Array, ""]:
            return objective.loss(jax.random.fold_in(step_key, state.step), params, state.step / settings.steps, state.aux)

        loss, gradient = jax.value_and_grad(loss_of)(current)
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer_state = restricted.update(kept(gradient, inside), state.optimizer, current)
        params = moved(optax.apply_updates(current, kept(objective.project(updates, state.aux), inside)))
        average = None
        if state.average is not None:
            rate = 1 / jnp.maximum(state.step + 1 - settings.average_from, 1).astype(loss.dtype)
            average = jax.tree.map(lambda old, new: old + rate * (new - old), state.average, objective.leave(params, state.aux))
        following = State(
            step=state.step + 1,
            params=params,
            optimizer=optimizer_state,
            aux=state.aux,
            average=average,
            first_loss=jnp.where(state.step == 0, loss, state.first_loss),
        )
        return following, loss

    with precision.in_force():
        state, losses = jax.lax.scan(step, state, length=settings.history_stride)
    return state, jnp.mean(losses)


def finish(objective: Objective, settings: Settings, state: State, history: Float[Array, " records"]) -> Trained:
    """Return the outcome of a run from its last state.

    Args:
        objective: what was minimised.
        settings: number of steps and what is kept.
        state: the last state.
        history: the recorded losses.

    Returns:
        The outcome.
    """
    params = state.average if settings.average_last else objective.leave(state.params, state.aux)
    finite = all_finite((history, params))
    diverged = ~finite | (history[-1] > DIVERGENCE_FACTOR * state.first_loss)
    return Trained(params=params, first_loss=state.first_loss, history=history, diverged=diverged)


def _restricted(objective: Objective, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimiser on the trainable leaves alone."""

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda inside: "train" if np.any(inside) else "freeze", mask(objective.model, params, objective.trainable))

    return optax.partition({"train": optimizer, "freeze": optax.set_to_zero()}, labels)
