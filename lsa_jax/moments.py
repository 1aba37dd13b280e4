r"""Gaussian identities: the squared error of one layer of linear attention as a polynomial in its parameters.

The exact risk evaluates this polynomial; the closed-form optima minimise it. Several heads enter as sums over heads and over pairs of
heads. Derivation: docs/theory.md, equations (5) to (10), (22) and (23).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax import tails
from lsa_jax.covariates import CovariateLaw, gaussian
from lsa_jax.priors import TaskMoments
from lsa_jax.whitening import Head, WhitenedParams, axis_of, context_factors

Expansion = tuple[Float[Array, "*pairs rows"], Float[Array, "*pairs rows dim"], Float[Array, "*pairs rows"]]
r"""Mean, slope and curvature of a vector that depends on the task by $\text{slope}\,\delta + |\delta|^2\,\text{curvature}$."""


def squared_error(
    params: WhitenedParams,
    task: TaskMoments,
    noise_std: Float[Array, ""],
    query_weight: Float[Array, ""],
    *,
    labelled: bool = True,
    covariates: CovariateLaw = gaussian,
) -> Float[Array, ""]:
    """Risk of a prompt whose query has the weight q = 1/(n + 1) among the tokens; unless labelled, second moment of the prediction."""
    context_weight, axis = 1 - query_weight, axis_of(params)
    heads = params, axis.each(lambda head: context_factors(head, task, noise_std), params)
    crossed = axis.pairs(lambda head, other: crossed_product(head, other, task), heads)
    prediction, slope, curvature = axis.own(crossed)
    prediction += axis.total(axis.each(lambda head: head.value[0] * head.query_key[0], params))
    query_constant, query_linear, query_remainder = query_term(params)
    bias = context_weight * prediction + query_weight * jnp.concatenate([query_constant[None], query_linear])
    slope, noise = context_weight * slope, jnp.zeros((), bias.dtype)
    if labelled:
        bias -= jnp.concatenate([jnp.zeros(1, task.mean.dtype), task.mean])
        slope -= jnp.eye(*slope.shape, -1, slope.dtype)
        noise = noise_std**2
    deviation = bias, slope, context_weight * curvature
    error = mean_product(deviation, deviation, task) + query_weight**2 * query_remainder
    if covariates is not gaussian:
        error += tails.excess_error(heads, bias, task, query_weight, covariates)
    return noise + error + context_weight * query_weight * context_variance(heads, crossed, task)


def crossed_product(head: Head, other: Head, task: TaskMoments) -> Expansion:
    r"""The vector $P^\top c'$ of two heads: for one and the same what its prediction owes to labels and covariates."""
    (params, factors), (others, other_factors) = head, other
    mean, curvature = factors.key.T @ other_factors.value, others.value_label * params.query_key_label
    if task.covariance is not None:
        mean += jnp.trace(task.covariance) * curvature
    slope = others.value_label * factors.key[:-1].T + jnp.outer(params.query_key_label, other_factors.value[:-1])
    return mean, slope, curvature


def mean_product(one: Expansion, other: Expansion, task: TaskMoments) -> Float[Array, ""]:
    """Mean over the task of the inner product of two vectors, whose means are those over the task."""
    (mean, slope, curvature), (other_mean, other_slope, other_curvature) = one, other
    product = jnp.sum(mean * other_mean)
    if task.covariance is not None:
        product += jnp.sum((slope @ task.covariance) * other_slope) + task.squared_norm_variance * jnp.sum(curvature * other_curvature)
    if task.squared_norm_covariance is not None:
        skewed, other_skewed = slope @ task.squared_norm_covariance, other_slope @ task.squared_norm_covariance
        product += jnp.sum(curvature * other_skewed + other_curvature * skewed)
    return product


