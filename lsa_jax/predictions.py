r"""Exact second moments of predictions and of their gradients: distances between models and the true Fisher information.

A difference, a multiple and a directional derivative of layers of linear attention are layers with more heads, so the risk's own polynomial
gives them all. Derivation: docs/theory.md, equations (23) and (24).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.params import Heads, LayerParams
from lsa_jax.population import Tasks, as_tasks, second_moment_function
from lsa_jax.problem import LinearRegression, require_same_dim

P = TypeVar("P", bound=LayerParams)
Stack = tuple[Float[Array, "stacked token"], Float[Array, "stacked token token"]]
"""Heads with their axis."""


def second_moment(
    params: LayerParams, problem: LinearRegression, tasks: Real[ArrayLike, " dim"] | Tasks, num_shots: ArrayLike
) -> Float[Array, ""]:
    r"""Compute the exact second moment of the prediction, $E f(Z;V,Q)^2$.

    **Assumes** what `population_risk` does.

    Args:
        params: parameters of one head or several.
        problem: covariance of the covariates and label noise, which the examples have.
        tasks: one regression vector, or a prior with moments to average over.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The second moment, in squared units of the labels.

    Raises:
        TypeError: if `tasks` is neither a vector nor a prior.
        ValueError: if shapes do not match the problem, a prior has no moments, or `num_shots` is negative or fractional.

    References:
        docs/theory.md, equations (8) and (24).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> bias = lsa.Params(value=jnp.zeros((4, 4)).at[-1, 0].set(3.0), query_key=jnp.zeros((4, 4)).at[0, 0].set(1.0))
        >>> float(second_moment(bias, problem, jnp.ones(2), num_shots=20))
        9.0
    """
    require_same_dim(params, problem)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _second_moment(params.acting, problem, as_tasks(tasks, problem), shots)


def prediction_distance(
    params: LayerParams,
    other: LayerParams,
    problem: LinearRegression,
    task_or_prior: Real[ArrayLike, " dim"] | Tasks,
    num_shots: ArrayLike,
) -> Float[Array, ""]:
    r"""Compute the exact mean squared difference of two models' predictions on the same prompts, $E(f - f')^2$.

    Models of as many heads each are compared head by head, $(v,Q) - (v',Q') \to (v-v',Q), (v',Q-Q')$, so that the distance of two models
    that nearly agree keeps its digits.

    **Assumes** what `population_risk` does.

    Args:
        params: parameters of one model.
        other: parameters of the other model, with any number of heads.
        problem: covariance of the covariates and label noise, which the examples have.
        task_or_prior: one regression vector, or a prior with moments to average over.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The distance, in squared units of the labels.

    Raises:
        TypeError: if `task_or_prior` is neither a vector nor a prior.
        ValueError: if shapes do not match the problem, a prior has no moments, or `num_shots` is negative or fractional.

    References:
        docs/theory.md, equation (24).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> params = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=2), num_shots=20)
        >>> scaled = lsa.Params(value=-2 * params.value, query_key=-params.query_key / 2)
        >>> round(float(prediction_distance(params, scaled, problem, jnp.ones(2), num_shots=20)), 6)
        0.0
    """
    require_same_dim(params, problem)
    require_same_dim(other, problem)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _second_moment(_difference(params, other), problem, as_tasks(task_or_prior, problem), shots)


def distance_function(problem: LinearRegression, tasks: Tasks) -> Callable[[LayerParams, LayerParams, ArrayLike], Float[Array, ""]]:
    """Return `prediction_distance` as a function of (params, other, num_shots), what depends on the problem alone computed once.

    For loops that evaluate many parameters on one problem; it checks nothing.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: one task, or a prior to average over.

    Returns:
        The function.
    """
    moment = second_moment_function(problem, tasks)
    return lambda params, other, num_shots: moment(_difference(params, other), num_shots)


def fisher(
    params: LayerParams, problem: LinearRegression, tasks: Real[ArrayLike, " dim"] | Tasks, num_shots: ArrayLike
) -> Float[Array, "entries entries"]:
    r"""Compute the true Fisher information of labels with unit variance around the prediction, $E[\nabla f\,\nabla f^\top]$ over prompts.

    It is half the Hessian in w of $E(\sum_i w_i\,\partial_i f)^2$, a second moment that is quadratic in w.

    **Assumes** what `population_risk` does.

    Args:
        params: parameters of one head or several.
        problem: covariance of the covariates and label noise, which the examples have.
        tasks: one regression vector, or a prior with moments to average over.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The matrix over all entries of `params`, in the order of `jax.flatten_util.ravel_pytree`; 0 for entries that never act. For labels
        of variance s² divide by s².

    Raises:
        TypeError: if `tasks` is neither a vector nor a prior.
        ValueError: if shapes do not match the problem, a prior has no moments, or `num_shots` is negative or fractional.

    References:
        docs/theory.md, equation (24).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.0)
        >>> params = lsa.Params(value=jnp.ones((3, 3)), query_key=jnp.zeros((3, 3)).at[0, 0].set(2.0))
        >>> fisher(params, problem, jnp.zeros(1), num_shots=0).shape
        (18, 18)
    """
    require_same_dim(params, problem)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _fisher(params, problem, as_tasks(tasks, problem), shots)


def fisher_diagonal(params: P, problem: LinearRegression, tasks: Real[ArrayLike, " dim"] | Tasks, num_shots: ArrayLike) -> P:
    r"""Compute the diagonal of `fisher`, $E(\partial_i f)^2$ for every entry of the parameters.

    **Assumes** what `population_risk` does.

    Args:
        params: parameters of one head or several.
        problem: covariance of the covariates and label noise, which the examples have.
        tasks: one regression vector, or a prior with moments to average over.
        num_shots: number of examples in the prompt, a whole number from 0 on or `jnp.inf`; may be traced.

    Returns:
        The diagonal in the form of `params`.

    Raises:
        TypeError: if `tasks` is neither a vector nor a prior.
        ValueError: if shapes do not match the problem, a prior has no moments, or `num_shots` is negative or fractional.

    References:
        docs/theory.md, equation (24).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.0)
        >>> params = lsa.Params(value=jnp.ones((3, 3)), query_key=jnp.zeros((3, 3)).at[0, 0].set(2.0))
        >>> float(fisher_diagonal(params, problem, jnp.zeros(1), num_shots=0).value[-1, 0])
        4.0
    """
    require_same_dim(params, problem)
    shots = checks.as_shots("num_shots", num_shots, params.value.dtype)
    return _fisher_diagonal(params, problem, as_tasks(tasks, problem), shots)


def _stacked(*models: tuple[Array, Array]) -> Stack:
    """The sum of several models: all their heads in one."""
    rows = [jnp.atleast_2d(rows) for rows, _ in models]
    query_keys = [query_keys.reshape(-1, *query_keys.shape[-2:]) for _, query_keys in models]
    return jnp.concatenate(rows), jnp.concatenate(query_keys)


def _difference(params: LayerParams, other: LayerParams) -> Stack:
    """The model that predicts the difference, of small heads where the two have as many heads and nearly agree."""
    (rows, query_keys), (other_rows, other_query_keys) = params.acting, other.acting
    if rows.shape == other_rows.shape:
        return _stacked((rows - other_rows, query_keys), (other_rows, query_keys - other_query_keys))
    return _stacked((rows, query_keys), (-other_rows, other_query_keys))


def _derivative(params: LayerParams, direction: Any) -> Stack:
    """The model that predicts the derivative of the prediction along a direction."""
    (rows, query_keys), (row_moves, query_key_moves) = jax.jvp(lambda params: params.acting, (params,), (direction,))
    return _stacked((row_moves, query_keys), (rows, query_key_moves))


@jax.jit
def _second_moment(heads: Heads, problem: LinearRegression, tasks: Tasks, num_shots: Float[Array, ""]) -> Float[Array, ""]:
    """Evaluate `second_moment_function` as one compiled program."""
    return second_moment_function(problem, tasks)(heads, num_shots)


@jax.jit
def _fisher(params: LayerParams, problem: LinearRegression, tasks: Tasks, num_shots: Float[Array, ""]) -> Float[Array, "entries entries"]:
    """Half the Hessian of the second moment of a directional derivative in the direction."""
    moment = second_moment_function(problem, tasks)
    flat, unflatten = ravel_pytree(params)
    with precision.in_force():
        return jax.hessian(lambda direction: moment(_derivative(params, unflatten(direction)), num_shots))(jnp.zeros_like(flat)) / 2


@jax.jit
def _fisher_diagonal(params: P, problem: LinearRegression, tasks: Tasks, num_shots: Float[Array, ""]) -> P:
    """Second moments of the derivatives along each entry."""
    moment = second_moment_function(problem, tasks)
    flat, unflatten = ravel_pytree(params)
    directions = jnp.eye(flat.size, dtype=flat.dtype)
    return unflatten(jax.lax.map(lambda direction: moment(_derivative(params, unflatten(direction)), num_shots), directions))
