"""The minimiser of the pretraining loss over all parameters, regime (a)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.factorizations import inverse, pseudo_inverse
from lsa_jax.priors import FiniteTasks, GaussianPrior, SpherePrior, TaskPrior, is_symmetric, require_prior_dim
from lsa_jax.problem import LinearRegression, Params


def pretrained(problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike) -> Params:
    r"""Compute the minimiser over all of V and Q of the pretraining loss, regime (a).

    With m = `num_shots` and $\Omega = E\,\theta\theta^\top$,

    $$ v = e_y, \qquad Q_{xx} = \Omega\Big[\Sigma\Omega + \tfrac{\mathrm{tr}(\Sigma\Omega) + \sigma^2}{m+1} I\Big]^{-1}, $$

    all else 0. It is stationary over all entries of V and Q, and the minimum over $Q_{xx}$ at $v = e_y$, both proved. That it is the global
    minimum is a numerical finding, and so is that no other minimiser exists, up to $(cV, Q/c)$ and the entries that never act, for d and
    rank Ω at least 2 and finite m. At m = ∞ it is one of many: $Q_{00}$ is free at $v_0 = 0$, and $v_0$ at $Q_{00} = Q_{0x} = 0$.

    **Assumes** Gaussian covariates and a prior under which θ and -θ have the same law; for others no closed form is known.

    Args:
        problem: covariance of the covariates and label noise.
        prior: centred law of the tasks.
        num_shots: number m of pretraining examples, a whole number from 1 on; `jnp.inf` gives the paper's limit, $Q_{xx} = \Sigma^{-1}$.

    Returns:
        The minimiser with $v_y = 1$.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior is not symmetric about 0, or dimensions differ, or `num_shots` is below 1 or fractional; where these are
            traced, $Q_{xx}$ is NaN.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Corollary 4.1 (its limit); docs/theory.md, equation (12).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> optimum = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
        >>> round(float(optimum.query_key[1, 1]), 5)
        0.79245
    """
    require_prior_dim(prior, problem.dim)
    if not is_symmetric(prior):
        raise InputError(
            "the prior is not symmetric about 0 and no closed form of its optimum is known: "
            "centre it, or minimise prior_risk by training on population gradients"
        )
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1)
    factor = _second_moment_factor(prior)
    whitened = jnp.matmul(problem.root.T, factor, precision=precision.current())
    ridge = (jnp.sum(whitened**2) + problem.noise_std**2) / (shots + 1)
    with precision.in_force():
        system = whitened.T @ whitened + ridge * jnp.eye(problem.dim, dtype=whitened.dtype)
        inverted = pseudo_inverse(system) if isinstance(prior, FiniteTasks) else inverse(system)
        block = checks.nan_unless(_symmetric(prior), factor @ inverted @ factor.T)
    zeros = jnp.zeros((problem.dim + 2, problem.dim + 2), block.dtype)
    return Params(value=zeros.at[-1, -1].set(1), query_key=zeros.at[1:-1, 1:-1].set(block))


def _second_moment_factor(prior: TaskPrior) -> Float[Array, "dim dim"]:
    r"""Square R with $E\,\theta\theta^\top = RR^\top$."""
    match prior:
        case GaussianPrior(root=root):
            return root
        case SpherePrior(dim=dim, radius=radius):
            return jnp.eye(dim, dtype=radius.dtype) * radius / np.sqrt(dim).astype(radius.dtype)
        case FiniteTasks(tasks=tasks):
            triangle = jnp.linalg.qr(tasks / jnp.sqrt(tasks.shape[0]).astype(tasks.dtype), mode="r")
            missing = prior.dim - triangle.shape[0]
            return jnp.concatenate([triangle, jnp.zeros((missing, prior.dim), tasks.dtype)]).T


def _symmetric(prior: TaskPrior) -> Bool[Array, ""]:
    """Whether θ and -θ have the same law, for values that are traced: each task as often in the pool as its opposite, up to rounding."""
    match prior:
        case GaussianPrior(mean=mean):
            return jnp.all(mean == 0)
        case FiniteTasks(tasks=tasks) if checks.concrete(tasks) is None:
            rounding = checks.SYMMETRY_TOLERANCE * jnp.max(jnp.abs(tasks))

            def balances(task: Float[Array, " dim"]) -> Bool[Array, ""]:
                same, opposite = (jnp.max(jnp.abs(tasks - sign * task[None]), axis=1) <= rounding for sign in (1, -1))
                return jnp.sum(same) == jnp.sum(opposite)

            return jnp.all(jax.lax.map(balances, tasks))
        case _:
            return jnp.ones((), bool)
