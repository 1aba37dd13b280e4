r"""Remedies against forgetting as terms of losses: elastic weight consolidation and distillation; replay and L2-SP are among `terms`.

Both compare a model with the one its run started from. The Fisher information of labels with unit variance is half the curvature of that
distance at the start, $E\nabla f\nabla f^\top$, so one distance, exact or sampled as the training is, gives every term here.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lsa_jax.objectives.terms import Inputs, Term
from lsa_jax.setting import FINE_TUNING_SHOTS

Prepared = tuple[Float[Array, " entries"], Float[Array, "entries *entries"]]
Curve = Callable[[Callable[[Float[Array, " entries"]], Float[Array, ""]], Float[Array, " entries"]], Float[Array, "entries *entries"]]


def diagonal_curvature(
    function: Callable[[Float[Array, " entries"]], Float[Array, ""]], point: Float[Array, " entries"]
) -> Float[Array, " entries"]:
    """Compute the diagonal of a Hessian, entry by entry, so that memory does not grow with the number of entries.

    Args:
        function: a function of a vector.
        point: where.

    Returns:
        The diagonal.

    Example:
        >>> diagonal_curvature(lambda x: x[0] ** 2 * x[1], jnp.array([1.0, 3.0])).tolist()
        [6.0, 0.0]
    """

    def second(direction: Float[Array, " entries"]) -> Float[Array, ""]:
        def slope(step: Float[Array, ""]) -> Float[Array, ""]:
            return jax.jvp(lambda step: function(point + step * direction), (step,), (jnp.ones_like(step),))[1]

        return jax.jvp(slope, (jnp.zeros((), point.dtype),), (jnp.ones((), point.dtype),))[1]

    return jax.lax.map(second, jnp.eye(point.size, dtype=point.dtype))


def _full_curvature(
    function: Callable[[Float[Array, " entries"]], Float[Array, ""]], point: Float[Array, " entries"]
) -> Float[Array, "entries entries"]:
    """A Hessian, row by row."""
    gradient = jax.grad(function)
    return jax.lax.map(lambda direction: jax.jvp(gradient, (point,), (direction,))[1], jnp.eye(point.size, dtype=point.dtype))


def _fisher(inputs: Inputs, key: Key[Array, ""], start: Any, curvature: Curve) -> Prepared:
    """Where the run starts and the Fisher information there over the pretraining prompts, averaged over batches one after the other."""
    vector, put = inputs.entries(start)

    def batch(index: Array) -> Float[Array, "entries *entries"]:
        def distance(moved: Float[Array, " entries"]) -> Float[Array, ""]:
            return inputs.distance("prior")(jax.random.fold_in(key, index), put(moved), start, inputs.pretraining_shots)

        return curvature(distance, vector) / 2

    def add(total: Float[Array, "entries *entries"], index: Array) -> tuple[Float[Array, "entries *entries"], None]:
        return total + batch(index), None

    zero = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(batch, jnp.zeros((), jnp.int32)))
    total, _ = jax.lax.scan(add, zero, jnp.arange(inputs.batches))
    return jax.lax.stop_gradient((vector, total / inputs.batches))


def pull(inputs: Inputs, key: Key[Array, ""], params: Any, prepared: Prepared) -> Float[Array, ""]:
    """Compute half the squared distance to the start in the metric of a Fisher information.

    Args:
        inputs: what the term is computed from.
        key: not used.
        params: the parameters.
        prepared: where the run started, and the information there, whole or its diagonal.

    Returns:
        The term.
    """
    start, fisher = prepared
    moved = inputs.chosen(params) - start
    return jnp.sum(moved * (fisher * moved if fisher.ndim == 1 else fisher @ moved)) / 2


def _frozen(inputs: Inputs, key: Key[Array, ""], start: Any) -> Any:
    """The teacher: the model that the run starts from."""
    return jax.lax.stop_gradient(start)


EWC = Term("ewc", pull, lambda inputs, key, start: _fisher(inputs, key, start, diagonal_curvature), compares=True)
r"""$\frac12\sum_i F_i(\theta_i - \theta_{\text{start},i})^2$ with the diagonal of the true Fisher information of the pretraining prompts.

Unlike L2-SP it does not change under $(cV, Q/c)$, nor where entries are measured in any other units.
"""

EWC_FULL = Term("ewc_full", pull, lambda inputs, key, start: _fisher(inputs, key, start, _full_curvature), compares=True)
"""The same with the whole matrix; over V of one layer it is distillation, and replay from the pretraining optimum."""

DISTILLATION = Term(
    "distillation",
    lambda inputs, key, params, start: inputs.distance("prior")(key, params, start, inputs.pretraining_shots),
    _frozen,
    compares=True,
)
"""The distance to the predictions of the model the run starts from, on pretraining prompts."""

DISTILLATION_TARGET = Term(
    "distillation_target",
    lambda inputs, key, params, start: inputs.distance("target")(key, params, start, inputs.knobs["fine_tuning_shots"]),
    _frozen,
    knobs=MappingProxyType({"fine_tuning_shots": FINE_TUNING_SHOTS}),
    compares=True,
)
"""The same on prompts of the target task with `fine_tuning_shots` examples."""

DISTILLATION_ZERO_SHOT = Term(
    "distillation_zero_shot",
    lambda inputs, key, params, start: inputs.distance("target")(key, params, start, 0),
    _frozen,
    compares=True,
)
"""The same on queries without examples, as learning without forgetting is usually done: from a pretrained model it pulls towards 0."""
