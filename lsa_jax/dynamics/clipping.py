"""Where clipped stochastic gradients vanish on average: a point other than the minimum, for regime (c) on isotropic data."""

import math
from collections.abc import Callable

import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
from jaxtyping import ArrayLike, Real

from lsa_jax import checks
from lsa_jax.dynamics.isotropic import variance_of
from lsa_jax.problem import LinearRegression

SMALLEST_TAIL = 1e-16
"""Probability of longer queries than those integrated over."""


def clipped_fixed_point(problem: LinearRegression, task: Real[ArrayLike, " dim"], scale: ArrayLike, clip_norm: ArrayLike) -> float:
    r"""Compute where value-only training on single prompts ends if every gradient is clipped: $v_x$ in units of its optimum.

    Small steps end where $E\,g\min(1, c/|g|) = 0$, and $E\,g = 0$ is not that: prompts with a long query have large gradients, and these
    are shortened. The gradient of one prompt is its features times its error, so that clipping it is clipping the error at $c/2|h|$, and
    the point is the minimum of a Huber loss whose threshold falls with the length of the query. It lies along the optimum, beyond it.

    **Assumes** Gaussian covariates of one variance in all directions, a frozen $Q_{xx} = \gamma I$, zero-shot prompts in batches of one,
    and labels of training prompts without noise, as the projected sampler has them. Larger batches have less of this bias.

    Args:
        problem: covariance of the covariates, a multiple of the identity.
        task: the target task θ₀, not zero.
        scale: γ, not zero.
        clip_norm: the norm c to which gradients are clipped, above 0.

    Returns:
        The factor, above 1; it tends to 1 as c grows. Computed on the host: it cannot be traced.

    Raises:
        ValueError: if the covariance is not isotropic, or a number is zero, negative or not finite.

    References:
        docs/theory.md, equation (S6).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.0)
        >>> [round(clipped_fixed_point(problem, jnp.eye(5)[0], 0.8, norm), 3) for norm in (1.0, 4.0, 1000.0)]
        [1.926, 1.723, 1.003]
    """
    task = checks.as_task("task", task, problem.dim, zero_allowed=False)
    variance = float(variance_of(problem))
    beta = abs(variance * float(checks.as_scale("scale", scale, zero_allowed=False)))
    norm = float(checks.as_scale("clip_norm", clip_norm, minimum=0.0, zero_allowed=False))
    size = (variance * float((task**2).sum())) ** 0.5
    dim = problem.dim

    def mean_gradient(factor: float) -> float:
        """Mean of the clipped gradient along the target, over the length of the query."""

        def at(length: float) -> float:
            error = size * length * (factor * length**2 / (dim + 4) - 1)
            return math.copysign(1, error) * length / root(length) * _mean_clipped(dim, abs(error) * steep(length), norm)

        return _radial_mean(dim, at, ((dim + 4) / factor) ** 0.5)

    def root(length: float) -> float:
        """Length of the features over that of their first entry."""
        return (1 + variance * length**2) ** 0.5

    def steep(length: float) -> float:
        """Norm of a gradient whose error is 1."""
        return 2 * beta * length**2 * root(length)

    largest = 2.0
    while mean_gradient(largest) < 0:
        largest *= 2
    return float(scipy.optimize.brentq(mean_gradient, 0.5, largest, xtol=1e-12))


def _mean_clipped(dim: int, norm: float, clip_norm: float) -> float:
    """Mean of |t| min(norm |t|, clip_norm) over the cosine t of a random direction."""
    edge = min(clip_norm / norm, 1.0) if norm else 1.0
    if dim == 1:
        return min(norm, clip_norm)
    half = (dim - 1) / 2
    below = norm / dim * scipy.special.betainc(1.5, half, edge**2)
    mean = scipy.special.beta(1, half) / scipy.special.beta(0.5, half)
    return below + clip_norm * mean * (1 - edge**2) ** half


def _radial_mean(dim: int, function: Callable[[float], float], kink: float) -> float:
    """Mean of a function of the length of a standard normal vector."""
    end = float(scipy.stats.chi(dim).isf(SMALLEST_TAIL))
    scale = 2 ** (1 - dim / 2) / math.gamma(dim / 2)

    def weighted(length: float) -> float:
        return function(length) * scale * length ** (dim - 1) * math.exp(-(length**2) / 2)

    return scipy.integrate.quad(weighted, 0, end, points=[kink] if kink < end else None, limit=200, epsrel=1e-10)[0]
