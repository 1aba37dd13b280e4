"""Squared errors of a model on fresh prompts, one a prompt: from every token, or from what linear attention sees of a context."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision, prompts
from lsa_jax.attention import Forward, predict, predict_from_gram
from lsa_jax.errors import InputError
from lsa_jax.normals import standard_normals
from lsa_jax.params import LayerParams, Params
from lsa_jax.problem import LinearRegression

SAMPLERS = ("projected", "tokens")
Errors = Callable[..., Float[Array, " batch"]]
_BY_COLUMNS = jax.vmap(predict_from_gram, (None, -1, -1, None))
"""The forward pass of one layer of several heads for prompts in the last axis."""


def projected_sampler(model: Any, covariates: prompts.Covariates) -> Errors | None:
    """Return what draws squared errors of a model in time independent of the number of shots; None where tokens must be drawn.

    Args:
        model: the model, or its forward pass.
        covariates: law of the covariates.

    Returns:
        A function in the signature of `projected_errors`.
    """
    if covariates is not prompts.gaussian:
        return None
    if getattr(model, "predict", model) is predict:
        return projected_errors
    return getattr(getattr(model, "theory", None) or model, "sampled_errors", None)


def chosen_sampler(sampler: str | None, model: Any, covariates: prompts.Covariates) -> Errors | None:
    """Return what draws squared errors under a sampler.

    Args:
        sampler: `projected` or `tokens`; None for the projected one where it is exact.
        model: the model, or its forward pass.
        covariates: law of the covariates.

    Returns:
        A function in the signature of `projected_errors`; None where tokens are to be drawn.

    Raises:
        ValueError: if the sampler is unknown, or the projected one is asked for and not exact.
    """
    errors = projected_sampler(model, covariates)
    if sampler is None:
        return errors
    if checks.as_choice("sampler", sampler, SAMPLERS) == "tokens":
        return None
    if errors is None:
        told = "the projected sampler is exact only for linear attention, without MLP and norm, on Gaussian covariates"
        raise InputError(f"{told}; use sampler='tokens'")
    return errors


def projected_errors(
    key: Key[Array, ""],
    params: LayerParams,
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    num_shots: ArrayLike,
    batch_size: int,
) -> Float[Array, " batch"]:
    r"""Draw squared errors of one layer of linear attention through the projected sampler, one a prompt.

    Args:
        key: randomness of the batch.
        params: V and Q, of one head or several.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number of examples, or with one head `jnp.inf`; may be traced.
        batch_size: number of prompts (static).

    Returns:
        $(f - \theta^\top x)^2 + \sigma^2$ of each prompt, whose mean is the n-shot error.
    """
    if not isinstance(params, Params):
        return gram_errors(_BY_COLUMNS, key, params, problem, tasks, num_shots, batch_size)
    query_key, context_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    dtype = problem.root.dtype
    x = jnp.matmul(problem.root, standard_normals(query_key, (problem.dim, batch_size), dtype), precision=precision.current())
    queries = jnp.concatenate([jnp.ones((1, batch_size), dtype), x])
    images = jnp.matmul(params.query_key[:, :-1], queries, precision=precision.current())
    row = params.value[-1]
    own = jnp.matmul(row[:-1], queries, precision=precision.current()) * jnp.sum(images[:-1] * queries, axis=0)
    prediction = own
    if not checks.is_zero(num_shots):
        context = prompts.sample_context_means(context_key, problem, tasks, row[:, None], images, num_shots)
        query_weight = 1 / (jnp.asarray(num_shots, dtype) + 1)
        prediction = (1 - query_weight) * context + query_weight * own
    return (prediction - jnp.sum(tasks * x, axis=0)) ** 2 + problem.noise_std**2


def gram_errors(
    predict_from_gram: Callable[..., Float[Array, " batch"]],
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    num_shots: ArrayLike,
    batch_size: int,
) -> Float[Array, " batch"]:
    r"""Draw squared errors of linear attention of several heads or layers from the Gram matrices of prompts, one a prompt.

    Args:
        predict_from_gram: the forward pass from Gram matrices and queries, one prompt a column of the last axis.
        key: randomness of the batch.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number of examples, finite; may be traced.
        batch_size: number of prompts (static).

    Returns:
        $(f - \theta^\top x)^2 + \sigma^2$ of each prompt, whose mean is the n-shot error.

    References:
        docs/theory.md, equations (D1) and (D2).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model, problem = lsa.Transformer(3, 2), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> params = model.init(jax.random.key(0), 2)
        >>> gram_errors(model.predict_from_gram, jax.random.key(1), params, problem, jnp.ones((2, 1)), 20, batch_size=7).shape
        (7,)
    """
    drawn = prompts.sample_gram_prompts(key, problem, tasks, num_shots, batch_size)
    predictions = predict_from_gram(params, drawn.gram, drawn.query, drawn.num_tokens)
    return (predictions - drawn.signal) ** 2 + problem.noise_std**2


def compressed_errors(
    predict: Forward,
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    num_shots: ArrayLike,
    batch_size: int,
) -> Float[Array, " batch"]:
    r"""Draw squared errors of an estimator on the prompts on which `gram_errors` draws those of a model, one a prompt.

    Args:
        predict: the estimator, whose prediction depends on the examples through $X^\top X$, $X^\top y$ and $|y - Xw|^2$.
        key: randomness of the batch.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number of examples, finite; may be traced.
        batch_size: number of prompts (static).

    Returns:
        $(f - \theta^\top x)^2 + \sigma^2$ of each prompt, whose mean is the n-shot error.

    References:
        docs/theory.md, equation (D2).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> compressed_errors(lsa.estimators.ridge, jax.random.key(1), 0.5, problem, jnp.ones((2, 1)), 20, batch_size=7).shape
        (7,)
    """
    drawn = prompts.sample_compressed_prompts(key, problem, tasks, num_shots, batch_size)
    predictions = jax.vmap(predict, (None, -1, None))(params, drawn.tokens, drawn.num_tokens)
    return (predictions - drawn.signal) ** 2 + problem.noise_std**2


def prompt_errors(
    key: Key[Array, ""], model: Forward, params: Any, draw: Callable[[Key[Array, ""]], prompts.Prompt], batch_size: int
) -> Float[Array, " batch"]:
    """Draw squared errors of any model on prompts of tokens, prompt i with the key `fold_in(key, i)`.

    Args:
        key: randomness of the batch.
        model: the forward pass.
        params: its parameters.
        draw: draws one prompt from its key.
        batch_size: number of prompts (static).

    Returns:
        The squared error on the noisy target of each prompt.
    """

    def error(index: Array) -> Float[Array, ""]:
        prompt = draw(jax.random.fold_in(key, index))
        return (model(params, prompt.tokens, prompt.num_tokens) - prompt.target) ** 2

    return jax.vmap(error)(jnp.arange(batch_size, dtype=jnp.uint32))
