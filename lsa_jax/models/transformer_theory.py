"""What is exact about a transformer: its errors without examples and with infinitely many, and a cheaper sampler of linear attention."""

import functools
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.limits import limiting_risk
from lsa_jax.models.protocol import Distance, Risk, Theory
from lsa_jax.models.transformer_params import TransformerParams, merged_query_key
from lsa_jax.models.zero_shot import zero_shot_risks
from lsa_jax.params import MultiHeadParams
from lsa_jax.population import risk_function
from lsa_jax.predictions import distance_function
from lsa_jax.priors import FiniteTasks, TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression, require_same_dim
from lsa_jax.squared_errors import gram_errors

if TYPE_CHECKING:
    from lsa_jax.models.transformer import Transformer

TASKS_AT_ONCE = 256
"""Tasks of a pool whose errors are computed together; bounds the memory, not the result."""


@functools.cache
def of(model: "Transformer") -> Theory | None:
    """Return what is exact about a transformer.

    Args:
        model: the transformer.

    Returns:
        Its risk, for one layer of linear attention at any number of shots and else in infinite contexts, and for linear attention a sampler
        of errors from Gram matrices; None with an MLP or layer norms.
    """
    if model.mlp is not None or model.norm:
        return None
    sampled = functools.partial(gram_errors, model.predict_from_gram) if model.attention == "linear" else None
    if _is_one_layer(model):
        return Theory(risk=_layer_risk, sampled_errors=sampled, distance=_layer_distance)

    def risk(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Risk:
        if isinstance(tasks, TaskPrior):
            return lambda params, num_shots: prior_risk(model, params, problem, tasks, num_shots)
        return lambda params, num_shots: population_risk(model, params, problem, tasks, num_shots)

    return Theory(risk=risk, sampled_errors=sampled, exact_at=(math.inf,))


def _is_one_layer(model: "Transformer") -> bool:
    """Whether a transformer is one layer of linear attention as `lsa_jax.population_risk` knows it."""
    return (model.layers, model.attention, model.query_attends, model.extra_width) == (1, "linear", True, 0)


def _layer_risk(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Risk:
    """The exact risk of one layer of linear attention."""
    exact = risk_function(problem, tasks)

    def risk(params: TransformerParams, num_shots: ArrayLike) -> Float[Array, ""]:
        layer = _as_layer(params)
        require_same_dim(layer, problem)
        return exact(layer, num_shots)

    return risk


def _layer_distance(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Distance:
    """The exact distance of two layers of linear attention."""
    exact = distance_function(problem, tasks)
    return lambda params, other, num_shots: exact(_as_layer(params), _as_layer(other), num_shots)


def _as_layer(params: TransformerParams) -> MultiHeadParams:
    """The only layer, as the closed forms know it."""
    return MultiHeadParams(value=params.value[0], query_key=merged_query_key(params)[0])


def population_risk(
    model: "Transformer", params: TransformerParams, problem: LinearRegression, task: Real[ArrayLike, " dim"], num_shots: ArrayLike
) -> Float[Array, ""]:
    """Compute the exact error of a transformer without MLP and norm, at 0 shots or infinitely many.

    **Assumes** Gaussian covariates and label noise.

    Args:
        model: the transformer.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        task: the regression vector.
        num_shots: `jnp.inf` or 0. Where it is traced it must be infinite, and the error is NaN where it is not.

    Returns:
        The mean squared error, in squared units of the labels; differentiable.

    Raises:
        ValueError: if the model has an MLP or layer norms, or the number of shots is neither 0 nor infinite, or the shapes do not match.

    References:
        docs/theory.md, equations (D5) and (D8).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model, problem = lsa.Transformer(3, 2, "softmax"), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> untrained = model.init(jax.random.key(0), 2, std=0.0)
        >>> round(float(population_risk(model, untrained, problem, jnp.array([3.0, 4.0]), jnp.inf)), 4)
        25.25
    """
    if model.mlp is not None or model.norm:
        raise InputError(
            "a model with MLP or norm has no exact error, with infinitely many examples neither: use empirical_risk, or drop both"
        )
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype)
    known = checks.concrete(num_shots)
    if known is not None and known == 0:
        return zero_shot_risks(model, params, problem, checks.as_task("task", task, problem.dim)[None])[0]
    if known is not None and known != jnp.inf:
        raise InputError(
            f"num_shots is {known:g}; the exact error of a transformer is known for 0 shots and jnp.inf only (one layer of linear "
            "attention has it for any number, as Params): use empirical_risk between"
        )
    limit = limiting_risk(params.value, merged_query_key(params), problem, task, model.attention)
    return jnp.where(jnp.isinf(shots), limit, jnp.nan)


def prior_risk(
    model: "Transformer", params: TransformerParams, problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike
) -> Float[Array, ""]:
    """Compute the same error averaged over a finite pool of tasks.

    Args:
        model: the transformer.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        prior: a finite pool of tasks.
        num_shots: `jnp.inf` or 0, see `population_risk`.

    Returns:
        The mean squared error, in squared units of the labels; differentiable.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if it is no finite pool, and where `population_risk` raises.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model, problem = lsa.Transformer(3, 2), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> pool = lsa.FiniteTasks(tasks=jnp.array([[3.0, 4.0], [0.0, 0.0]]))
        >>> round(float(prior_risk(model, model.init(jax.random.key(0), 2, std=0.0), problem, pool, jnp.inf)), 4)
        12.75
    """
    require_prior_dim(prior, problem.dim)
    if not isinstance(prior, FiniteTasks):
        raise InputError("over a continuous prior the error of a deep model has no closed form: pass FiniteTasks of drawn tasks")
    known = checks.concrete(num_shots)
    if known is not None and known == 0:
        # Predictions know nothing of the task: what a pool adds to the error on its mean is its spread.
        mean = jnp.mean(prior.tasks, axis=0)
        spread = jnp.matmul(prior.tasks - mean[None], problem.root, precision=precision.current())
        return population_risk(model, params, problem, mean, 0) + jnp.mean(jnp.sum(spread**2, axis=1))

    def on_task(task: Float[Array, " dim"]) -> Float[Array, ""]:
        return population_risk(model, params, problem, task, num_shots)

    return jnp.mean(jax.lax.map(jax.checkpoint(on_task), prior.tasks, batch_size=TASKS_AT_ONCE))
