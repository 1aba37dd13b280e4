r"""Gaussian identities: the squared error of one layer of linear attention as a polynomial in its parameters.

Everything is written in whitened coordinates. With $\Sigma = LL^\top$, $x = Lg$ and $\tau = L^\top\theta$, a query token is
$z = E(1, g)$ and a context token $z_i = F(1, g_i, \varepsilon_i)$, all Gaussians standard normal. The exact risk evaluates this
polynomial; the closed-form optima minimise it. Derivation: docs/theory.md, equations (3) to (10).
"""

import chex
import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax.priors import TaskMoments
from lsa_jax.problem import Params

ContextFactors = tuple[Float[Array, " query"], Float[Array, "query query"]]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class WhitenedParams:
    r"""The entries of (V, Q) that act, seen from the whitened query: $E^\top v$, $v_y$, $E^\top Q E$ and $E^\top Q_{y\cdot}$."""

    value: Float[Array, " query"]
    value_label: Float[Array, ""]
    query_key: Float[Array, "query query"]
    query_key_label: Float[Array, " query"]


def whiten(params: Params, root: Float[Array, "dim dim"]) -> WhitenedParams:
    """Change coordinates from x to g, where x = root g."""
    row = params.value[-1]
    left = jnp.concatenate([params.query_key[:1], root.T @ params.query_key[1:-1], params.query_key[-1:]])[:, :-1]
    both = jnp.concatenate([left[:, :1], left[:, 1:] @ root], axis=1)
    return WhitenedParams(
        value=jnp.concatenate([row[:1], root.T @ row[1:-1]]),
        value_label=row[-1],
        query_key=both[:-1],
        query_key_label=both[-1],
    )


def of_task(task: Float[Array, " dim"], root: Float[Array, "dim dim"]) -> TaskMoments:
    """Moments of one known task."""
    return TaskMoments(mean=root.T @ task, covariance=None, squared_norm_variance=jnp.zeros((), task.dtype))


def squared_error(
    params: WhitenedParams, task: TaskMoments, noise_std: Float[Array, ""], query_weight: Float[Array, ""]
) -> Float[Array, ""]:
    """Risk of a prompt whose query token has the weight q = 1/(n + 1) among the tokens, as a sum of terms that do not cancel."""
    context_weight = 1 - query_weight
    factors = context_factors(params, task, noise_std)
    prediction = context_prediction(params, task, factors)
    query_constant, query_linear, query_remainder = query_term(params)
    target = jnp.concatenate([jnp.zeros(1, task.mean.dtype), task.mean])
    bias = context_weight * prediction + query_weight * jnp.concatenate([query_constant[None], query_linear]) - target
    error = jnp.sum(bias**2) + context_weight * query_weight * context_variance(params, task, factors, prediction)
    slope = context_weight * prediction_slope(params, factors) - jnp.eye(task.mean.size + 1, task.mean.size, -1, bias.dtype)
    error += spread(slope, context_weight * params.value_label * params.query_key_label, task)
    return noise_std**2 + error + query_weight**2 * query_remainder


def context_factors(params: WhitenedParams, task: TaskMoments, noise_std: Float[Array, ""]) -> ContextFactors:
    r"""Coefficients of $(g_i, \varepsilon_i)$ in $v\cdot z_i$ and in $z_i\cdot QE$, at the mean task."""
    value = jnp.append(params.value[1:] + params.value_label * task.mean, noise_std * params.value_label)
    key = jnp.concatenate([
        params.query_key[1:] + jnp.outer(task.mean, params.query_key_label),
        noise_std * params.query_key_label[None],
    ])
    return value, key


def context_prediction(params: WhitenedParams, task: TaskMoments, factors: ContextFactors) -> Float[Array, " query"]:
    """Coefficients on (1, g) of the prediction from infinitely many examples, averaged over the task."""
    value, key = factors
    mean = params.value[0] * params.query_key[0] + key.T @ value
    if task.covariance is None:
        return mean
    return mean + jnp.trace(task.covariance) * params.value_label * params.query_key_label


def prediction_slope(params: WhitenedParams, factors: ContextFactors) -> Float[Array, "query dim"]:
    """Derivative of the prediction from infinitely many examples with respect to the whitened task, at its mean."""
    value, key = factors
    return params.value_label * key[:-1].T + jnp.outer(params.query_key_label, value[:-1])


def spread(slope: Float[Array, "rows dim"], curvature: Float[Array, " rows"], task: TaskMoments) -> Float[Array, ""]:
    r"""Summed variance over the task of the vector $\text{slope}\,\delta + |\delta|^2\,\text{curvature}$."""
    if task.covariance is None:
        return jnp.zeros((), slope.dtype)
    variance = jnp.sum((slope @ task.covariance) * slope) + task.squared_norm_variance * jnp.sum(curvature**2)
    if task.squared_norm_covariance is None:
        return variance
    return variance + 2 * curvature @ (slope @ task.squared_norm_covariance)


def context_variance(
    params: WhitenedParams, task: TaskMoments, factors: ContextFactors, prediction: Float[Array, " query"]
) -> Float[Array, ""]:
    r"""Variance of one context term $(v\cdot z_i)(z_i\cdot Qz)$ given task and query, averaged over both: Isserlis, all terms >= 0."""
    value, key = factors
    first = params.query_key[0]
    linear = params.value[0] * key + jnp.outer(value, first)
    quadratic_mean = prediction - params.value[0] * first
    value_square, key_square = jnp.sum(value**2), jnp.sum(key**2)
    variance = jnp.sum(linear**2) + jnp.sum(quadratic_mean**2)
    if task.covariance is None:
        return variance + value_square * key_square
    total, label = jnp.trace(task.covariance), params.query_key_label
    linear_slope = params.value[0] * label + params.value_label * first
    covariation = 4 * params.value_label * value[:-1] @ task.covariance @ key[:-1] @ label
    product = (value_square + params.value_label**2 * total) * (key_square + jnp.sum(label**2) * total)
    curvature = params.value_label * label
    if task.squared_norm_covariance is not None:
        drift = jnp.sum(label**2) * value[:-1] + params.value_label * key[:-1] @ label
        covariation += 2 * params.value_label * drift @ task.squared_norm_covariance
    return (
        variance
        + total * jnp.sum(linear_slope**2)
        + product
        + covariation
        + task.squared_norm_variance * jnp.sum(curvature**2)
        + spread(prediction_slope(params, factors), curvature, task)
    )


def query_term(params: WhitenedParams) -> tuple[Float[Array, ""], Float[Array, " dim"], Float[Array, ""]]:
    r"""Constant and linear Hermite coefficients of the cubic $(v\cdot z)(z\cdot Qz)$, and the variance of its orders 2 and 3."""
    constant, linear = params.value[0], params.value[1:]
    form = (params.query_key + params.query_key.T) / 2
    form_constant, form_linear, form_quadratic = form[0, 0], form[0, 1:], form[1:, 1:]
    trace, image = jnp.trace(form_quadratic), form_quadratic @ linear
    cross = jnp.outer(linear, form_linear)
    second = constant * form_quadratic + cross + cross.T
    first = 2 * constant * form_linear + (form_constant + trace) * linear + 2 * image
    third_square = 2 * jnp.sum(linear**2) * jnp.sum(form_quadratic**2) + 4 * jnp.sum(image**2)
    return constant * form_constant + jnp.trace(second), first, 2 * jnp.sum(second**2) + third_square
