"""What is minimised, over which parameters, under which constraint: the objectives of pretraining and fine-tuning.

An `Objective` is built from a `Risk`, a function (key, params, num_shots) -> loss whose mean over keys is the n-shot error: exact
(`population_gradient`), or the mean over a batch of fresh prompts (`fresh_prompts`) or of prompts from a finite pool (`pooled_prompts`).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import checks, prompts
from lsa_jax.attention import Model, predict
from lsa_jax.empirical import SAMPLERS, projected_errors, prompt_errors, require_projectable
from lsa_jax.population import risk_function
from lsa_jax.priors import TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import REGIMES, TRAINABLE

Risk = Callable[[Key[Array, ""], Any, ArrayLike], Float[Array, ""]]
Schedule = Callable[[Float[Array, ""]], Real[ArrayLike, ""]]
"""A weight as a function of the fraction of the run that is over, from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss (key, params, fraction of the run) -> scalar, the parameters it trains, and the loss whose argmin set it stays in, if any."""

    loss: Callable[[Key[Array, ""], Any, Float[Array, ""]], Float[Array, ""]]
    trainable: str
    within: Callable[[Key[Array, ""], Any], Float[Array, ""]] | None = None

    def __post_init__(self) -> None:
        """Check the name of the trainable set."""
        checks.as_choice("trainable set", self.trainable, TRAINABLE)


def population_gradient(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior) -> Risk:
    """Return the exact risk, which ignores its key: training follows the population gradient.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the target task, or the prior to average over.

    Returns:
        The risk.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0)
        >>> risk = population_gradient(problem, lsa.SpherePrior(dim=3))
        >>> float(risk(jax.random.key(0), lsa.Params(value=jnp.eye(5), query_key=jnp.zeros((5, 5))), 20))
        2.0
    """
    exact = risk_function(problem, _checked(tasks, problem))
    return lambda key, params, num_shots: exact(params, num_shots)


def fresh_prompts(
    problem: LinearRegression,
    tasks: Float[Array, " dim"] | TaskPrior,
    batch_size: int,
    *,
    sampler: str = "projected",
    max_shots: int | None = None,
    covariates: prompts.Covariates = prompts.gaussian,
    model: Model = predict,
) -> Risk:
    """Return the mean squared error over a batch of fresh prompts, each with a task of its own if `tasks` is a prior.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the target task, or the prior to draw from.
        batch_size: prompts a step, at least 1 (static).
        sampler: `projected` or `tokens`, see `empirical_risk`.
        max_shots: rows to reserve for examples; needed by the `tokens` sampler where the number of shots is traced.
        covariates: law of the covariates; other than Gaussian for the `tokens` sampler only.
        model: the model; other than `predict` for the `tokens` sampler only.

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
    checks.as_choice("sampler", sampler, SAMPLERS)
    count, tasks = checks.as_count("batch_size", batch_size), _checked(tasks, problem)
    if sampler == "projected":
        require_projectable(model, covariates)

    def projected(key: Key[Array, ""], params: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        task_key, prompt_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        drawn = prompts.sample_tasks(task_key, tasks, count) if isinstance(tasks, TaskPrior) else tasks[:, None]
        return jnp.mean(projected_errors(prompt_key, params, problem, drawn, num_shots, count))

    def tokens(key: Key[Array, ""], params: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        def draw(prompt_key: Key[Array, ""]) -> prompts.Prompt:
            task_key, key = jax.random.fold_in(prompt_key, 0), jax.random.fold_in(prompt_key, 1)
            task = prompts.sample_task(task_key, tasks) if isinstance(tasks, TaskPrior) else tasks
            rows = _rows(num_shots, max_shots)
            return prompts.sample_prompt(key, problem, task, num_shots, max_shots=rows, covariates=covariates)

        return jnp.mean(prompt_errors(key, model, params, draw, count))

    return projected if sampler == "projected" else tokens


def pooled_prompts(pool: prompts.Pool, batch_size: int, *, max_shots: int | None = None, model: Model = predict) -> Risk:
    """Return the mean squared error over a batch of prompts drawn with replacement from a pool of examples of the target task.

    Args:
        pool: the examples.
        batch_size: prompts a step, at least 1 (static).
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
        return jnp.mean(prompt_errors(key, model, params, draw, count))

    return risk


def pretraining(risk: Risk, num_shots: ArrayLike) -> Objective:
    """Return objective (a): the m-shot error over V and Q, `risk` averaging over the task prior.

    Args:
        risk: the risk to minimise.
        num_shots: number m of pretraining examples.

    Returns:
        The objective.

    Raises:
        ValueError: if `num_shots` is below 1 or fractional.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objective (a).
    """
    checks.as_shots("num_shots", num_shots, jnp.result_type(float), minimum=1)
    return few_shot(risk, num_shots, "all")


def zero_shot(risk: Risk, trainable: str) -> Objective:
    """Return the zero-shot error of the target task: objective (b) over `all`, (c) over `value`.

    Args:
        risk: the risk to minimise.
        trainable: the parameters to train.

    Returns:
        The objective.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objectives (b) and (c).
    """
    return Objective(loss=lambda key, params, fraction: risk(key, params, 0), trainable=trainable)


def few_shot(risk: Risk, num_shots: ArrayLike, trainable: str) -> Objective:
    """Return the n-shot error.

    Args:
        risk: the risk to minimise.
        num_shots: number n of examples.
        trainable: the parameters to train.

    Returns:
        The objective.
    """
    checks.as_shots("num_shots", num_shots, jnp.result_type(float))
    return Objective(loss=lambda key, params, fraction: risk(key, params, num_shots), trainable=trainable)


def few_shot_within_zero_shot(risk: Risk, num_shots: ArrayLike) -> Objective:
    """Return stage 2 of objective (d): the n-shot error over V, inside the argmin set of the zero-shot error.

    Args:
        risk: the risk to minimise.
        num_shots: number n of fine-tuning examples.

    Returns:
        The objective; it starts from a minimiser of the zero-shot error over V.

    Raises:
        ValueError: if `num_shots` is below 1 or fractional.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3, objective (d).
    """
    checks.as_shots("num_shots", num_shots, jnp.result_type(float), minimum=1)
    return dataclasses.replace(few_shot(risk, num_shots, "value"), within=lambda key, params: risk(key, params, 0))


def linear_decay(fraction: Float[Array, ""]) -> Float[Array, ""]:
    """Weight of the auxiliary few-shot loss in the published code: 1 at the start, falling linearly to 0 at the end.

    Args:
        fraction: part of the run that is over.

    Returns:
        The weight.
    """
    return 1 - fraction


def zero_shot_plus_few_shot(risk: Risk, num_shots: ArrayLike, weight: Schedule = linear_decay, trainable: str = "value") -> Objective:
    """Return the zero-shot error plus a scheduled weight times the n-shot error; over V with `linear_decay` it is `value_annealed`.

    Args:
        risk: the risk to minimise.
        num_shots: number n of fine-tuning examples.
        weight: weight of the few-shot error as a function of the fraction of the run that is over.
        trainable: the parameters to train.

    Returns:
        The objective.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression.
    """
    checks.as_shots("num_shots", num_shots, jnp.result_type(float))

    def loss(key: Key[Array, ""], params: Any, fraction: Float[Array, ""]) -> Float[Array, ""]:
        zero_key, few_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        return risk(zero_key, params, 0) + weight(fraction) * risk(few_key, params, num_shots)

    return Objective(loss=loss, trainable=trainable)


def stages(regime: str, risk: Risk, num_shots: ArrayLike) -> tuple[Objective, ...]:
    """Return the objectives of a regime, to be minimised one after the other.

    Args:
        regime: `pretrained` (with a risk over the prior), `full`, `value`, `value_auxiliary` or `value_annealed`.
        risk: the risk to minimise.
        num_shots: number of pretraining or fine-tuning examples; not used by `full` and `value`.

    Returns:
        One objective, or for `value_auxiliary` its two stages.

    Raises:
        ValueError: if the regime is unknown.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> risk = population_gradient(lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0), jnp.ones(3))
        >>> [objective.trainable for objective in stages("value_auxiliary", risk, num_shots=20)]
        ['value', 'value']
    """
    match checks.as_choice("regime", regime, REGIMES):
        case "pretrained":
            return (pretraining(risk, num_shots),)
        case "full":
            return (zero_shot(risk, "all"),)
        case "value":
            return (zero_shot(risk, "value"),)
        case "value_auxiliary":
            return zero_shot(risk, "value"), few_shot_within_zero_shot(risk, num_shots)
        case _:
            return (zero_shot_plus_few_shot(risk, num_shots),)


def _checked(tasks: Any, problem: LinearRegression) -> Float[Array, " dim"] | TaskPrior:
    """A task or a prior of the problem's dimension."""
    if isinstance(tasks, TaskPrior):
        require_prior_dim(tasks, problem.dim)
        return tasks
    return checks.as_task("task", tasks, problem.dim)


def _rows(num_shots: ArrayLike, max_shots: int | None) -> int | None:
    """Rows to reserve: what was asked for where the number of shots is traced, no more than needed where it is known."""
    return max_shots if checks.concrete(num_shots) is None else None