def context_variance(heads: Head, crossed: Expansion, task: TaskMoments) -> Float[Array, ""]:
    r"""Variance of one context term $\sum_h (v_h\cdot z_i)(z_i\cdot Q_hz)$ given task and query, averaged over both, by Isserlis."""

    def linear_part(head: Head) -> tuple[Float[Array, "query query"], Float[Array, " query"]]:
        params, factors = head
        first = params.query_key[0]
        linear = params.value[0] * factors.key + jnp.outer(factors.value, first)
        return linear, params.value[0] * params.query_key_label + params.value_label * first

    axis = axis_of(heads[0])
    linear, slope = axis.total(axis.each(linear_part, heads))
    variance = jnp.sum(linear**2) + mean_product(crossed, axis.mirrored(crossed), task) + uncrossed_products(heads, task)
    return variance if task.covariance is None else variance + jnp.trace(task.covariance) * jnp.sum(slope**2)


def uncrossed_products(heads: Head, task: TaskMoments) -> Float[Array, ""]:
    r"""Mean over the task of $\sum_{h,h'} (c\cdot c')\langle P, P'\rangle$."""

    def products(head: Head, other: Head) -> tuple[Float[Array, ""], Float[Array, ""]]:
        factors, others = head[1], other[1]
        return jnp.sum(factors.value * others.value), jnp.sum(factors.key * others.key)

    def dependence(head: Head, other: Head) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " dim"], Float[Array, " dim"]]:
        (params, factors), (others, other_factors) = head, other
        value_curvature, key_curvature = params.value_label * others.value_label, params.query_key_label @ others.query_key_label
        return value_curvature, key_curvature, params.value_label * other_factors.value[:-1], factors.key[:-1] @ others.query_key_label

    axis = axis_of(heads[0])
    values, keys = axis.pairs(products, heads)
    if task.covariance is None:
        return jnp.sum(values * keys)
    value_curvatures, key_curvatures, value_slopes, key_slopes = axis.pairs(dependence, heads)
    total = jnp.trace(task.covariance)
    product = jnp.sum((values + total * value_curvatures) * (keys + total * key_curvatures))
    product += task.squared_norm_variance * jnp.sum(value_curvatures * key_curvatures)
    product += 2 * jnp.sum((value_slopes @ task.covariance) * (key_slopes + axis.mirrored(key_slopes)))
    if task.squared_norm_covariance is not None:
        skewed, key_skewed = value_slopes @ task.squared_norm_covariance, key_slopes @ task.squared_norm_covariance
        product += 2 * jnp.sum(key_curvatures * skewed + value_curvatures * key_skewed)
    return product


def query_term(params: WhitenedParams) -> tuple[Float[Array, ""], Float[Array, " dim"], Float[Array, ""]]:
    r"""Constant and linear Hermite coefficients of the cubic $\sum_h (v_h\cdot z)(z\cdot Q_hz)$, and the variance of its orders 2 and 3."""

    def parts(head: tuple[Array, Array]) -> tuple[Float[Array, ""], Float[Array, " dim"], Float[Array, "dim dim"]]:
        value, form = head
        constant, linear, cross = value[0], value[1:], jnp.outer(value[1:], form[0, 1:])
        first = 2 * constant * form[0, 1:] + (form[0, 0] + jnp.trace(form[1:, 1:])) * linear
        return constant * form[0, 0], first, constant * form[1:, 1:] + cross + cross.T

    def products(head: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " dim"]]:
        (value, form), (other_value, other_form) = head, other
        return jnp.sum(value[1:] * other_value[1:]), jnp.sum(form[1:, 1:] * other_form[1:, 1:]), form[1:, 1:] @ other_value[1:]

    axis = axis_of(params)
    heads = params.value, axis.each(lambda matrix: (matrix + matrix.T) / 2, params.query_key)
    constant, first, second = axis.total(axis.each(parts, heads))
    linear_products, form_products, images = axis.pairs(products, heads)
    third_square = 2 * jnp.sum(linear_products * form_products) + 4 * jnp.sum(images * axis.mirrored(images))
    return constant + jnp.trace(second), first + 2 * axis.own(images), 2 * jnp.sum(second**2) + third_square
