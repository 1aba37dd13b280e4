"""A finite pool of tasks."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.priors.law import TaskMoments
from lsa_jax.values import Record


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class FiniteTasks(Record):
    """A finite pool of tasks, each drawn with the same probability.

    Args:
        tasks: one task per row.

    Raises:
        ValueError: if the pool is empty or holds NaN or infinity.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.FiniteTasks(tasks=jnp.eye(5)[:2]).num_tasks
        2
    """

    tasks: Float[Array, "*batch num_tasks dim"]

    def __init__(self, tasks: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        object.__setattr__(self, "tasks", checks.as_real("tasks", tasks, ("num_tasks", "dim")))

    @property
    def dim(self) -> int:
        """Dimension d of the tasks."""
        return self.tasks.shape[-1]

    @property
    def num_tasks(self) -> int:
        """Number of tasks in the pool."""
        return self.tasks.shape[-2]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of priors, empty for one."""
        return self.tasks.shape[:-2]

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "dim count"]:
        """Draw tasks with replacement, one a column.

        Args:
            key: randomness of them all.
            count: number of tasks (static).

        Returns:
            The tasks.
        """
        return self.tasks.T[:, jax.random.randint(key, (count,), 0, self.num_tasks, jnp.int32)]

    def moments(self, root: Float[Array, "dim dim"]) -> TaskMoments:
        """Compute the moments of the whitened task, means over the pool.

        Args:
            root: factor of the covariance of the covariates.

        Returns:
            The moments.
        """
        with precision.in_force():
            whitened = self.tasks @ root
            mean = jnp.mean(whitened, axis=0)
            deviations = whitened - mean[None]
            squares = jnp.sum(deviations**2, axis=1)
            excess = squares - jnp.mean(squares)
            return TaskMoments(
                mean=mean,
                covariance=deviations.T @ deviations / self.num_tasks,
                squared_norm_variance=jnp.mean(excess**2),
                squared_norm_covariance=excess @ deviations / self.num_tasks,
                coordinate_thirds=jnp.mean(deviations**3, axis=0),
                coordinate_fourths=jnp.mean(deviations**4, axis=0),
            )

    def covariance_root(self) -> Float[Array, "dim dim"]:
        """Return a root of the covariance, made from the tasks themselves: their squares would lose half of the digits.

        Returns:
            The root.
        """
        deviations = self.tasks - jnp.mean(self.tasks, axis=0)[None]
        triangle = jnp.linalg.qr(deviations / jnp.sqrt(self.num_tasks).astype(self.tasks.dtype), mode="r")
        missing = self.dim - triangle.shape[0]
        return jnp.concatenate([triangle, jnp.zeros((missing, self.dim), self.tasks.dtype)]).T
