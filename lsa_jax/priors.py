"""Task priors: the laws from which pretraining draws the regression vector θ."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.problem import gram


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class GaussianPrior:
    r"""Gaussian tasks, $\theta \sim N(\bar\theta, \Lambda)$; the paper's theory has $\bar\theta = 0$, $\Lambda = I$.

    Args:
        mean: mean task.
        covariance: covariance of the tasks, symmetric positive definite.

    Raises:
        ValueError: if the shapes differ, an entry is not finite, or `covariance` is not symmetric positive definite.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.GaussianPrior(mean=jnp.zeros(5), covariance=jnp.eye(5)).dim
        5
    """

    mean: Float[Array, "*batch dim"]
    root: Float[Array, "*batch dim dim"]

    def __init__(self, mean: ArrayLike, covariance: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        mean = checks.as_real("prior mean", mean, ("dim",))
        root = jnp.linalg.cholesky(checks.as_covariance("prior covariance", covariance, mean.shape[0]))
        object.__setattr__(self, "mean", mean.astype(root.dtype))
        object.__setattr__(self, "root", root)

    @property
    def dim(self) -> int:
        """Dimension d of the tasks."""
        return self.mean.shape[-1]

    @property
    def covariance(self) -> Float[Array, "*batch dim dim"]:
        """Covariance of the tasks."""
        return gram(self.root)


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, init=False)
class SpherePrior:
    """Tasks uniform on the sphere of the given radius, the prior of the published code (radius 1).

    Args:
        dim: dimension d of the tasks (static).
        radius: radius of the sphere, above 0, in the unit of a task.

    Raises:
        ValueError: if `dim` is not a positive whole number or `radius` is not above 0 and finite.

    Example:
        >>> import lsa_jax as lsa
        >>> float(lsa.SpherePrior(dim=5).radius)
        1.0
    """

    dim: int
    radius: Float[Array, "*batch"]

    def __init__(self, dim: int, radius: ArrayLike = 1.0) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        object.__setattr__(self, "dim", checks.as_count("dim", dim))
        object.__setattr__(self, "radius", checks.as_scale("radius", radius, minimum=0.0, zero_allowed=False))

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[jax.tree_util.GetAttrKey, Any], ...], int]:
        """The radius is a leaf; the dimension is static."""
        return ((jax.tree_util.GetAttrKey("radius"), self.radius),), self.dim

    @classmethod
    def tree_unflatten(cls, dim: int, leaves: tuple[Any, ...]) -> "SpherePrior":
        """Rebuild without checks: JAX puts placeholders and batches in the leaves."""
        prior = object.__new__(cls)
        object.__setattr__(prior, "dim", dim)
        object.__setattr__(prior, "radius", leaves[0])
        return prior


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class FiniteTasks:
    """A finite pool of tasks, each drawn with the same probability.

    Args:
        tasks: one task a row.

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


TaskPrior = GaussianPrior | SpherePrior | FiniteTasks


def require_prior_dim(prior: object, dim: int) -> None:
    """Refuse what is not a task prior, or a prior over tasks of another dimension.

    Args:
        prior: the task prior.
        dim: the dimension the problem has.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if its dimension is not `dim`.
    """
    if not isinstance(prior, TaskPrior):
        raise TypeError(f"prior is a {type(prior).__name__}; it must be a GaussianPrior, SpherePrior or FiniteTasks")
    if prior.dim != dim:
        raise InputError(f"prior has dim {prior.dim} but the problem has dim {dim}; make both the same")


def is_symmetric(prior: TaskPrior) -> bool:
    """Whether θ and -θ have the same law under the prior; True where values are traced and cannot be told.

    Args:
        prior: the task prior.

    Returns:
        True if the prior is invariant under the change of sign.
    """
    match prior:
        case GaussianPrior(mean=mean):
            return checks.concrete(mean) is None or checks.is_zero(mean)
        case FiniteTasks(tasks=tasks):
            tasks = checks.concrete(tasks)
            if tasks is None:
                return True
            ordered, mirrored = (rows[np.lexsort(rows.T)] for rows in (tasks + 0.0, -tasks + 0.0))
            return bool(np.allclose(ordered, mirrored))
        case _:
            return True


def from_text(text: str, dim: int) -> TaskPrior:
    """Return the prior a flag or a spec names.

    Args:
        text: `sphere`, `sphere:RADIUS`, `gaussian` or `gaussian:VARIANCE` (centred, isotropic).
        dim: dimension d.

    Returns:
        The prior.

    Raises:
        ValueError: if the name is unknown or the number cannot be read or is not above 0.

    Example:
        >>> float(from_text("sphere:2", dim=5).radius)
        2.0
    """
    name, number = parse(text)
    if name == "sphere":
        return SpherePrior(dim=dim, radius=number)
    return GaussianPrior(mean=jnp.zeros(dim), covariance=number * jnp.eye(dim))


def parse(text: str) -> tuple[str, float]:
    """Read the text of a prior without making it.

    Args:
        text: see `from_text`.

    Returns:
        The family and its number.

    Raises:
        ValueError: if the name is unknown or the number cannot be read or is not above 0.
    """
    name, _, rest = text.partition(":")
    checks.as_choice("prior", name, ("sphere", "gaussian"))
    number = checks.as_number(f"{name} size", rest or "1")
    if not 0 < number < np.inf:
        raise InputError(f"prior is {text!r}; its size must be above 0 and finite")
    return name, number
