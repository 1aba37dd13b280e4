"""The published optimisers, with the learning-rate decay that removes the bias of constant-step SGD."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks

OPTIMIZERS = ("sgd", "adam")
DECAYS = ("constant", "linear", "cosine")

PUBLISHED_CLIP = 1.0
"""Global norm to which the published runs clip their gradients."""


def sgd(
    learning_rate: ArrayLike, steps: int, decay: str = "linear", *, momentum: float = 0.9, clip_norm: float = PUBLISHED_CLIP
) -> optax.GradientTransformation:
    """Return stochastic gradient descent with momentum, gradients clipped by their global norm.

    On sampled gradients clipping moves the point at which training ends, see docs/theory.md, section on sampling.

    Args:
        learning_rate: the rate before decay; may be traced.
        steps: number of steps of the run.
        decay: shape of the decay, see `decayed`; `constant` is the published one.
        momentum: decay rate of the accumulated gradient.
        clip_norm: largest global norm of a gradient (static), by default the published one; 0 clips nothing.

    Returns:
        The optax optimiser.

    Raises:
        ValueError: if the rate is not above 0, the decay is unknown, or `clip_norm` is negative or not finite.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression.
    """
    return optax.chain(_clipped(clip_norm), optax.sgd(decayed(learning_rate, steps, decay), momentum))


def adam(
    learning_rate: ArrayLike,
    steps: int,
    decay: str = "linear",
    *,
    b1: float = 0.9,
    b2: float = 0.9,
    clip_norm: float = PUBLISHED_CLIP,
) -> optax.GradientTransformation:
    """Return Adam with the published decay rates, gradients clipped by their global norm.

    Args:
        learning_rate: the rate before decay; may be traced.
        steps: number of steps of the run.
        decay: shape of the decay, see `decayed`; `constant` is the published one.
        b1: decay rate of the first moment.
        b2: decay rate of the second moment.
        clip_norm: largest global norm of a gradient (static), by default the published one; 0 clips nothing.

    Returns:
        The optax optimiser.

    Raises:
        ValueError: if the rate is not above 0, the decay is unknown, or `clip_norm` is negative or not finite.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression.
    """
    return optax.chain(_clipped(clip_norm), optax.adam(decayed(learning_rate, steps, decay), b1, b2))


def by_name(
    name: str, learning_rate: ArrayLike, steps: int, decay: str = "linear", clip_norm: float = PUBLISHED_CLIP
) -> optax.GradientTransformation:
    """Return `sgd` or `adam` by its name.

    Args:
        name: `sgd` or `adam`.
        learning_rate: the rate before decay; may be traced.
        steps: number of steps of the run.
        decay: shape of the decay.
        clip_norm: largest global norm of a gradient (static); 0 clips nothing.

    Returns:
        The optax optimiser.

    Raises:
        ValueError: if the name is unknown, or another value out of range.
    """
    make = {"sgd": sgd, "adam": adam}[checks.as_choice("optimiser", name, OPTIMIZERS)]
    return make(learning_rate, steps, decay, clip_norm=clip_norm)


def decayed(learning_rate: ArrayLike, steps: int, decay: str = "linear") -> optax.Schedule:
    """Return the learning rate as a function of the step.

    A constant step leaves SGD hovering above the optimum (measured at batch 512: 0.44 % of the risk). `linear` keeps the rate for half of
    the run and then lets it fall linearly to 0; `cosine` falls over the whole run.

    Args:
        learning_rate: the rate before decay, above 0; may be traced.
        steps: number of steps of the run.
        decay: `constant`, `linear` or `cosine`.

    Returns:
        The optax schedule.

    Raises:
        ValueError: if the rate is not above 0 or the decay is unknown.

    Example:
        >>> schedule = decayed(0.1, steps=100)
        >>> [round(float(schedule(step)), 3) for step in (0, 50, 75, 100)]
        [0.1, 0.1, 0.05, 0.0]
    """
    rate = checks.as_scale("learning_rate", learning_rate, minimum=0.0, zero_allowed=False)
    shape = {
        "constant": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, 0.0, max(steps - steps // 2, 1), steps // 2),
        "cosine": optax.cosine_decay_schedule(1.0, steps),
    }[checks.as_choice("decay", decay, DECAYS)]

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        return rate * jnp.asarray(shape(step), rate.dtype)

    return schedule


def _clipped(norm: float) -> optax.GradientTransformation:
    """Clipping by the global norm, or nothing for 0."""
    checks.as_scale("clip_norm", norm, minimum=0.0)
    return optax.clip_by_global_norm(float(norm)) if norm else optax.identity()
