"""Drawing tasks from a prior."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lsa_jax import checks, precision
from lsa_jax.priors import FiniteTasks, GaussianPrior, SpherePrior, TaskPrior
from lsa_jax.prompts.normals import sample_normals


def sample_task(key: Key[Array, ""], prior: TaskPrior) -> Float[Array, " dim"]:
    """Draw one regression vector.

    Args:
        key: randomness.
        prior: law of the tasks.

    Returns:
        The task θ.

    Raises:
        TypeError: if `prior` is no task prior.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> task = sample_task(jax.random.key(0), lsa.SpherePrior(dim=3, radius=2.0))
        >>> round(float((task**2).sum()), 4)
        4.0
    """
    return sample_tasks(key, prior, 1)[:, 0]


def sample_tasks(key: Key[Array, ""], prior: TaskPrior, count: int) -> Float[Array, "dim count"]:
    """Draw independent regression vectors, one a column.

    Args:
        key: randomness of them all.
        prior: law of the tasks.
        count: number of tasks (static).

    Returns:
        The tasks.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if `count` is below 1.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> sample_tasks(jax.random.key(0), lsa.SpherePrior(dim=3), count=10).shape
        (3, 10)
    """
    if not isinstance(prior, TaskPrior):
        raise TypeError(f"prior is a {type(prior).__name__}; it must be a GaussianPrior, SpherePrior or FiniteTasks")
    return _draw(key, prior, checks.as_count("count", count))


@functools.partial(jax.jit, static_argnums=2)
def _draw(key: Key[Array, ""], prior: TaskPrior, count: int) -> Float[Array, "dim count"]:
    """The tasks, one a column."""
    match prior:
        case GaussianPrior(mean=mean, root=root):
            normals = sample_normals(key, prior.dim, count, mean.dtype)
            return mean[:, None] + jnp.matmul(root, normals, precision=precision.current())
        case SpherePrior(dim=dim, radius=radius):
            directions = sample_normals(key, dim, count, radius.dtype)
            return radius * directions * jax.lax.rsqrt(jnp.sum(directions**2, axis=0, keepdims=True))
        case FiniteTasks(tasks=tasks):
            return tasks.T[:, jax.random.randint(key, (count,), 0, prior.num_tasks, jnp.int32)]
