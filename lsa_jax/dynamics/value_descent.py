r"""Stochastic gradient descent of regime (c) on isotropic data: its second moments close on three numbers.

On zero-shot prompts and a frozen $Q_{xx} = \gamma I$ the prediction is $h\cdot v$ with $h = \beta|g|^2(1, g)$ in whitened coordinates,
$\beta = \gamma s^2$, so that a step is linear in the error δ of $v$. By symmetry $E\,\delta\delta^\top$ is the sum of a part in $v_0$, one
along the target and an isotropic one across it. Derivation: docs/theory.md, equations (S3) to (S5).
"""

import functools

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.dynamics.isotropic import variance_of
from lsa_jax.errors import InputError
from lsa_jax.factorizations import inverse, one_by_one
from lsa_jax.problem import LinearRegression

Vector = Float[Array, "3"]
"""One entry a part: $v_0$, along the target, across it (over the root of its dimension, so that matrices are symmetric)."""

_eigenvalues = one_by_one(lambda matrix: jnp.diag(jnp.linalg.eigvalsh(matrix)))


@chex.dataclass(frozen=True, mappable_dataclass=False)
class GradientMoments:
    """Moments of the gradient of one prompt: its mean over δ, its second moments per second moment of δ, and those at the optimum."""

    slope: Vector
    growth: Float[Array, "3 3"]
    noise: Vector
    rates: Vector
    units: Vector


def stationary_excess(
    problem: LinearRegression,
    task: Real[ArrayLike, " dim"],
    scale: ArrayLike,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    *,
    momentum: ArrayLike = 0.0,
    noisy_labels: bool = True,
) -> Float[Array, ""]:
    r"""Compute the mean zero-shot error, above its minimum, around which value-only training at a constant rate hovers.

    Exact at any rate and batch size, for SGD without clipping on fresh zero-shot prompts of the target task, from a frozen
    $Q_{xx} = \gamma I$. With momentum μ a step is $m \leftarrow \mu m + g$, $v \leftarrow v - \eta m$.

    **Assumes** Gaussian covariates of one variance in all directions.

    Args:
        problem: covariance of the covariates, a multiple of the identity, and label noise.
        task: the target task θ₀.
        scale: γ, not zero.
        learning_rate: η, above 0.
        batch_size: prompts per step, a whole number from 1 on; `jnp.inf` for exact gradients.
        momentum: μ, from 0 to below 1.
        noisy_labels: whether the labels of training prompts have noise, as drawn tokens do. The projected sampler, which is the default of
            `objectives.fresh_prompts`, adds its variance instead, and its gradients have none.

    Returns:
        The excess, in squared units of the labels; infinity from `largest_rate` on. May be traced in all arguments.

    Raises:
        ValueError: if the covariance is not isotropic, or a number is out of range.

    References:
        docs/theory.md, equation (S4).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.0)
        >>> round(float(lsa.dynamics.stationary_excess(problem, jnp.eye(5)[0], 0.8, learning_rate=1e-3, batch_size=64)), 5)
        0.00404
    """
    task, variance = checks.as_task("task", task, problem.dim), variance_of(problem)
    training = _training(scale, learning_rate, batch_size, momentum)
    return _excess(problem.dim, variance, jnp.sum(task**2), problem.noise_std if noisy_labels else jnp.zeros(()), *training)


def largest_rate(problem: LinearRegression, scale: ArrayLike, batch_size: ArrayLike, *, momentum: ArrayLike = 0.0) -> Float[Array, ""]:
    r"""Compute the learning rate from which on value-only training at a constant rate has no finite stationary error.

    Its second moments then grow without bound. What diverges first is the mean over runs: a little
    above, single ones still hover, with bursts.

    **Assumes** what `stationary_excess` does.

    Args:
        problem: covariance of the covariates, a multiple of the identity, and label noise.
        scale: γ of $Q_{xx} = \gamma I$, not zero.
        batch_size: prompts per step, a whole number from 1 on; `jnp.inf` for exact gradients.
        momentum: μ, from 0 to below 1.

    Returns:
        The rate. May be traced in all arguments.

    Raises:
        ValueError: if the covariance is not isotropic, or a number is out of range.

    References:
        docs/theory.md, equation (S5).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.0)
        >>> [round(float(largest_rate(problem, 0.8, batch)), 4) for batch in (1, 32, jnp.inf)]
        [0.0007, 0.012, 0.0248]
    """
    beta, _, batch, inertia = _training(scale, 1.0, batch_size, momentum)
    return _rate(problem.dim, variance_of(problem), beta, batch, inertia)


