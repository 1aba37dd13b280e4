"""Risks that training may follow: functions (key, params, num_shots) -> loss whose mean over keys is the n-shot error.

Exact (`population_gradient`), or the mean over a batch of fresh prompts (`fresh_prompts`) or of prompts from a finite pool
(`pooled_prompts`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, prompts
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model
from lsa_jax.priors import TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression
from lsa_jax.squared_errors import chosen_sampler, prompt_errors

Risk = Callable[[Key[Array, ""], Any, ArrayLike], Float[Array, ""]]
"""A risk that training may follow: (key, params, number of shots) -> error, exact or of sampled prompts."""


def population_gradient(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior, *, model: Model = LINEAR) -> Risk:
    """Return the exact risk, which ignores its key: training follows the population gradient.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the target task, or the prior to average over.
        model: the model.

    Returns:
        The risk.

    Raises:
        ValueError: if nothing is exact about the model.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0)
        >>> risk = population_gradient(problem, lsa.SpherePrior(dim=3))
        >>> float(risk(jax.random.key(0), lsa.Params(value=jnp.eye(5), query_key=jnp.zeros((5, 5))), 20))
        2.0
    """
    if model.theory is None:
        raise InputError(f"model {model.name!r} has no exact risk: train it on sampled prompts, gradient = 'sampled'")
    exact = model.theory.risk(problem, as_tasks(tasks, problem))
    return lambda key, params, num_shots: exact(params, num_shots)


def fresh_prompts(
    problem: LinearRegression,
    tasks: Float[Array, " dim"] | TaskPrior,
    batch_size: int,
    *,
    sampler: str | None = None,
    max_shots: int | None = None,
    covariates: prompts.Covariates = prompts.gaussian,
    model: Model = LINEAR,
) -> Risk:
    """Return the mean squared error over a batch of fresh prompts, each with a task of its own if `tasks` is a prior.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the target task, or the prior to draw from.
        batch_size: prompts per step, at least 1 (static).
        sampler: `projected` or `tokens`, see `empirical_risk`; by default the projected one where it is exact.
        max_shots: rows to reserve for examples; needed by the `tokens` sampler where the number of shots is traced.
        covariates: law of the covariates; other than Gaussian for the `tokens` sampler only.
        model: the model; one without a cheaper sampler of its own for the `tokens` sampler only.

    Returns:
        The risk.

    Raises:
        ValueError: if `batch_size` is below 1, or the projected sampler is asked for another model or covariate law.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0)
        >>> risk = fresh_prompts(problem, lsa.SpherePrior(dim=3), batch_size=10)
        >>> risk(jax.random.key(0), lsa.Params(value=jnp.eye(5), query_key=jnp.zeros((5, 5))), 20).shape
        ()
    """
    cheaper = chosen_sampler(sampler, model, covariates)
    count, tasks = checks.as_count("batch_size", batch_size), as_tasks(tasks, problem)

    def projected(key: Key[Array, ""], params: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        task_key, prompt_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        drawn = prompts.sample_tasks(task_key, tasks, count) if isinstance(tasks, TaskPrior) else tasks[:, None]
        assert cheaper is not None
        return jnp.mean(cheaper(prompt_key, params, problem, drawn, num_shots, count))

    def tokens(key: Key[Array, ""], params: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        draw = drawn_tokens(problem, tasks, num_shots, max_shots, covariates)
        return jnp.mean(prompt_errors(key, model.predict, params, draw, count))

    return tokens if cheaper is None else projected


def pooled_prompts(pool: prompts.Pool, batch_size: int, *, max_shots: int | None = None, model: Model = LINEAR) -> Risk:
    """Return the mean squared error over a batch of prompts drawn with replacement from a pool of examples of the target task.

    Args:
        pool: the examples.
        batch_size: prompts per step, at least 1 (static).
        max_shots: rows to reserve for examples; needed where the number of shots is traced.
        model: the model.

    Returns:
        The risk.

    Raises:
        ValueError: if `batch_size` is below 1.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> pool = lsa.prompts.Pool(x=jnp.ones((10, 3)), y=2 * jnp.ones(10))
        >>> risk = pooled_prompts(pool, batch_size=4)
        >>> float(risk(jax.random.key(0), lsa.Params(value=jnp.eye(5), query_key=jnp.zeros((5, 5))), 0))
        4.0
    """
    count = checks.as_count("batch_size", batch_size)

    def risk(key: Key[Array, ""], params: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        rows = _rows(num_shots, max_shots)
        draw = functools.partial(prompts.sample_pool_prompt, pool=pool, num_shots=num_shots, max_shots=rows)
        return jnp.mean(prompt_errors(key, model.predict, params, draw, count))

    return risk


def drawn_tokens(
    problem: LinearRegression,
    tasks: Float[Array, " dim"] | TaskPrior,
    num_shots: ArrayLike,
    max_shots: int | None,
    covariates: prompts.Covariates = prompts.gaussian,
) -> Callable[[Key[Array, ""]], prompts.Prompt]:
    """Return what draws one fresh prompt of tokens from its key, with a task of its own if `tasks` is a prior."""

    def draw(prompt_key: Key[Array, ""]) -> prompts.Prompt:
        task_key, key = jax.random.fold_in(prompt_key, 0), jax.random.fold_in(prompt_key, 1)
        task = prompts.sample_task(task_key, tasks) if isinstance(tasks, TaskPrior) else tasks
        return prompts.sample_prompt(key, problem, task, num_shots, max_shots=_rows(num_shots, max_shots), covariates=covariates)

    return draw


def as_tasks(tasks: Any, problem: LinearRegression) -> Float[Array, " dim"] | TaskPrior:
    """Return a task or a prior of the problem's dimension, checked."""
    if isinstance(tasks, TaskPrior):
        require_prior_dim(tasks, problem.dim)
        return tasks
    return checks.as_task("task", tasks, problem.dim)


def _rows(num_shots: ArrayLike, max_shots: int | None) -> int | None:
    """Rows to reserve: what was asked for where the number of shots is traced, no more than needed where it is known."""
    return max_shots if checks.concrete(num_shots) is None else None
