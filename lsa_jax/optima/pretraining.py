"""The minimiser of the pretraining loss over all parameters, regime (a)."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.covariates import CovariateLaw, Covariates, gaussian, require_cumulants
from lsa_jax.errors import InputError
from lsa_jax.factorizations import inverse
from lsa_jax.optima.quadratic import scaled_inverse
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior, covariance_root, is_symmetric, require_prior_dim
from lsa_jax.problem import LinearRegression


def pretrained(problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike, *, covariates: Covariates = gaussian) -> Params:
    r"""Compute the minimiser over all of V and Q of the pretraining loss, regime (a).

    With m = `num_shots` and $\Omega = E\,\theta\theta^\top$,

    $$ v = e_y, \qquad Q_{xx} = \Omega\Big[\Sigma\Omega + \tfrac{\mathrm{tr}(\Sigma\Omega) + \sigma^2}{m+1} I\Big]^{-1}, $$

    all else 0. It is stationary over all entries of V and Q, and the minimum over $Q_{xx}$ at $v = e_y$, both proved. That it is the global
    minimum is a numerical finding, and so is that no other minimiser exists, up to $(cV, Q/c)$ and the entries that never act, for d and
    rank Ω at least 2 and finite m. At m = ∞ it is one of many: $Q_{00}$ is free at $v_0 = 0$, and $v_0$ at $Q_{00} = Q_{0x} = 0$.

    **Assumes** a prior under which θ and -θ have the same law; for others no closed form is known. For covariates that are not Gaussian but
    have independent symmetric coordinates it is the minimum over $Q_{xx}$ at $v = e_y$, equation (26), and stationary.

    Args:
        problem: covariance of the covariates and label noise.
        prior: centred law of the tasks.
        num_shots: number m of pretraining examples, a whole number from 1 on; `jnp.inf` gives the paper's limit, $Q_{xx} = \Sigma^{-1}$.
        covariates: law of the covariates.

    Returns:
        The minimiser with $v_y = 1$.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior is not symmetric about 0, or dimensions differ, `num_shots` is below 1 or fractional, or the cumulants of
            the covariates are not known; where the first or the third is traced, $Q_{xx}$ is NaN.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Corollary 4.1 (its limit); docs/theory.md, equations (12) and (26).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> optimum = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
        >>> round(float(optimum.query_key[1, 1]), 5)
        0.79245
    """
    checks.as_single("problem", problem.batch_shape)
    require_prior_dim(prior, problem.dim)
    with jax.ensure_compile_time_eval():
        symmetric = is_symmetric(prior)
    if checks.concrete(symmetric) is not None and not symmetric:
        raise InputError(
            "the prior is not symmetric about 0 and no closed form of its optimum is known: "
            "centre it, or minimise prior_risk by training on population gradients"
        )
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1)
    block = jnp.where(symmetric, _block(problem, prior, shots, require_cumulants(covariates)), jnp.nan)
    zeros = jnp.zeros((problem.dim + 2, problem.dim + 2), block.dtype)
    return Params(value=zeros.at[-1, -1].set(1), query_key=zeros.at[1:-1, 1:-1].set(block))


@functools.partial(jax.jit, static_argnums=3)
def _block(problem: LinearRegression, prior: TaskPrior, num_shots: Float[Array, ""], covariates: CovariateLaw) -> Float[Array, "dim dim"]:
    """The only block of Q that is not 0."""
    factor = covariance_root(prior)
    with precision.in_force():
        whitened = problem.root.T @ factor
        ridge = (jnp.sum(whitened**2) + problem.noise_std**2) / (num_shots + 1)
        penalty = ridge * jnp.eye(problem.dim, dtype=whitened.dtype)
        if covariates is gaussian:
            return factor @ scaled_inverse(whitened.T @ whitened + penalty) @ factor.T
        penalty += covariates.fourth_cumulant / (num_shots + 1) * jnp.diag(jnp.sum(whitened**2, axis=1))
        return inverse(problem.root).T @ scaled_inverse(whitened @ whitened.T + penalty) @ whitened @ factor.T
