"""A finite pool of labelled examples, drawn once and sampled with replacement: the fine-tuning data of the published experiment."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from lsa_jax import checks
from lsa_jax.covariates import Covariates, gaussian
from lsa_jax.problem import LinearRegression
from lsa_jax.prompts.tokens import Prompt, assemble, reserved_shots, sample_examples


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class Pool:
    """Labelled examples of one task: all the fine-tuning data there is.

    Args:
        x: covariates, one example a row.
        y: labels.

    Raises:
        ValueError: if the pool is empty, or the shapes differ, or an entry is not finite.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.prompts.Pool(x=jnp.ones((10, 3)), y=jnp.zeros(10)).size
        10
    """

    x: Float[Array, "*batch size dim"]
    y: Float[Array, "*batch size"]

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        x = checks.as_real("pool x", x, ("size", "dim"))
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", checks.as_real("pool y", y, (x.shape[0],)))

    @property
    def size(self) -> int:
        """Number of examples."""
        return self.y.shape[-1]


def sample_pool(
    key: Key[Array, ""],
    problem: LinearRegression,
    task: Float[Array, " dim"],
    size: int,
    covariates: Covariates = gaussian,
) -> Pool:
    """Draw the pool.

    Args:
        key: randomness.
        problem: covariance of the covariates and label noise.
        task: the regression vector θ.
        size: number of examples, at least 1.
        covariates: law of the coordinates before mixing.

    Returns:
        The pool.

    Raises:
        ValueError: if `size` is below 1.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.1)
        >>> sample_pool(jax.random.key(0), problem, jnp.ones(3), size=100).x.shape
        (100, 3)
    """
    x, y = sample_examples(key, problem, task, checks.as_count("pool size", size), covariates)
    return Pool(x=x, y=y)


def sample_pool_prompt(key: Key[Array, ""], pool: Pool, num_shots: ArrayLike, *, max_shots: int | None = None) -> Prompt:
    """Draw one prompt whose context and query are all drawn from the pool, with replacement.

    Args:
        key: randomness.
        pool: the examples.
        num_shots: number n of examples, from 0 on and finite; may be traced if `max_shots` is given.
        max_shots: rows to reserve for examples (static), at least `num_shots`; the same prompt is drawn whatever it is.

    Returns:
        The prompt.

    Raises:
        ValueError: if `num_shots` is negative, fractional or above `max_shots`, or traced without `max_shots`.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression (100 000 pairs).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> pool = lsa.prompts.Pool(x=jnp.ones((10, 3)), y=jnp.zeros(10))
        >>> sample_pool_prompt(jax.random.key(0), pool, num_shots=2).tokens.shape
        (3, 5)
    """
    rows = _indices(key, reserved_shots(num_shots, max_shots) + 1, pool.size)
    x, y = pool.x[rows], pool.y[rows]
    return assemble(x[1:], y[1:], x[0], y[0], jnp.asarray(num_shots))


def _indices(key: Key[Array, ""], count: int, size: int) -> Int[Array, " count"]:
    """Uniform indices by the remainder of 32 random bits."""
    # A third of the time of jax.random.randint; a probability is off by at most size / 2**32 of itself, 2e-5 for 100 000 examples.
    return (jax.random.bits(key, (count,), jnp.uint32) % np.uint32(size)).astype(jnp.int32)
