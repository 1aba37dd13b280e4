"""What remedies over all parameters forget after pretraining on a pool, at a zero-shot error: one program for pools of every size."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lsa_jax import lab, precision
from lsa_jax.lab.landscape import as_numbers, follow
from lsa_jax.models import LINEAR
from lsa_jax.objectives import TERMS, Objective, minimise
from lsa_jax.params import Params
from lsa_jax.population import population_risk, prior_risk
from lsa_jax.priors import FiniteTasks, TaskPrior
from lsa_jax.problem import LinearRegression

REMEDIES = ("prior", "distillation", "ewc")
"""Replay of the pool, distillation on its prompts, EWC with its Fisher."""

KNOBS = np.logspace(3, -4, 15)
"""Weights, relative to that at which a remedy curves the start as much as the zero-shot loss does, the most protective first."""

Vector = Float[Array, " entries"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model pretrained on a pool, with what it is fine-tuned to and what remedies keep of it."""

    problem: LinearRegression
    pool: FiniteTasks
    target: Float[Array, " dim"]
    num_shots: Float[Array, ""]
    params: Params
    kept: Any = None


def errors(params: Params, start: Pretrained, prior: TaskPrior) -> Float[Array, " panels"]:
    """Compute the zero-shot error on the target, and few-shot errors on the pool and on fresh tasks.

    Args:
        params: any parameters.
        start: the pretrained model they come from, with its pool and target.
        prior: the law that fresh tasks come from.

    Returns:
        The three errors.
    """
    laws = (prior_risk(params, start.problem, law, start.num_shots) for law in (start.pool, prior))
    return jnp.stack([population_risk(params, start.problem, start.target, 0), *laws])


def errors_at(level: float, start: Pretrained, prior: TaskPrior) -> dict[str, np.ndarray]:
    """Compute what remedies over all parameters leave where the zero-shot error reaches a level.

    Args:
        level: the zero-shot error.
        start: the pretrained model.
        prior: the law that fresh tasks come from.

    Returns:
        By name of the remedy the zero-shot error, and the few-shot errors on the pool and on the prior, between the two knobs where the
        zero-shot error crosses the level for the first time.

    Raises:
        RuntimeError: if no knob brings the zero-shot error down to the level.
    """
    start = dataclasses.replace(start, kept=_kept(start))
    vector = np.asarray(LINEAR.acting(start.params, "all")[0])
    slopes = as_numbers(functools.partial(_slopes, start=start))
    units = np.eye(1 + len(REMEDIES))
    traces = [np.trace(_bends(vector, unit, start)) for unit in units]
    found = {}
    for place, name in enumerate(REMEDIES, 1):
        only = units[place] * traces[0] / traces[place]
        weights = [units[0] + knob * only for knob in KNOBS]
        path = follow(slopes, lambda moved, own: np.asarray(_bends(moved, own, start)), vector, weights)
        found[name] = first_crossing(level, np.array([_errors_along(point, start, prior) for point in (vector, *path)]))
    return found


def first_crossing(level: float, along: np.ndarray) -> np.ndarray:
    """Interpolate errors, one row a point of a path, where the first of them comes down to a level.

    Args:
        level: the level.
        along: the errors.

    Returns:
        The row there.

    Raises:
        RuntimeError: if the path does not start above the level and come down to it.

    Example:
        >>> first_crossing(0.5, np.array([[1.0, 0.0], [0.0, 2.0], [0.7, 9.0]])).tolist()
        [0.5, 1.0]
    """
    reached = np.flatnonzero(along[:, 0] <= level)
    if not len(reached) or reached[0] == 0:
        raise RuntimeError(f"zero-shot errors from {along[0, 0]:.4g} to {along[:, 0].min():.4g} do not come down to {level:.4g}")
    before, after = along[reached[0] - 1], along[reached[0]]
    return before + (before[0] - level) / (before[0] - after[0]) * (after - before)


def _objective(weights: Sequence[Any], start: Pretrained) -> Objective:
    """The zero-shot loss and all remedies, weighted."""
    inputs = lab.exact_inputs(start.problem, start.pool, start.target, start.num_shots)
    terms = [TERMS[name] for name in ("zero_shot", *REMEDIES)]
    return minimise(list(zip(terms, weights, strict=True)), inputs)


@jax.jit
def _kept(start: Pretrained) -> Any:
    """What remedies compare with: predictions of the start, and its Fisher information."""
    return _objective([1.0] * (1 + len(REMEDIES)), start).prepare(jax.random.key(0), start.params)


def _loss(vector: Vector, weights: Float[Array, " terms"], start: Pretrained) -> Float[Array, ""]:
    """The weighted loss at some entries of V and Q."""
    _, put = LINEAR.acting(start.params, "all")
    with precision.in_force():
        return _objective(list(weights), start).loss(jax.random.key(0), put(vector), 1.0, start.kept)


_slopes, _bends = jax.jit(jax.value_and_grad(_loss)), jax.jit(jax.hessian(_loss))


@jax.jit
def _errors_along(vector: Vector, start: Pretrained, prior: TaskPrior) -> Float[Array, " panels"]:
    """The errors at some entries of V and Q."""
    return errors(LINEAR.acting(start.params, "all")[1](vector), start, prior)
