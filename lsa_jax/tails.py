r"""What covariates that are not Gaussian add to the squared error of one head: terms in their excess cumulants.

Derivation: docs/theory.md, equation (25).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax.covariates import CovariateLaw
from lsa_jax.errors import InputError
from lsa_jax.priors import TaskMoments
from lsa_jax.whitening import ContextFactors, Head, WhitenedParams


def excess_error(
    head: Head, bias: Float[Array, " query"], task: TaskMoments, query_weight: Float[Array, ""], covariates: CovariateLaw
) -> Float[Array, ""]:
    """Error beyond that for Gaussian covariates, of one head whose prediction has the given bias in (1, g) for them."""
    params, factors = head
    linear, form = params.value[1:], (params.query_key + params.query_key.T) / 2
    quadratic = form[1:, 1:]
    trace, image, diagonal = jnp.trace(quadratic), quadratic @ linear, jnp.diag(quadratic)
    remaining = bias[1:] - query_weight * (trace * linear + 2 * image)
    second = params.value[0] * diagonal + 2 * linear * form[0, 1:]
    third = jnp.sum(linear**2) * jnp.sum(diagonal**2) + 2 * trace * jnp.sum(linear**2 * diagonal)
    third += 4 * jnp.sum(linear**2 * jnp.sum(quadratic**2, axis=1)) + 8 * jnp.sum(linear * image * diagonal)
    query = 2 * jnp.sum(remaining * linear * diagonal) + query_weight * (jnp.sum(second**2) + third)
    fourth = query_weight * query + query_weight * (1 - query_weight) * context_term(params, factors, task)
    return covariates.fourth_cumulant * fourth + covariates.sixth_cumulant * query_weight**2 * jnp.sum((linear * diagonal) ** 2)


def context_term(params: WhitenedParams, factors: ContextFactors, task: TaskMoments) -> Float[Array, ""]:
    r"""Mean over the task of $\sum_j c_j^2 |P_{j\cdot}|^2$ over the covariates' coordinates j."""
    value, key, label = factors.value[:-1], factors.key[:-1], params.query_key_label
    squares = jnp.sum(key**2, axis=1)
    product = value**2 * squares
    if task.covariance is None:
        return jnp.sum(product)
    if task.coordinate_fourths is None:
        raise InputError(
            "the prior's moments lack coordinate_fourths, without which only Gaussian covariates are exact: give them, or simulate risks"
        )
    scale, cross, label_square = params.value_label, key @ label, jnp.sum(label**2)
    product += jnp.diag(task.covariance) * (value**2 * label_square + 4 * scale * value * cross + scale**2 * squares)
    product += task.coordinate_fourths * scale**2 * label_square
    if task.coordinate_thirds is not None:
        product += 2 * task.coordinate_thirds * scale * (value * label_square + scale * cross)
    return jnp.sum(product)
