"""Error curves of trained or closed-form parameters: over shots, on the target task, its opposite and any task between."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import checks, precision
from lsa_jax.empirical import RiskEstimate, empirical_risk
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model, Theory
from lsa_jax.normals import standard_normals
from lsa_jax.params import Params
from lsa_jax.priors import FiniteTasks
from lsa_jax.problem import LinearRegression, require_same_dim


def error_curves(
    params: Any,
    problem: LinearRegression,
    tasks: Real[ArrayLike, "num_tasks dim"],
    evaluation_shots: Real[ArrayLike, " num_shots"],
    *,
    model: Model = LINEAR,
) -> Float[Array, "num_tasks num_shots"]:
    """Compute the exact n-shot error on each task at each number of shots.

    Args:
        params: parameters of the model.
        problem: covariance of the covariates and label noise.
        tasks: test tasks, one a row.
        evaluation_shots: numbers of shots, 0 and infinity included.
        model: the model.

    Returns:
        The errors, in squared units of the labels; NaN where a model's are not exact, see `Theory.exact_at`.

    Raises:
        ValueError: if shapes do not match the problem, a number of shots is negative or fractional, or nothing is exact about the model.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (n-shot error).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.0)
        >>> untrained = lsa.Params(value=jnp.zeros((4, 4)), query_key=jnp.zeros((4, 4)))
        >>> error_curves(untrained, problem, jnp.eye(2), jnp.array([0, 20, jnp.inf])).tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    if model.theory is None:
        raise InputError(f"model {model.name!r} has no exact risk: use simulated_curves")
    if isinstance(params, Params):
        require_same_dim(params, problem)
    tasks = checks.as_real("tasks", tasks, ("num_tasks", problem.dim))
    return _exact_curves(model.theory, params, problem, tasks, _as_shots(evaluation_shots, problem))


@functools.partial(jax.jit, static_argnums=0)
def _exact_curves(
    theory: Theory, params: Any, problem: LinearRegression, tasks: Float[Array, "num_tasks dim"], shots: Float[Array, " num_shots"]
) -> Float[Array, "num_tasks num_shots"]:
    """Every error, as one compiled program."""
    return jax.vmap(lambda task: jax.vmap(lambda number: theory.risk(problem, task)(params, number))(shots))(tasks)


def simulated_curves(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    tasks: Real[ArrayLike, "num_tasks dim"],
    evaluation_shots: Real[ArrayLike, " num_shots"],
    num_prompts: int = 10_000,
    *,
    model: Any = LINEAR,
    **sampling: Any,
) -> RiskEstimate:
    """Estimate the same errors from prompts drawn afresh for every task and number of shots.

    Args:
        key: randomness.
        params: parameters of the model.
        problem: covariance of the covariates and label noise.
        tasks: test tasks, one a row.
        evaluation_shots: numbers of shots, 0 included, and infinity where the model has a cheaper sampler than tokens.
        num_prompts: prompts for each error, at least 2.
        model: the model, or the forward pass of an estimator.
        sampling: `sampler`, `max_shots`, `covariates` and `quantiles` of `empirical_risk`; by default the projected sampler where it is
            exact.

    Returns:
        Means and standard errors, each with a row per task and a column per number of shots; quantiles with a last axis for their levels.

    Raises:
        ValueError: if shapes do not match the problem, or a number of shots or of prompts is out of range.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.0)
        >>> untrained = lsa.Params(value=jnp.zeros((4, 4)), query_key=jnp.zeros((4, 4)))
        >>> estimate = simulated_curves(jax.random.key(0), untrained, problem, jnp.eye(2), jnp.array([0, 20]))
        >>> estimate.mean.shape
        (2, 2)
    """
    tasks = checks.as_real("tasks", tasks, ("num_tasks", problem.dim))
    shots = _as_shots(evaluation_shots, problem)
    return _simulated(key, params, problem, tasks, shots, num_prompts, tuple({"model": model, **sampling}.items()))


@functools.partial(jax.jit, static_argnums=(5, 6))
def _simulated(
    key: Key[Array, ""],
    params: Any,
    problem: LinearRegression,
    tasks: Float[Array, "num_tasks dim"],
    shots: Float[Array, " num_shots"],
    num_prompts: int,
    sampling: tuple[tuple[str, Any], ...],
) -> RiskEstimate:
    """Estimate every error with a key of its own, one after the other."""
    task_index, shot_index = (index.ravel() for index in jnp.indices((len(tasks), len(shots))))

    def estimate(cell: tuple[Array, Array, Array]) -> RiskEstimate:
        index, task, num_shots = cell
        return empirical_risk(jax.random.fold_in(key, index), params, problem, task, num_shots, num_prompts, **dict(sampling))

    cells = jnp.arange(len(task_index), dtype=jnp.uint32), tasks[task_index], shots[shot_index]
    return jax.tree.map(lambda leaf: leaf.reshape(len(tasks), len(shots), *leaf.shape[1:]), jax.lax.map(estimate, cells))


