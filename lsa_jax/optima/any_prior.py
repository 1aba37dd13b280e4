"""Minima of the pretraining loss for any task law: over Q at v = e_y in closed form, and over V and Q in turn."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, moments, precision, whitening
from lsa_jax.factorizations import inverse
from lsa_jax.optima import quadratic
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior, moments_of, require_moments, require_prior_dim
from lsa_jax.problem import LinearRegression, require_same_dim


def pretrained_slice(problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike) -> Params:
    r"""Compute the minimiser over Q at $v = e_y$ of the pretraining loss, for any task law with moments.

    At $v = e_y$ the prediction is linear in Q and the query does not meet itself: $f = h^\top Qz$ with $h = \frac1N\sum_i y_iz_i$. The
    minimiser is the best linear regression of the task on h, one linear system for all columns of Q,

    $$ Q_{\cdot x} = E[hh^\top]^{+}\,E[h\theta^\top], \qquad Q_{\cdot 0} = Q_{0\cdot} = 0, $$

    where both averages are polynomials in four moments of the law: the cost is $O(d^3)$ whatever the size of a pool.

    **Guarantees** the global minimum within the slice, and the only one where $E[hh^\top]$ is regular, as with label noise at finite m.
    For a law that is symmetric about 0 it is `pretrained`. For others V can do better: `alternating` continues from here.

    Args:
        problem: covariance of the covariates and label noise.
        prior: law of the tasks, with moments; it may have a mean, or be a pool of any tasks.
        num_shots: number m of pretraining examples, a whole number from 1 on or `jnp.inf`.

    Returns:
        The minimiser with $v = e_y$; one of them where the tasks do not span the space and m is infinite.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior has no moments, dimensions differ, or `num_shots` is below 1 or fractional.

    References:
        docs/theory.md, equation (T1). Lu, Letey, Zavatone-Veth, Maiti, Pehlevan, arXiv 2405.11751: their ridge regression on many prompts
        tends to it.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.3)
        >>> prior = lsa.GaussianPrior(mean=jnp.array([1.0, 0.0]), covariance=jnp.eye(2) / 2)
        >>> optimum = pretrained_slice(problem, prior, num_shots=10)
        >>> round(float(lsa.prior_risk(optimum, problem, prior, num_shots=10)), 4)
        0.5436
    """
    require_prior_dim(prior, problem.dim)
    require_moments(prior)
    return _slice(problem, prior, checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1))


def alternating(params: Params, problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike, num_rounds: int = 50) -> Params:
    r"""Minimise the pretraining loss over V and over Q in turn, each exactly: at fixed Q it is a convex quadratic in V, and the reverse.

    **Guarantees** a loss that never rises, for any task law with moments, and an end that no change of V alone or of Q alone improves. It
    is no global minimum where the landscape has others: compare several starts.

    Args:
        params: where to start, such as `pretrained_slice`.
        problem: covariance of the covariates and label noise.
        prior: law of the tasks, with moments.
        num_shots: number m of pretraining examples, a whole number from 0 on or `jnp.inf`.
        num_rounds: rounds, of one solve with d + 2 unknowns and one with (d + 1)(d + 2).

    Returns:
        The parameters after the last round; of several minimisers each step takes the nearest.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior has no moments, shapes differ, or a number is out of range.

    References:
        docs/theory.md, section on finite task pools.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.3)
        >>> prior = lsa.GaussianPrior(mean=jnp.array([1.0, 0.0]), covariance=jnp.eye(2) / 2)
        >>> reached = alternating(pretrained_slice(problem, prior, 10), problem, prior, 10)
        >>> round(float(lsa.prior_risk(reached, problem, prior, num_shots=10)), 4)
        0.542
    """
    require_same_dim(params, problem)
    require_prior_dim(prior, problem.dim)
    require_moments(prior)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _alternating(params, problem, prior, shots, checks.as_count("num_rounds", num_rounds))


@jax.jit
def _slice(problem: LinearRegression, prior: TaskPrior, num_shots: Float[Array, ""]) -> Params:
    """Solve the regression in whitened coordinates, where entry 0 of h tells nothing of the task."""
    dim, dtype = problem.dim, problem.root.dtype
    with precision.in_force():
        second, cross = _feature_moments(problem, prior, 1 / (num_shots + 1))
        back = inverse(problem.root)
        solved = quadratic.scaled_inverse(second) @ cross @ back
        acting = jnp.concatenate([back.T @ solved[:-1], solved[-1:]])
    zeros = jnp.zeros((dim + 2, dim + 2), dtype)
    return Params(value=zeros.at[-1, -1].set(1), query_key=zeros.at[1:, 1:-1].set(acting.astype(dtype)))


def _feature_moments(
    problem: LinearRegression, prior: TaskPrior, query_weight: Float[Array, ""]
) -> tuple[Float[Array, "feature feature"], Float[Array, "feature dim"]]:
    r"""Second moment of $h = \frac1N\sum_i y_i(g_i, y_i)$ and its product moment with the whitened task, both over p."""
    law, noise, axes = moments_of(prior, problem.root), problem.noise_std**2, jnp.eye(problem.dim, dtype=problem.root.dtype)
    covariance = jnp.zeros_like(axes) if law.covariance is None else law.covariance
    skewed = jnp.zeros_like(law.mean) if law.squared_norm_covariance is None else law.squared_norm_covariance
    tasks = covariance + jnp.outer(law.mean, law.mean)
    square, image = jnp.trace(tasks), covariance @ law.mean
    cubes = square * law.mean + 2 * image + skewed + noise * law.mean
    power = square + noise
    fourth = power**2 + 4 * law.mean @ image + 4 * law.mean @ skewed + law.squared_norm_variance
    border = (1 + query_weight) * jnp.append(cubes, fourth)
    block = tasks + query_weight * power * axes
    second = jnp.concatenate([jnp.concatenate([block, border[None, :-1]]), border[:, None]], axis=1)
    return second, jnp.concatenate([tasks, cubes[None]])


@jax.jit
def _alternating(params: Params, problem: LinearRegression, prior: TaskPrior, num_shots: Float[Array, ""], num_rounds: ArrayLike) -> Params:
    """Repeat the two solves over the entries that act."""
    law = moments_of(prior, problem.root)

    def risk(params: Params) -> Float[Array, ""]:
        whitened = whitening.whiten(params.acting, problem.root)
        return moments.squared_error(whitened, law, problem.noise_std, 1 / (num_shots + 1))

    def minimised(loss: quadratic.Loss, entries: Float[Array, " entries"]) -> Float[Array, " entries"]:
        with precision.in_force():
            gradient, hessian = quadratic.derivatives(loss, entries)
        return entries - quadratic.smallest_solution(hessian, gradient)

    def one_round(_: Array, params: Params) -> Params:
        def with_row(row: Float[Array, " token"]) -> Params:
            return params.replace(value=params.value.at[-1].set(row))

        params = with_row(minimised(lambda row: risk(with_row(row)), params.value[-1]))
        acting = params.query_key[:, :-1]

        def with_columns(entries: Float[Array, " entries"]) -> Params:
            return params.replace(query_key=params.query_key.at[:, :-1].set(entries.reshape(acting.shape)))

        return with_columns(minimised(lambda entries: risk(with_columns(entries)), acting.ravel()))

    return jax.lax.fori_loop(0, num_rounds, one_round, params)