def _training(
    scale: ArrayLike, learning_rate: ArrayLike, batch_size: ArrayLike, momentum: ArrayLike
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The checked numbers of a training run."""
    rate = checks.as_scale("learning_rate", learning_rate, minimum=0.0, zero_allowed=False)
    inertia = checks.as_scale("momentum", momentum, minimum=0.0)
    if checks.concrete(inertia) is not None and inertia >= 1:
        raise InputError(f"momentum is {float(inertia):g}; it must be below 1")
    batch = checks.as_shots("batch_size", batch_size, rate.dtype, minimum=1)
    return checks.as_scale("scale", scale, zero_allowed=False), rate, batch, checks.nan_unless(inertia < 1, inertia)


@functools.partial(jax.jit, static_argnums=0)
def _excess(
    dim: int,
    variance: Float[Array, ""],
    squared_length: Float[Array, ""],
    noise_std: Float[Array, ""],
    scale: Float[Array, ""],
    rate: Float[Array, ""],
    batch: Float[Array, ""],
    momentum: Float[Array, ""],
) -> Float[Array, ""]:
    """Evaluate `stationary_excess` as one compiled program; a system that is no longer stable has an inverse with a negative entry."""
    moments = _moments(dim, variance, scale, variance * squared_length, noise_std)
    friction = jnp.diag(2 * (1 - momentum) / rate * moments.slope / moments.rates)
    response = inverse(friction - _growth(moments, batch, momentum))
    with precision.in_force():
        excess = (moments.slope / 2 * moments.units) @ response @ (moments.noise / batch)
    return jnp.where(jnp.all(response >= 0), excess, jnp.inf)


@functools.partial(jax.jit, static_argnums=0)
def _rate(
    dim: int, variance: Float[Array, ""], scale: Float[Array, ""], batch: Float[Array, ""], momentum: Float[Array, ""]
) -> Float[Array, ""]:
    """Evaluate `largest_rate` as one compiled program: where the system of the stationary moments becomes singular."""
    moments = _moments(dim, variance, scale, jnp.zeros(()), jnp.zeros(()))
    weight = jnp.sqrt(moments.rates / moments.slope)
    return 2 * (1 - momentum) / _eigenvalues(weight[:, None] * _growth(moments, batch, momentum) * weight[None])[-1, -1]


def _moments(
    dim: int, variance: Float[Array, ""], scale: Float[Array, ""], size: Float[Array, ""], noise_std: Float[Array, ""]
) -> GradientMoments:
    """Moments of the gradient of one prompt, from those of the length of a standard normal vector."""
    fourth, sixth, eighth, tenth, twelfth = (_length_moment(dim, order) for order in (4, 6, 8, 10, 12))
    parts, along = jnp.array([1.0, (dim - 1) ** 0.5]), jnp.array([1.0, 0.0])
    beta, pair, share = variance * scale, dim * (dim + 2), 1 / (dim + 4)
    inner = twelfth / pair * (jnp.outer(parts, parts) + 2 * jnp.eye(2))
    cross = tenth / dim * parts
    growth = jnp.block([[jnp.full((1, 1), eighth), cross[None]], [cross[:, None], inner]])
    bias = (sixth - 2 * share * eighth + share**2 * tenth) / dim * size + fourth * noise_std**2
    rest = (eighth - 2 * share * tenth + share**2 * twelfth) / pair * size * (parts + 2 * along) + sixth / dim * noise_std**2 * parts
    return GradientMoments(
        slope=2 * beta**2 * jnp.array([fourth, sixth / dim, sixth / dim]),
        growth=4 * beta**4 * growth,
        noise=4 * beta**2 * jnp.append(bias, rest),
        rates=jnp.stack([jnp.ones_like(variance), variance, variance]),
        units=jnp.append(1.0, parts),
    )


def _growth(moments: GradientMoments, batch: Float[Array, ""], momentum: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Second moments of a batch's gradient per second moment of δ, less what momentum takes off."""
    kept = 1 - 1 / batch - 2 * momentum / (1 + momentum)
    return moments.growth / batch + kept * jnp.diag(moments.slope**2)


def _length_moment(dim: int, order: int) -> float:
    """Mean of an even power of the length of a standard normal vector."""
    moment = 1.0
    for power in range(0, order, 2):
        moment *= dim + power
    return moment
