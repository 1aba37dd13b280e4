"""Tasks on a sphere."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks
from lsa_jax.normal_rows import sample_normals
from lsa_jax.priors.law import TaskMoments
from lsa_jax.values import Record


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, init=False, eq=False)
class SpherePrior(Record):
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

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of priors, empty for one."""
        return self.radius.shape

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "dim count"]:
        """Draw tasks, one a column: normals over their length.

        Args:
            key: randomness of them all.
            count: number of tasks (static).

        Returns:
            The tasks.
        """
        directions = sample_normals(key, self.dim, count, self.radius.dtype)
        return self.radius * directions * jax.lax.rsqrt(jnp.sum(directions**2, axis=0, keepdims=True))

    def moments(self, root: Float[Array, "dim dim"]) -> TaskMoments:
        r"""Compute the moments of the whitened task; $\mathrm{Var}|\delta|^2$ is that of a Gaussian less its radial part.

        Args:
            root: factor of the covariance of the covariates.

        Returns:
            The moments.
        """
        whitened = root.T @ root * (self.radius**2 / self.dim)
        anisotropy = jnp.sum((whitened - jnp.trace(whitened) / self.dim * jnp.eye(self.dim, dtype=root.dtype)) ** 2)
        ratio = self.dim / (self.dim + 2)
        return TaskMoments(
            mean=jnp.zeros(self.dim, root.dtype),
            covariance=whitened,
            squared_norm_variance=2 * ratio * anisotropy,
            coordinate_fourths=3 * ratio * jnp.diag(whitened) ** 2,
        )

    def covariance_root(self) -> Float[Array, "dim dim"]:
        """Return a root of the covariance.

        Returns:
            The root, a multiple of the identity.
        """
        return jnp.eye(self.dim, dtype=self.radius.dtype) * self.radius / np.sqrt(self.dim).astype(self.radius.dtype)
