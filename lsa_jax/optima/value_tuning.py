"""Minimisers over the value matrix alone, regimes (c) and (d): the risk is quadratic in it, so a Newton step is exact."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, moments, precision, whitening
from lsa_jax.factorizations import inverse
from lsa_jax.optima import quadratic
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression, require_same_dim


def value(params: Params, problem: LinearRegression, task: Real[ArrayLike, " dim"]) -> Params:
    r"""Compute the minimiser over V of the zero-shot error of one task nearest to `params`, regime (c).

    For a frozen Q the error is a convex quadratic in v whose argmin set leaves $v_y$ free and, unless sym(Q) vanishes on (1, x), nothing
    else: a product of polynomials is zero only if one factor is. It counts as vanishing below $\sqrt\epsilon$ of Q, ε the rounding of the
    floating type, as after pretraining on a single task, and then V stays. For the pretrained limit $Q_{xx} = \Sigma^{-1}$ it is
    $v_x = \theta_0/(d+4)$.

    Args:
        params: V to start from and Q to keep, any matrices.
        problem: covariance of the covariates and label noise.
        task: the target task θ₀.

    Returns:
        Parameters with the same Q and all of V but the minimised entries of its last row.

    Raises:
        ValueError: if shapes do not match the problem or an entry is not finite.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Theorem 4.6; docs/theory.md, equation (15).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.0)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=jnp.inf)
        >>> fine_tuned = lsa.optima.value(start, problem, jnp.eye(5)[0])
        >>> round(float(9 * fine_tuned.value[-1, 1]), 5)
        1.0
    """
    require_same_dim(params, problem)
    task = checks.as_task("task", task, problem.dim)
    params = _promoted(params, problem, task)
    return _with_row(params, _zero_shot_row(params, problem, task))


def value_auxiliary(params: Params, problem: LinearRegression, task: Real[ArrayLike, " dim"], num_shots: ArrayLike) -> Params:
    """Compute the minimiser over V of the n-shot error of one task inside the argmin set of its zero-shot error, regime (d).

    Stage 1 is `value`; stage 2 minimises the n-shot error, again a convex quadratic in v, over the directions that leave the zero-shot
    error at its minimum: $v_y$, or all of v where sym(Q) vanishes on (1, x). Where stage 2 is not unique its solution is the one nearest
    to that of stage 1.

    Args:
        params: V to start from and Q to keep, any matrices.
        problem: covariance of the covariates and label noise.
        task: the target task θ₀.
        num_shots: number n of examples in the few-shot error, a whole number from 1 on or `jnp.inf`.

    Returns:
        Parameters with the same Q and all of V but the minimised entries of its last row.

    Raises:
        ValueError: if shapes do not match the problem, an entry is not finite, or `num_shots` is below 1 or fractional.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Theorem 4.9; docs/theory.md, equations (16) and (17).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
        >>> fine_tuned = lsa.optima.value_auxiliary(start, problem, jnp.eye(5)[0], num_shots=20)
        >>> round(float(fine_tuned.value[-1, -1]), 4)
        0.8254
    """
    require_same_dim(params, problem)
    task = checks.as_task("task", task, problem.dim)
    params = _promoted(params, problem, task)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype, minimum=1)
    return _with_row(params, _few_shot_row(params, problem, task, shots))


def _promoted(params: Params, problem: LinearRegression, task: Float[Array, " dim"]) -> Params:
    """The parameters in the floating type that results from all three."""
    dtype = jnp.result_type(params.value, problem.root, task)
    return Params(value=params.value.astype(dtype), query_key=params.query_key.astype(dtype))


def _with_row(params: Params, row: Float[Array, " token"]) -> Params:
    """The parameters with another last row of V, the only one that acts."""
    return Params(value=params.value.at[-1].set(row), query_key=params.query_key)


def _row_derivatives(
    params: Params, problem: LinearRegression, task: Float[Array, " dim"], query_weights: Real[Array, " weights"]
) -> tuple[Float[Array, "weights token"], Float[Array, "weights token token"]]:
    """Gradient and Hessian at each query weight of the risk in the last row of V, in which it is quadratic: a Newton step is exact."""
    law, row = whitening.of_task(task, problem.root), params.value[-1]

    def at(query_weight: Float[Array, ""]) -> tuple[Float[Array, " token"], Float[Array, "token token"]]:
        def risk(row: Float[Array, " token"]) -> Float[Array, ""]:
            whitened = whitening.whiten((row, params.query_key), problem.root)
            return moments.squared_error(whitened, law, problem.noise_std, query_weight)

        return quadratic.derivatives(risk, row)

    with precision.in_force():
        return jax.lax.map(at, query_weights.astype(row.dtype))


def _zero_shot_is_constant(params: Params, problem: LinearRegression, task: Float[Array, " dim"]) -> Array:
    """Whether the query form z'Qz, and with it every zero-shot prediction, is nothing beside Q, in units of covariates and of labels."""
    # Below the root of rounding a V that makes predictions of the form is so large that no few-shot error has a digit left.
    query_key = params.query_key
    with precision.in_force():
        label = jnp.sqrt(jnp.sum((problem.root.T @ task) ** 2) + problem.noise_std**2)
        mixing = jnp.eye(len(query_key), dtype=query_key.dtype).at[1:-1, 1:-1].set(problem.root).at[-1, -1].set(label)
        form = (mixing.T @ (query_key + query_key.T) @ mixing)[:-1, :-1]
        size = jnp.abs(mixing).T @ jnp.abs(query_key) @ jnp.abs(mixing)
    return jnp.max(jnp.abs(form)) <= jnp.sqrt(jnp.finfo(query_key.dtype).eps) * jnp.max(size)


@jax.jit
def _zero_shot_row(params: Params, problem: LinearRegression, task: Float[Array, " dim"]) -> Float[Array, " token"]:
    """Last row of V after one exact Newton step on (v_0, v_x), the coordinates that the zero-shot error sees."""
    (gradient,), (hessian,) = _row_derivatives(params, problem, task, jnp.ones(1))
    return params.value[-1] - _zero_shot_step(gradient, hessian, _zero_shot_is_constant(params, problem, task))


def _zero_shot_step(gradient: Float[Array, " token"], hessian: Float[Array, "token token"], constant: Array) -> Float[Array, " token"]:
    """The step to the minimiser of the zero-shot error, none where that error does not depend on V."""
    seen = jnp.where(constant, jnp.eye(len(hessian) - 1, dtype=hessian.dtype), hessian[:-1, :-1])
    with precision.in_force():
        return jnp.append(jnp.where(constant, 0, inverse(seen) @ gradient[:-1]), 0)


@jax.jit
def _few_shot_row(
    params: Params, problem: LinearRegression, task: Float[Array, " dim"], num_shots: Float[Array, ""]
) -> Float[Array, " token"]:
    """Last row of V after the zero-shot step and one exact Newton step in the kernel of the zero-shot Hessian."""
    weights = jnp.stack([jnp.ones_like(num_shots), 1 / (num_shots + 1)])
    gradients, hessians = _row_derivatives(params, problem, task, weights)
    constant = _zero_shot_is_constant(params, problem, task)
    step = _zero_shot_step(gradients[0], hessians[0], constant)
    free = jnp.where(constant, jnp.ones_like(step), jnp.zeros_like(step).at[-1].set(1))
    with precision.in_force():
        gradient = gradients[1] - hessians[1] @ step
    return params.value[-1] - step - quadratic.smallest_solution(hessians[1] * jnp.outer(free, free), gradient * free)
