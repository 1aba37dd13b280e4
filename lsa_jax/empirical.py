"""Simulated n-shot errors with honest standard errors, in the call shape of the exact risk but sharing nothing with it."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from lsa_jax import checks, prompts
from lsa_jax.attention import Forward, predict
from lsa_jax.errors import InputError
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression, require_same_dim
from lsa_jax.squared_errors import Errors, chosen_sampler, prompt_errors

ENTRIES_AT_ONCE = 2**20
"""Token entries held in memory at a time; bounds the memory, not the result."""

TASK_STREAM = 2**31
"""Stream of the tasks of prompts, of a key whose other streams draw the prompts."""

Tasks = Real[ArrayLike, " dim"] | TaskPrior
"""One task for all prompts, or a law from which each draws its own."""


@chex.dataclass(frozen=True, mappable_dataclass=False)
class RiskEstimate:
    r"""Mean of independent squared errors and its standard error, the sample standard deviation over $\sqrt{\text{num prompts}}$.

    Squared errors have heavy tails: an interval of 1.96 standard errors either side holds the mean in .75 to .98 of cases at 400 prompts,
    in .93 to .97 at 10 000. Where the error is exact for every prompt, as at a minimiser of the zero-shot error under the projected
    sampler, the standard error is 0 or rounding, and no yardstick. Of deep models the mean may be ruled by rare prompts and lie: ask for
    `quantiles` beside it, which have the levels asked for along the last axis and are None where none was.
    """

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    num_prompts: Int[Array, "*batch"]
    quantiles: Float[Array, "*batch levels"] | None = None


def empirical_risk(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    task: Tasks,
    num_shots: ArrayLike,
    num_prompts: int = 10_000,
    *,
    sampler: str | None = None,
    max_shots: int | None = None,
    covariates: prompts.Covariates = prompts.gaussian,
    model: Any = predict,
    quantiles: tuple[float, ...] = (),
) -> RiskEstimate:
    """Estimate the n-shot error of a task or a prior by drawing prompts: the simulated twin of `population_risk` and `prior_risk`.

    The `projected` sampler draws what the model sees of a context of Gaussian examples, in time independent of n: two projections of it for
    one head of linear attention, its Gram matrix for several heads or layers. It takes the label noise of the target as its known variance.
    The `tokens` sampler draws every token and the noisy target, for any model and any covariate law. Memory is bounded for any number of
    prompts.

    Args:
        key: randomness.
        params: parameters of the model.
        problem: covariance of the covariates and label noise.
        task: the regression vector θ, or a prior from which every prompt draws its own.
        num_shots: number of examples, a whole number from 0 on, or `jnp.inf` with the projected sampler of one head; may be traced.
        num_prompts: independent prompts to average over, at least 2 (static).
        sampler: `projected` or `tokens`; by default the projected one where it is exact.
        max_shots: rows to reserve for examples (static); needed by the `tokens` sampler where `num_shots` is traced.
        covariates: law of the covariates; other than Gaussian for the `tokens` sampler only.
        model: the model, or its forward pass, a function (params, tokens, num_tokens) -> prediction.
        quantiles: levels, each from 0 to 1, of the quantiles of the squared errors to return as well (static); they take the memory of one
            number a prompt.

    Returns:
        Mean, standard error and number of prompts, and the quantiles asked for, in squared units of the labels.

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
    forward: Forward = getattr(model, "predict", model)
    if forward is predict:
        require_same_dim(params, problem)
    if isinstance(task, TaskPrior):
        require_prior_dim(task, problem.dim)
    else:
        task = checks.as_task("task", task, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype)
    errors = chosen_sampler(sampler, model, covariates)
    count = checks.as_count("num_prompts", num_prompts, minimum=2)
    if not all(0 <= level <= 1 for level in quantiles):
        raise InputError(f"quantiles are {quantiles}; their levels must be from 0 to 1")
    if count >= 2**31:
        raise InputError(f"num_prompts is {count}; it must be below 2**31: average several estimates of different keys")
    if errors is not None:
        columns = 2 if isinstance(params, Params) else problem.dim + 2
        if columns > 2 and checks.concrete(num_shots) == jnp.inf:
            raise InputError("num_shots is infinite, which only one layer of one head is simulated at: use population_risk for the limit")
        at_once = ENTRIES_AT_ONCE // (columns * (problem.dim + 2))
    else:
        max_shots = prompts.reserved_shots(num_shots, max_shots)
        at_once = ENTRIES_AT_ONCE // ((max_shots + 1) * (problem.dim + 2))
    return _estimate(
        key, params, problem, task, shots, count, max(1, min(count, at_once)), errors, max_shots, covariates, forward, quantiles
    )


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8, 9, 10, 11))
def _estimate(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    task: Tasks,
    num_shots: Float[Array, ""],
    num_prompts: int,
    at_once: int,
    errors: Errors | None,
    max_shots: int | None,
    covariates: prompts.Covariates,
    model: Forward,
    levels: tuple[float, ...],
) -> RiskEstimate:
    """Merge the moments of chunks of `at_once` prompts by the update of Chan, Golub and LeVeque."""

    def draw(chunk_key: Key[Array, ""]) -> Float[Array, " at_once"]:
        if errors is not None:
            return errors(chunk_key, params, problem, _tasks(chunk_key, task, at_once), num_shots, at_once)

        def draw_prompt(key: Key[Array, ""]) -> prompts.Prompt:
            own = _tasks(key, task, 1)[:, 0]
            return prompts.sample_prompt(key, problem, own, num_shots, max_shots=max_shots, covariates=covariates)

        return prompt_errors(chunk_key, model, params, draw_prompt, at_once)

    def add_chunk(moments: tuple[Array, Array, Array], first: Array) -> tuple[tuple[Array, Array, Array], Array | None]:
        count, mean, square = moments
        drawn = draw(jax.random.fold_in(key, first)).astype(mean.dtype)
        kept = first + jnp.arange(at_once, dtype=jnp.uint32) < num_prompts
        chunk_count = jnp.sum(kept).astype(drawn.dtype)
        chunk_mean = jnp.sum(jnp.where(kept, drawn, 0)) / chunk_count
        chunk_square = jnp.sum(jnp.where(kept, (drawn - chunk_mean) ** 2, 0))
        total, shift = count + chunk_count, chunk_mean - mean
        mean += shift * chunk_count / total
        square += chunk_square + shift**2 * count * chunk_count / total
        return (total, mean, square), drawn if levels else None

    zero = jnp.zeros((), jnp.result_type(problem.root, *jax.tree.leaves((task, params))))
    starts = jnp.arange(0, num_prompts, at_once, dtype=jnp.uint32)
    (_, mean, square), drawn = jax.lax.scan(add_chunk, (zero, zero, zero), starts)
    error = jnp.sqrt(square / (num_prompts - 1) / num_prompts)
    found = None if drawn is None else jnp.quantile(drawn.ravel()[:num_prompts], jnp.array(levels, drawn.dtype))
    return RiskEstimate(mean=mean, standard_error=error, num_prompts=jnp.int32(num_prompts), quantiles=found)


def _tasks(key: Key[Array, ""], task: Tasks, count: int) -> Float[Array, "dim #count"]:
    """One column of the task of all prompts, or one for each of its own."""
    if isinstance(task, TaskPrior):
        return prompts.sample_tasks(jax.random.fold_in(key, TASK_STREAM), task, count)
    return jnp.asarray(task)[:, None]
