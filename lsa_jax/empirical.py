"""Simulated n-shot errors with honest standard errors, in the call shape of the exact risk but sharing nothing with it."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from lsa_jax import checks, precision, prompts
from lsa_jax.attention import Model, predict
from lsa_jax.errors import InputError
from lsa_jax.normals import standard_normals
from lsa_jax.problem import LinearRegression, Params, require_same_dim

SAMPLERS = ("projected", "tokens")
ENTRIES_AT_ONCE = 2**20
"""Token entries held in memory at a time; bounds the memory, not the result."""


@chex.dataclass(frozen=True, mappable_dataclass=False)
class RiskEstimate:
    r"""Mean of independent squared errors and its standard error, the sample standard deviation over $\sqrt{\text{num prompts}}$.

    Squared errors have heavy tails: an interval of 1.96 standard errors either side holds the mean in .75 to .98 of cases at 400 prompts,
    in .93 to .97 at 10 000. Where the error is exact for every prompt, as at a minimiser of the zero-shot error under the projected
    sampler, the standard error is 0 or rounding, and no yardstick.
    """

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    num_prompts: Int[Array, "*batch"]


def empirical_risk(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    task: Real[ArrayLike, " dim"],
    num_shots: ArrayLike,
    num_prompts: int = 10_000,
    *,
    sampler: str = "projected",
    max_shots: int | None = None,
    covariates: prompts.Covariates = prompts.gaussian,
    model: Model = predict,
) -> RiskEstimate:
    """Estimate the n-shot error of a task by drawing prompts: the simulated twin of `population_risk`.

    The `projected` sampler draws what one layer of linear attention sees of a context of Gaussian examples, in time independent of n, and
    takes the label noise of the target as its known variance. The `tokens` sampler draws every token and the noisy target, for any model
    and any covariate law. Memory is bounded for any number of prompts.

    Args:
        key: randomness.
        params: parameters of the model.
        problem: covariance of the covariates and label noise.
        task: the regression vector θ.
        num_shots: number of examples, a whole number from 0 on, or `jnp.inf` with the projected sampler; may be traced.
        num_prompts: independent prompts to average over, at least 2 (static).
        sampler: `projected` or `tokens`.
        max_shots: rows to reserve for examples (static); needed by the `tokens` sampler where `num_shots` is traced.
        covariates: law of the covariates; other than Gaussian for the `tokens` sampler only.
        model: the model; other than `predict` for the `tokens` sampler only.

    Returns:
        Mean, standard error and number of prompts, in squared units of the labels.

    Raises:
        ValueError: if shapes, shots or the number of prompts are out of range, or the projected sampler is asked for another model or
            covariate law.

    References:
        docs/theory.md, section on sampling.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        >>> untrained = lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7)))
        >>> estimate = lsa.empirical_risk(jax.random.key(0), untrained, problem, jnp.ones(5), num_shots=20)
        >>> bool(abs(estimate.mean - 5.25) < 4 * estimate.standard_error)
        True
    """
    if model is predict:
        require_same_dim(params, problem)
    task = checks.as_task("task", task, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype)
    checks.as_choice("sampler", sampler, SAMPLERS)
    count = checks.as_count("num_prompts", num_prompts, minimum=2)
    if count >= 2**31:
        raise InputError(f"num_prompts is {count}; it must be below 2**31: average several estimates of different keys")
    if sampler == "projected":
        require_projectable(model, covariates)
        rows = 1
    else:
        rows = max_shots = prompts.reserved_shots(num_shots, max_shots)
    at_once = max(1, min(count, ENTRIES_AT_ONCE // ((rows + 1) * (problem.dim + 2))))
    return _estimate(key, params, problem, task, shots, count, at_once, sampler, max_shots, covariates, model)


def require_projectable(model: Model, covariates: prompts.Covariates) -> None:
    """Refuse what the projected sampler is not exact for.

    Args:
        model: the model.
        covariates: law of the covariates.

    Raises:
        ValueError: if the model is not one layer of linear attention or the covariates are not Gaussian.
    """
    if model is not predict or covariates is not prompts.gaussian:
        raise InputError(
            "the projected sampler is exact only for one layer of linear attention on Gaussian covariates; use sampler='tokens'"
        )


def projected_errors(
    key: Key[Array, ""],
    params: Params,
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    num_shots: ArrayLike,
    batch_size: int,
) -> Float[Array, " batch"]:
    r"""Draw squared errors of one layer of linear attention through the projected sampler, one a prompt.

    Args:
        key: randomness of the batch.
        params: V and Q.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, one a column, or one column for all.
        num_shots: number of examples, or `jnp.inf`; may be traced.
        batch_size: number of prompts (static).

    Returns:
        $(f - \theta^\top x)^2 + \sigma^2$ of each prompt, whose mean is the n-shot error.
    """
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


def prompt_errors(
    key: Key[Array, ""], model: Model, params: Any, draw: Callable[[Key[Array, ""]], prompts.Prompt], batch_size: int
) -> Float[Array, " batch"]:
    """Draw squared errors of any model on prompts of tokens, prompt i with the key `fold_in(key, i)`.

    Args:
        key: randomness of the batch.
        model: the model.
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


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10))
def _estimate(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    task: Float[Array, " dim"],
    num_shots: Float[Array, ""],
    num_prompts: int,
    at_once: int,
    sampler: str,
    max_shots: int | None,
    covariates: prompts.Covariates,
    model: Model,
) -> RiskEstimate:
    """Merge the moments of chunks of `at_once` prompts by the update of Chan, Golub and LeVeque."""

    def draw(chunk_key: Key[Array, ""]) -> Float[Array, " at_once"]:
        if sampler == "projected":
            return projected_errors(chunk_key, params, problem, task[:, None], num_shots, at_once)
        draw_prompt = functools.partial(
            prompts.sample_prompt,
            problem=problem,
            task=task,
            num_shots=num_shots,
            max_shots=max_shots,
            covariates=covariates,
        )
        return prompt_errors(chunk_key, model, params, draw_prompt, at_once)

    def add_chunk(moments: tuple[Array, Array, Array], first: Array) -> tuple[tuple[Array, Array, Array], None]:
        count, mean, square = moments
        errors = draw(jax.random.fold_in(key, first)).astype(mean.dtype)
        kept = first + jnp.arange(at_once, dtype=jnp.uint32) < num_prompts
        chunk_count = jnp.sum(kept).astype(errors.dtype)
        chunk_mean = jnp.sum(jnp.where(kept, errors, 0)) / chunk_count
        chunk_square = jnp.sum(jnp.where(kept, (errors - chunk_mean) ** 2, 0))
        total, shift = count + chunk_count, chunk_mean - mean
        mean += shift * chunk_count / total
        square += chunk_square + shift**2 * count * chunk_count / total
        return (total, mean, square), None

    zero = jnp.zeros((), jnp.result_type(problem.root, task, *jax.tree.leaves(params)))
    starts = jnp.arange(0, num_prompts, at_once, dtype=jnp.uint32)
    (_, mean, square), _ = jax.lax.scan(add_chunk, (zero, zero, zero), starts)
    error = jnp.sqrt(square / (num_prompts - 1) / num_prompts)
    return RiskEstimate(mean=mean, standard_error=error, num_prompts=jnp.int32(num_prompts))
