"""The Bayes estimator of a finite pool of tasks, whose prior a transformer trained on few tasks learns by heart."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.estimators.linear import Tokens
from lsa_jax.priors import FiniteTasks, TaskPrior
from lsa_jax.problem import LinearRegression

TASKS_AT_ONCE = 32
"""Tasks whose likelihoods are held at a time; bounds the memory, not the result."""


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class KnownPool:
    """What the Bayes estimator of a pool knows.

    Args:
        tasks: the pool, one task a row, each with the same prior probability.
        noise_std: standard deviation of the label noise, above 0.

    Raises:
        ValueError: if a shape is wrong, an entry not finite, or the noise not above 0.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.estimators.KnownPool(tasks=jnp.eye(5)[:2], noise_std=0.5).tasks.shape
        (2, 5)
    """

    tasks: Float[Array, "*batch num_tasks dim"]
    noise_std: Float[Array, "*batch"]

    def __init__(self, tasks: ArrayLike, noise_std: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        tasks = checks.as_real("tasks", tasks, ("num_tasks", "dim"))
        object.__setattr__(self, "tasks", tasks)
        noise_std = checks.as_scale("noise_std", noise_std, minimum=0.0, zero_allowed=False)
        object.__setattr__(self, "noise_std", noise_std.astype(tasks.dtype))


def known_pool(problem: LinearRegression, prior: TaskPrior) -> KnownPool:
    """Return what the Bayes estimator of a pool knows, from the laws of the data and of the tasks.

    Args:
        problem: the data law.
        prior: the pool.

    Returns:
        The tasks and the noise.

    Raises:
        ValueError: if the prior is no finite pool.
    """
    if not isinstance(prior, FiniteTasks):
        raise InputError(f"the prior is a {type(prior).__name__}; only a pool of tasks, FiniteTasks, can be known by heart")
    return KnownPool(tasks=prior.tasks, noise_std=problem.noise_std)


def pool_mean(params: KnownPool, tokens: Tokens, num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    r"""Predict with the posterior mean of the task under a uniform prior on a finite pool ("dMMSE").

    $$\hat w = \sum_m \mathrm{softmax}_m\Big(-\frac1{2\sigma^2}\sum_i (y_i - w_m\cdot x_i)^2\Big)\,w_m ,$$

    in log space and in chunks of tasks, so that a million of them need no more memory than a few.

    Args:
        params: the pool and the noise.
        tokens: the prompt, one token (1, x, y) a row; the query comes last. Zero rows may pad it.
        num_tokens: number of tokens, which makes no difference here.

    Returns:
        The prediction; without examples that of the pool's mean.

    Raises:
        ValueError: if the tokens are of another dimension than the tasks.

    References:
        Raventos, Paul, Chen, Ganguli, arXiv 2306.15063, section 2, equation for dMMSE.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> pool = lsa.estimators.KnownPool(tasks=jnp.array([[1.0], [3.0]]), noise_std=0.1)
        >>> round(float(pool_mean(pool, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]]))), 4)
        3.0
    """
    tokens = checks.as_real("tokens", tokens, ("num_tokens", "dim + 2"))
    number, dim = params.tasks.shape
    if tokens.shape[1] != dim + 2:
        raise InputError(f"tokens have shape {tokens.shape}; this pool wants rows of {dim + 2} entries (1, x, y)")
    x, y, query = tokens[:-1, 1:-1], tokens[:-1, -1], tokens[-1, 1:-1]
    size = min(number, TASKS_AT_ONCE)
    missing = -number % size
    chunks = jnp.pad(params.tasks, ((0, missing), (0, 0))).reshape(-1, size, dim)
    real = (jnp.arange(number + missing) < number).reshape(-1, size)

    def add(state: tuple[Array, Array, Array], chunk: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        largest, total, weighted = state
        tasks, real = chunk
        with precision.in_force():
            # Examples before tasks: summed over the last axis instead, they are added one by one.
            residuals = y[:, None] - x @ tasks.T
            logs = jnp.where(real, -jnp.sum(residuals**2, axis=0) / (2 * params.noise_std**2), -jnp.inf)
            higher = jnp.maximum(largest, jnp.max(logs))
            kept, weights = jnp.exp(largest - higher), jnp.exp(logs - higher)
            return (higher, kept * total + jnp.sum(weights), kept * weighted + weights @ tasks), None

    dtype = jnp.result_type(params.tasks, tokens)
    start = (jnp.asarray(-jnp.inf, dtype), jnp.zeros((), dtype), jnp.zeros(dim, dtype))
    (_, total, weighted), _ = jax.lax.scan(add, start, (chunks, real))
    return jnp.dot(weighted, query, precision=precision.current()) / total
