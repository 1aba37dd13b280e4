"""Finite pools of tasks: exact errors of drawn pools against their limit where pool, contexts and dimension grow in proportion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import optima, proportional
from lsa_jax.claims.case import Case
from lsa_jax.claims.findings import Finding
from lsa_jax.population import prior_risk
from lsa_jax.priors import FiniteTasks, GaussianPrior, SpherePrior
from lsa_jax.problem import LinearRegression

POOLS = {50: 64, 100: 32}
"""Pools that are drawn, by dimension; the second dimension is twice the first."""

FEW, MANY = 0.6, 2.0
"""Tasks of a pool over the dimension."""

RATE_TOLERANCE = 0.1
"""Largest distance of the measured power of d from -1."""


def proportional_limits(case: Case) -> list[Finding]:
    """Check errors on fresh tasks and on pool tasks of the minimum in the slice v = e_y over pools of tasks on the sphere.

    Args:
        case: where to check; its shots over its dimension and its noise are used, with isotropic covariates.

    Returns:
        For each size of pool the two errors, extrapolated to infinite dimension; for the smaller one also the power of d.
    """
    found, ratio = [], case.settings.shots / case.settings.dim
    for tag, size in ((1500, FEW), (1510, MANY)):
        limit = proportional.pool_errors(ratio, size, case.settings.noise_std)
        drawn = _drawn(case, tag, size, ratio, ratio, symmetric=False)
        found += _compare(f"κ = {size}, fresh tasks", float(limit.prior), [errors[:, 0] for errors in drawn], rated=size == FEW)
        found += _compare(f"κ = {size}, pool tasks", float(limit.pool), [errors[:, 1] for errors in drawn], rated=False)
    return found


def symmetric_limits(case: Case) -> list[Finding]:
    """Check errors on fresh tasks of the pretraining optimum over pools of Gaussian tasks and their opposites.

    Args:
        case: where to check; its shots and pretraining shots over its dimension and its noise are used, with isotropic covariates.

    Returns:
        For each size of pool the error, extrapolated to infinite dimension. Its distance from the limit is too small for a power of d.
    """
    found, dim = [], case.settings.dim
    ratios = case.settings.pretraining_shots / dim, case.settings.shots / dim
    for tag, size in ((1520, FEW), (1530, MANY)):
        limit = proportional.symmetric_pool_error(*ratios, size, case.settings.noise_std)
        drawn = _drawn(case, tag, size, *ratios, symmetric=True)
        found += _compare(f"κ = {size}, fresh tasks", float(limit), [errors[:, 0] for errors in drawn], rated=False)
    return found


def _drawn(case: Case, tag: int, size: float, pretraining: float, evaluation: float, *, symmetric: bool) -> list[np.ndarray]:
    """Errors of pools of every dimension, one pool a row."""
    found = []
    for dim, count in POOLS.items():
        shots = jnp.round(pretraining * dim), jnp.round(evaluation * dim)
        keys = jax.random.split(case.key(tag, dim), count)
        drawn = [pool_errors(key, case.problem.noise_std, *shots, dim, round(size * dim), symmetric) for key in keys]
        found.append(np.array(drawn))
    return found


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def pool_errors(
    key: Key[Array, ""],
    noise_std: ArrayLike,
    pretraining_shots: ArrayLike,
    evaluation_shots: ArrayLike,
    dim: int,
    num_tasks: int,
    symmetric: bool,
) -> Float[Array, " 2"]:
    """Draw a pool and compute the exact errors of its optimum: averaged over the prior, and over the pool."""
    problem = LinearRegression(jnp.eye(dim), noise_std)
    prior = GaussianPrior(mean=jnp.zeros(dim), covariance=jnp.eye(dim) / dim) if symmetric else SpherePrior(dim=dim)
    tasks = prior.sample(key, num_tasks).T
    pool = FiniteTasks(tasks=jnp.concatenate([tasks, -tasks]) if symmetric else tasks)
    params = (optima.pretrained if symmetric else optima.pretrained_slice)(problem, pool, pretraining_shots)
    return jnp.stack([prior_risk(params, problem, law, evaluation_shots) for law in (prior, pool)])


def _compare(name: str, limit: float, drawn: list[np.ndarray], *, rated: bool) -> list[Finding]:
    """The limit against errors extrapolated in 1/d, and if asked for the power of d."""
    dims = list(POOLS)
    means = [float(errors.mean()) for errors in drawn]
    deviations = [float(errors.std(ddof=1) / len(errors) ** 0.5) for errors in drawn]
    found = [
        Finding(
            case=name,
            exact=limit,
            simulated=2 * means[-1] - means[-2],
            standard_error=float(np.hypot(2 * deviations[-1], deviations[-2])),
        )
    ]
    if rated:
        power = np.log((means[-1] - limit) / (means[0] - limit)) / np.log(dims[-1] / dims[0])
        found.append(Finding(case=f"{name}: power of d", exact=-1.0, numerical=float(power), tolerance=RATE_TOLERANCE))
    return found
