"""An objective: a loss, the parameters it trains, what is prepared once before the run, and the constraint its steps obey."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lsa_jax import precision
from lsa_jax.constraints import argmin_projector
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model
from lsa_jax.objectives.low_rank import RANK, LowRank
from lsa_jax.objectives.schedules import Schedule, Weight
from lsa_jax.objectives.terms import Inputs, Term

CONSTRAINT_STREAM, PREPARE_STREAM, FACTOR_STREAM = 1, 2, 3
"""Streams of a run's key; its steps draw from stream 0."""


def _nothing(key: Key[Array, ""], start: Any) -> None:
    """Prepare nothing."""


def _as_they_are(tree: Any, aux: Any) -> Any:
    """Leave updates free, or parameters as they are."""
    return tree


def _the_parameters(key: Key[Array, ""], start: Any) -> Any:
    """Train the parameters themselves."""
    return start


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a run minimises.

    Args:
        loss: (key, params, fraction of the run that is over, what was prepared) -> scalar.
        trainable: the trainable set of the model.
        prepare: (key of the run, parameters it starts from) -> whatever loss and constraint need, computed once.
        project: (updates, what was prepared) -> updates that stay inside the constraint.
        model: the model that is trained, which knows its trainable sets.
        enter: (key of the run, parameters it starts from) -> what its steps move: the parameters themselves, or factors of them.
        leave: (what its steps move, what was prepared) -> parameters.
    """

    loss: Callable[[Key[Array, ""], Any, Any, Any], Float[Array, ""]]
    trainable: str = "all"
    prepare: Callable[[Key[Array, ""], Any], Any] = _nothing
    project: Callable[[Any, Any], Any] = _as_they_are
    model: Model = LINEAR
    enter: Callable[[Key[Array, ""], Any], Any] = _the_parameters
    leave: Callable[[Any, Any], Any] = _as_they_are


def minimise(terms: Sequence[tuple[Term, Weight]], inputs: Inputs, within: Term | None = None) -> Objective:
    """Return the objective of a weighted sum of terms, within the argmin set of another term if one is given.

    A loss of one term draws with the key of the step itself; of several terms the i-th draws with `fold_in(key, i)`.

    Args:
        terms: the terms with their weights.
        inputs: what the terms are computed from.
        within: the term whose argmin set the run starts in and must not leave. Exact where predictions are linear in what is trained, as in
            V of one layer: its loss is then a quadratic, and steps are projected on the null space of its Hessian. Elsewhere the
            projection holds to second order only.

    Returns:
        The objective.

    Raises:
        ValueError: if a set of low rank is asked to stay within an argmin set.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objectives (a) to (d); docs/theory.md, equations (15) and (17).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> risk = lsa.objectives.population_gradient(lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.0), jnp.ones(2))
        >>> inputs = Inputs(lsa.models.LINEAR, "value", risk, risk, 20, {"fine_tuning_shots": 20})
        >>> start = lsa.Params(value=jnp.zeros((4, 4)), query_key=jnp.eye(4))
        >>> goal = minimise([(lsa.objectives.TERMS["zero_shot"], 0.5)], inputs)
        >>> float(goal.loss(jax.random.key(0), start, 0.0, goal.prepare(jax.random.key(0), start)))
        1.0
    """
    adapter = LowRank.of(inputs.train)
    if adapter is not None:
        return _factored(terms, inputs, within, adapter)

    def loss(key: Key[Array, ""], params: Any, fraction: Any, aux: Any) -> Float[Array, ""]:
        keys = [key] if len(terms) == 1 else [jax.random.fold_in(key, place) for place in range(len(terms))]
        total: Any = None
        for (term, weight), one, prepared in zip(terms, keys, aux[0], strict=True):
            factor: Any = weight(fraction) if isinstance(weight, Schedule) else weight
            value = factor * term.loss(inputs, one, params, prepared)
            total = value if total is None else total + value
        return total

    def inner(key: Key[Array, ""], params: Any) -> Float[Array, ""]:
        assert within is not None
        return within.loss(inputs, key, params, within.prepare(inputs, key, params))

    def prepare(key: Key[Array, ""], start: Any) -> Any:
        stream = jax.random.fold_in(key, PREPARE_STREAM)
        prepared = tuple(term.prepare(inputs, jax.random.fold_in(stream, place), start) for place, (term, _) in enumerate(terms))
        if within is None:
            return prepared, None
        stream = jax.random.fold_in(key, CONSTRAINT_STREAM)
        return prepared, argmin_projector(stream, inner, start, inputs.model, inputs.train, inputs.batches)

    def project(updates: Any, aux: Any) -> Any:
        vector, put = inputs.model.acting(updates, inputs.train)
        return put(jnp.matmul(aux[1], vector, precision=precision.current()))

    return Objective(
        loss=loss,
        trainable=inputs.train,
        prepare=prepare,
        project=_as_they_are if within is None else project,
        model=inputs.model,
    )


def _factored(terms: Sequence[tuple[Term, Weight]], inputs: Inputs, within: Term | None, adapter: LowRank) -> Objective:
    """The objective of parameters of which only a low-rank update moves."""
    if within is not None:
        raise InputError(f"{inputs.train} is to stay within the argmin set of {within.name}; only plain trainable sets can")
    whole = minimise(terms, dataclasses.replace(inputs, train=adapter.targets))

    if adapter.ranks and RANK not in inputs.knobs:
        raise InputError(f"{inputs.train} is a sweep of ranks: here give one, such as lora({adapter.rank}, {adapter.targets})")

    def leave(factors: Any, aux: Any) -> Any:
        return adapter.merged(inputs.model, aux[0], factors, inputs.knobs.get(RANK))

    return Objective(
        loss=lambda key, factors, fraction, aux: whole.loss(key, leave(factors, aux), fraction, aux[1]),
        prepare=lambda key, start: (jax.lax.stop_gradient(start), whole.prepare(key, start)),
        model=inputs.model,
        enter=lambda key, start: adapter.start(inputs.model, jax.random.fold_in(key, FACTOR_STREAM), start),
        leave=leave,
    )
