"""A few steps of gradient descent on the squared error of the examples, and the steps that are best on average."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import checks, precision, prompts
from lsa_jax.errors import InputError
from lsa_jax.estimators.linear import Tokens, sums
from lsa_jax.priors import TaskPrior, require_prior_dim
from lsa_jax.problem import LinearRegression

ITERATIONS = 40
"""Iterations of L-BFGS in a fit; those of up to 8 steps settle in fewer."""

Steps = Real[ArrayLike, "steps *matrix"]


def gradient_descent(params: Steps, tokens: Tokens, num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    r"""Predict with $w_k$, from $w_0 = 0$ by $w_{j+1} = w_j + \frac1n A_j\sum_i(y_i - w_j\cdot x_i)x_i$ over the n examples.

    Args:
        params: step sizes, one a step, or preconditioners $A_j$, one matrix a step.
        tokens: the prompt, one token (1, x, y) a row; the query comes last.
        num_tokens: number of tokens, when zero rows pad the prompt.

    Returns:
        The prediction.

    Raises:
        ValueError: if the steps are neither numbers nor matrices of the covariates' size.

    Example:
        >>> float(gradient_descent(jnp.array([0.25]), jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        3.0
    """
    seen = sums(tokens, num_tokens)
    dim, total = len(seen.query), jnp.maximum(seen.count, 1)
    if jnp.ndim(params) not in {1, 3}:
        raise InputError(f"steps have shape {jnp.shape(params)}; they must have shape (steps,) or (steps, {dim}, {dim})")
    steps = checks.as_real("steps", params, ("steps", dim, dim)[: jnp.ndim(params)])
    with precision.in_force():
        return seen.query @ _descend(steps, seen.second / total, seen.cross / total)


def fit_gradient_descent(
    key: Key[Array, ""],
    problem: LinearRegression,
    prior: TaskPrior,
    num_shots: ArrayLike,
    num_steps: int,
    *,
    preconditioned: bool = False,
    num_contexts: int = 16_384,
) -> Float[Array, "steps *matrix"]:
    """Fit the steps of gradient descent to a prior: those with the least mean error over drawn contexts, by L-BFGS.

    **Assumes** Gaussian covariates. The average over the query is exact, that over tasks and contexts drawn.

    Args:
        key: randomness of tasks and contexts.
        problem: covariance of the covariates and label noise.
        prior: law of the tasks.
        num_shots: number of examples, at least 1; may be traced.
        num_steps: number of steps (static).
        preconditioned: whether a step is a matrix or a number.
        num_contexts: contexts to fit to (static).

    Returns:
        The steps, for `gradient_descent`.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if a number is out of range or a dimension differs.

    References:
        Ahn, Cheng, Daneshmand, Sra, arXiv 2306.00297, section 4 (preconditioned descent learned in context).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.0)
        >>> steps = fit_gradient_descent(jax.random.key(0), problem, lsa.SpherePrior(dim=2), 1000, 1, num_contexts=1000)
        >>> bool(abs(steps[0] - 1) < 0.05)
        True
    """
    require_prior_dim(prior, problem.dim)
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1)
    steps, contexts = checks.as_count("num_steps", num_steps), checks.as_count("num_contexts", num_contexts)
    return _fit(key, problem, prior, shots, steps, preconditioned, contexts)


def _descend(steps: Float[Array, "steps *matrix"], second: Float[Array, "dim dim"], cross: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """The weights after all steps."""

    def step(weights: Float[Array, " dim"], size: Float[Array, "*matrix"]) -> tuple[Float[Array, " dim"], None]:
        gradient = cross - second @ weights
        return weights + (size @ gradient if size.ndim else size * gradient), None

    return jax.lax.scan(step, jnp.zeros_like(cross), steps)[0]


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _fit(
    key: Key[Array, ""],
    problem: LinearRegression,
    prior: TaskPrior,
    num_shots: Float[Array, ""],
    num_steps: int,
    preconditioned: bool,
    num_contexts: int,
) -> Float[Array, "steps *matrix"]:
    """Minimise the mean excess over one set of drawn contexts."""
    task_key, context_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    with precision.in_force():
        tasks = prompts.sample_tasks(task_key, prior, num_contexts)
        factors = jnp.moveaxis(prompts.sample_context_factors(context_key, problem, tasks, num_shots, num_contexts), -1, 0)
        x, y = factors[:, 1:-1], factors[:, -1]
        second = x @ jnp.swapaxes(x, 1, 2) / num_shots
        cross = jnp.einsum("bij,bj->bi", x, y) / num_shots

        def excess(steps: Float[Array, "steps *matrix"]) -> Float[Array, ""]:
            errors = jax.vmap(_descend, (None, 0, 0))(steps.astype(x.dtype), second, cross) - tasks.T
            return jnp.mean(jnp.sum((errors @ problem.root) ** 2, axis=1)).astype(steps.dtype)

        # Different from one another: equal steps have equal gradients and would stay equal.
        spread = jnp.linspace(0.5, 1.5, num_steps) * problem.dim / jnp.mean(jnp.trace(second, axis1=1, axis2=2))
        # The line search of optax computes in the default type, whatever that of the data.
        start = (spread[:, None, None] * jnp.eye(problem.dim)[None] if preconditioned else spread).astype(jnp.result_type(float))
        optimizer, evaluate = optax.lbfgs(), optax.value_and_grad_from_state(excess)

        def iterate(state: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], None]:
            steps, memory = state
            value, gradient = evaluate(steps, state=memory)
            updates, memory = optimizer.update(gradient, memory, steps, value=value, grad=gradient, value_fn=excess)
            return (steps + jnp.asarray(updates), memory), None

        (steps, _), _ = jax.lax.scan(iterate, (start, optimizer.init(start)), length=ITERATIONS)
    return steps.astype(x.dtype)
