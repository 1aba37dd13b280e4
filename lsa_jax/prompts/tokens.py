"""Prompts as tokens, one (1, x, y) a row: the model's definition, for any number of shots and any covariate law."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.covariates import Covariates, gaussian
from lsa_jax.errors import InputError
from lsa_jax.normals import standard_normals
from lsa_jax.problem import LinearRegression


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Prompt:
    """One prompt and the label it asks for.

    `tokens` holds the context, then zero rows up to a common length, then the query with label 0; `num_tokens` counts context and query.
    """

    tokens: Float[Array, "*batch rows token"]
    num_tokens: Float[Array, "*batch"]
    target: Float[Array, "*batch"]


def sample_prompt(
    key: Key[Array, ""],
    problem: LinearRegression,
    task: Float[Array, " dim"],
    num_shots: ArrayLike,
    *,
    max_shots: int | None = None,
    covariates: Covariates = gaussian,
) -> Prompt:
    """Draw one prompt of `num_shots` fresh examples of a task, and the noisy label of its query.

    Args:
        key: randomness.
        problem: covariance of the covariates and label noise.
        task: the regression vector θ.
        num_shots: number n of examples, from 0 on and finite; may be traced if `max_shots` is given.
        max_shots: rows to reserve for examples (static), at least `num_shots`; the same prompt is drawn whatever it is.
        covariates: law of the coordinates before mixing.

    Returns:
        The prompt.

    Raises:
        ValueError: if `num_shots` is negative, fractional or above `max_shots`, or traced without `max_shots`.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (tokens and data).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.1)
        >>> prompt = sample_prompt(jax.random.key(0), problem, jnp.ones(3), num_shots=4, max_shots=6)
        >>> prompt.tokens.shape, float(prompt.num_tokens)
        ((7, 5), 5.0)
    """
    max_shots = reserved_shots(num_shots, max_shots)
    context_key, query_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    context_x, context_y = sample_examples(context_key, problem, task, max_shots, covariates)
    query_x, query_y = sample_examples(query_key, problem, task, 1, covariates)
    return assemble(context_x, context_y, query_x[0], query_y[0], num_shots)


def reserved_shots(num_shots: ArrayLike, max_shots: int | None) -> int:
    """Return how many context rows a prompt needs, a static number.

    Args:
        num_shots: number of examples, traced or not.
        max_shots: rows to reserve, or None for as many as there are examples.

    Returns:
        The number of rows.

    Raises:
        ValueError: if `num_shots` is traced and `max_shots` missing, or the number is not finite, whole and at most `max_shots`.
    """
    known = checks.concrete(num_shots)
    if known is None:
        if max_shots is None:
            raise InputError("num_shots is traced, so the length of a prompt of tokens is unknown: give max_shots")
        return checks.as_count("max_shots", max_shots, minimum=0)
    checks.as_shots("num_shots", num_shots, jnp.float32)
    if np.isinf(known):
        raise InputError("num_shots is infinite; a prompt of tokens is finite: use the projected sampler or the exact risk")
    needed = int(known)
    reserved = needed if max_shots is None else checks.as_count("max_shots", max_shots, minimum=0)
    if needed > reserved:
        raise InputError(f"num_shots is {needed}, above max_shots {reserved}: raise max_shots")
    return reserved


@jax.jit
def assemble(
    context_x: Float[Array, "max_shots dim"],
    context_y: Float[Array, " max_shots"],
    query_x: Float[Array, " dim"],
    target: Float[Array, ""],
    num_shots: ArrayLike,
) -> Prompt:
    """Lay examples out as tokens, with zero rows from the `num_shots`-th example on.

    A traced number of examples that is not whole, or not from 0 to the number of rows, leaves NaN in every part of the prompt.

    Args:
        context_x: covariates of the examples.
        context_y: labels of the examples.
        query_x: covariates of the query.
        target: label of the query.
        num_shots: number of examples to keep.

    Returns:
        The prompt.
    """
    shots = checks.shots_within(jnp.asarray(num_shots, context_x.dtype), 0, len(context_x))
    valid = ~jnp.isnan(shots)
    rows = jnp.concatenate([jnp.ones((len(context_x), 1), context_x.dtype), context_x, context_y[:, None]], axis=1)
    kept = (jnp.arange(len(rows), dtype=shots.dtype) < shots)[:, None]
    query = jnp.concatenate([jnp.ones(1, query_x.dtype), query_x, jnp.zeros(1, query_x.dtype)])
    tokens = checks.nan_unless(valid, jnp.concatenate([jnp.where(kept, rows, 0), query[None]]))
    return Prompt(tokens=tokens, num_tokens=shots + 1, target=checks.nan_unless(valid, target))


def sample_examples(
    key: Key[Array, ""], problem: LinearRegression, task: Float[Array, " dim"], count: int, covariates: Covariates
) -> tuple[Float[Array, "count dim"], Float[Array, " count"]]:
    """Draw labelled examples of a task."""
    x_key, noise_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    coordinates = covariates(x_key, (count, problem.dim), problem.root.dtype)
    x = jnp.matmul(coordinates, problem.root.T, precision=precision.current())
    noise = problem.noise_std * standard_normals(noise_key, (count,), x.dtype)
    return x, jnp.matmul(x, task, precision=precision.current()) + noise