def task_at_cosine(
    key: Key[Array, ""], problem: LinearRegression, target_task: Real[ArrayLike, " dim"], cosine: ArrayLike
) -> Float[Array, " dim"]:
    r"""Draw a task of the same size as the target task at a given cosine to it, in a random direction.

    Size and angle are those of predictions, $\langle\theta,\theta'\rangle = \theta^\top\Sigma\theta'$: the cosine is the correlation of
    the two tasks' noiseless labels. For isotropic Σ it is the ordinary cosine.

    Args:
        key: randomness of the direction.
        problem: covariance of the covariates.
        target_task: θ₀, not zero.
        cosine: from -1 (gives -θ₀) to 1 (gives θ₀); -1 or 1 where the dimension is 1.

    Returns:
        The task.

    Raises:
        ValueError: if the task is zero or of another dimension, or the cosine out of range.

    References:
        docs/theory.md, equation (20): the damage as a function of this cosine.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.0)
        >>> task = task_at_cosine(jax.random.key(0), problem, jnp.eye(3)[0], 0.5)
        >>> round(float(task[0]), 4)
        0.5
    """
    target_task = checks.as_task("target_task", target_task, problem.dim, zero_allowed=False)
    known = checks.concrete(cosine)
    cosine = checks.as_scale("cosine", cosine).astype(target_task.dtype)
    if known is not None and abs(known) > 1:
        raise InputError(f"cosine is {known:g}; it must be between -1 and 1")
    if known is not None and problem.dim == 1 and abs(known) != 1:
        raise InputError(f"cosine is {known:g}; in dimension 1 it must be -1 or 1")
    with precision.in_force():
        target = problem.root.T @ target_task
        size = jnp.sqrt(jnp.sum(target**2))
        direction = target / size
        other = standard_normals(key, (problem.dim,), target.dtype)
        other -= jnp.sum(other * direction) * direction
        norm = jnp.sqrt(jnp.sum(other**2)) if problem.dim > 1 else jnp.ones((), target.dtype)
        return _unwhitened(problem, size * (cosine * direction + jnp.sqrt(1 - cosine**2) * other / norm))


def tasks_at_cosine(problem: LinearRegression, target_task: Real[ArrayLike, " dim"], cosine: float) -> FiniteTasks:
    r"""Return a pool over which one layer of linear attention has the error that it has on average over all tasks at a cosine.

    The tasks are those of `task_at_cosine` in d - 1 orthogonal directions and their opposites. Errors see a law of tasks through its mean,
    its covariance, $\mathrm{Var}|\delta|^2$ and $\mathbb E|\delta|^2\delta$, which are those of a uniformly random direction.

    Args:
        problem: covariance of the covariates.
        target_task: θ₀, not zero.
        cosine: from -1 to 1.

    Returns:
        The pool, of 2(d - 1) tasks.

    Raises:
        ValueError: if the task is zero or of another dimension, the cosine out of range, or the dimension 1, where none lies between.

    References:
        docs/theory.md, equations (10) and (20).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.0)
        >>> tasks_at_cosine(problem, jnp.array([2.0, 0.0]), 0.0).tasks.round(3).tolist()
        [[0.0, 2.0], [0.0, -2.0]]
    """
    target_task = checks.as_task("target_task", target_task, problem.dim, zero_allowed=False)
    if problem.dim == 1:
        raise InputError("dimension is 1, where only θ₀ and -θ₀ have its size; give at least 2")
    if not abs(cosine) <= 1:
        raise InputError(f"cosine is {cosine:g}; it must be between -1 and 1")
    with precision.in_force():
        target = problem.root.T @ target_task
        size = jnp.sqrt(jnp.sum(target**2))
        others = jnp.linalg.qr(jnp.column_stack([target, jnp.eye(problem.dim, dtype=target.dtype)]))[0][:, 1:]
        aside = (1 - cosine**2) ** 0.5 * size * jnp.concatenate([others, -others], axis=1)
        return FiniteTasks(tasks=_unwhitened(problem, cosine * target[:, None] + aside).T)


def _unwhitened(problem: LinearRegression, whitened: Float[Array, "dim *tasks"]) -> Float[Array, "dim *tasks"]:
    r"""Tasks, one a column, from $\tau = L^\top\theta$."""
    inverse = jax.scipy.linalg.solve_triangular(problem.root.T, jnp.eye(problem.dim, dtype=whitened.dtype), lower=False)
    return inverse @ whitened


def _as_shots(evaluation_shots: ArrayLike, problem: LinearRegression) -> Float[Array, " num_shots"]:
    """Numbers of shots as an array, each checked."""
    known = checks.concrete(evaluation_shots)
    for shots in () if known is None else known.ravel():
        checks.as_shots("evaluation_shots", shots, problem.root.dtype)
    return checks.shots_within(jnp.atleast_1d(jnp.asarray(evaluation_shots, problem.root.dtype)), 0)
