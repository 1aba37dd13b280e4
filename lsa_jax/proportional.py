r"""Errors of one layer pretrained on a finite pool of tasks, where pool, contexts and dimension grow in proportion.

Isotropic covariates and tasks of squared size about 1, d → ∞ with $\kappa d$ tasks and $\alpha d$ examples a prompt. All follows from one
function, the Marchenko-Pastur resolvent of the pool. Derivation: docs/theory.md, section on finite task pools.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks
from lsa_jax.errors import InputError


class PoolErrors(NamedTuple):
    """Errors on tasks of the prior that the pool was drawn from, and on tasks of the pool."""

    prior: Float[Array, ""]
    pool: Float[Array, ""]


def resolvent(shift: ArrayLike, pool_ratio: ArrayLike) -> Float[Array, ""]:
    r"""Compute $\lim \frac1d\mathrm{tr}(\hat\Omega + x)^{-1}$ for the second moment of $\kappa d$ tasks, scaled to mean 1.

    Args:
        shift: x, above 0.
        pool_ratio: κ, tasks over the dimension; `jnp.inf` for the prior itself.

    Returns:
        The positive root m of $x m^2/\kappa + (x + 1 - 1/\kappa)m = 1$.

    References:
        docs/theory.md, equation (T2).

    Example:
        >>> float(resolvent(1.0, jnp.inf))
        0.5
    """
    shift, few = jnp.asarray(shift, float), 1 / jnp.asarray(pool_ratio, float)
    linear, square = shift + 1 - few, 4 * few * shift
    root = jnp.sqrt(linear**2 + square)
    negative = linear < 0
    return jnp.where(negative, 2 * (root - linear) / jnp.where(negative, square, 1), 2 / jnp.where(negative, 1, root + linear))


def pool_errors(shot_ratio: ArrayLike, pool_ratio: ArrayLike, noise_std: ArrayLike, prompt_ratio: ArrayLike = jnp.inf) -> PoolErrors:
    r"""Compute the limiting errors of ridgeless regression on prompts of a finite pool of tasks on the sphere.

    At $\tau = \infty$ it is the limit of `optima.pretrained_slice`; at finite τ that of `prompt_ridge` with a vanishing penalty.

    Args:
        shot_ratio: α, examples a prompt over the dimension, in pretraining and in evaluation; above 0.
        pool_ratio: κ, tasks of the pool over the dimension; above 0, `jnp.inf` for the prior itself.
        noise_std: standard deviation σ of the label noise.
        prompt_ratio: τ, pretraining prompts over the squared dimension; above 1, `jnp.inf` for the population loss.

    Returns:
        The errors on fresh tasks and on those of the pool, with the noise of the target.

    Raises:
        ValueError: if a number is out of range.

    References:
        Lu, Letey, Zavatone-Veth, Maiti, Pehlevan, arXiv 2405.11751; docs/theory.md, equations (T3) and (T4).

    Example:
        >>> errors = pool_errors(shot_ratio=10.0, pool_ratio=0.6, noise_std=0.1)
        >>> round(float(errors.prior), 4), round(float(errors.pool), 4)
        (0.4731, 0.0637)
    """
    shot_ratio, pool_ratio = _ratio("shot_ratio", shot_ratio), _ratio("pool_ratio", pool_ratio)
    prompt_ratio = _ratio("prompt_ratio", prompt_ratio, above=1.0)
    noise = checks.as_scale("noise_std", noise_std, minimum=0.0) ** 2
    shift, few, prompts = (1 + noise) / shot_ratio, 1 / pool_ratio, 1 / (prompt_ratio - 1)
    m = resolvent(shift, pool_ratio)
    spread = 1 / (1 - few * (m / (1 + few * m)) ** 2)
    prior = (spread - prompts) * (1 + shift) * (shift * m) ** 2 - (2 - prompts) * m * shift**2
    prior += ((1 + noise) * m * prompts + 1) * shift + noise * m * prompts + noise
    return PoolErrors(prior=prior, pool=(1 + prompts) * (noise + shift - shift**2 * m))


def symmetric_pool_error(
    pretraining_ratio: ArrayLike, evaluation_ratio: ArrayLike, pool_ratio: ArrayLike, noise_std: ArrayLike
) -> Float[Array, ""]:
    r"""Compute the limiting error on fresh Gaussian tasks of `optima.pretrained` over $\kappa d$ such tasks and their opposites.

    Args:
        pretraining_ratio: α, pretraining examples over the dimension; above 0.
        evaluation_ratio: ρ, examples in the evaluated prompt over the dimension; above 0, `jnp.inf` for the limit of long contexts.
        pool_ratio: κ, tasks of the pool, without the opposites, over the dimension; above 0, `jnp.inf` for the prior itself.
        noise_std: standard deviation σ of the label noise.

    Returns:
        The error, with the noise of the target; tasks are $N(0, I/d)$.

    Raises:
        ValueError: if a number is out of range.

    References:
        docs/theory.md, equation (T5).

    Example:
        >>> [round(float(symmetric_pool_error(2.0, 2.0, few, 0.5)), 4) for few in (0.2, 1.0, 10.0)]
        [1.1488, 0.8004, 0.6447]
    """
    ratios = {"pretraining_ratio": pretraining_ratio, "evaluation_ratio": evaluation_ratio, "pool_ratio": pool_ratio}
    pretraining, evaluation, pool = (_ratio(name, value) for name, value in ratios.items())
    noise = checks.as_scale("noise_std", noise_std, minimum=0.0) ** 2
    shift = (1 + noise) / pretraining
    m, slope = jax.value_and_grad(resolvent)(shift, pool)
    first, second = 1 - shift * m, 1 - 2 * shift * m - shift**2 * slope
    return noise + 1 - 2 * first + second + (1 + noise) * second / evaluation


def _ratio(name: str, value: ArrayLike, above: float = 0.0) -> Float[Array, ""]:
    """A scalar above a bound; infinity is a value, and NaN stands for a traced one out of range."""
    known = checks.concrete(value)
    if known is not None and (known.ndim or not known > above):
        raise InputError(f"{name} is {known}; it must be one number above {above:g}, or infinity")
    value = jnp.asarray(value, float)
    return jnp.where(value > above, value, jnp.nan)
