"""Drawing tasks from a prior."""

import functools

import jax
from jaxtyping import Array, Float, Key

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.priors import TaskPrior, require_prior


def sample_task(key: Key[Array, ""], prior: TaskPrior) -> Float[Array, " dim"]:
    """Draw one regression vector.

    Args:
        key: randomness.
        prior: law of the tasks.

    Returns:
        The task θ.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if the prior holds several laws, or its sampler gives another shape.

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
        ValueError: if `count` is below 1, the prior holds several laws, or its sampler gives another shape.

    Example:
        >>> import jax, lsa_jax as lsa
        >>> sample_tasks(jax.random.key(0), lsa.SpherePrior(dim=3), count=10).shape
        (3, 10)
    """
    require_prior(prior)
    count = checks.as_count("count", count)
    tasks = _draw(key, prior, count)
    if tasks.shape != (prior.dim, count):
        raise InputError(f"{type(prior).__name__}.sample gave shape {tasks.shape}; it must give ({prior.dim}, {count}), one task a column")
    return tasks


@functools.partial(jax.jit, static_argnums=2)
def _draw(key: Key[Array, ""], prior: TaskPrior, count: int) -> Float[Array, "..."]:
    """What the prior's own sampler gives, as one compiled program."""
    return prior.sample(key, count)
