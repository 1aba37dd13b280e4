"""Gaussian tasks."""

import chex
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.factorizations import semidefinite_root
from lsa_jax.normal_rows import sample_normals
from lsa_jax.priors.law import TaskMoments
from lsa_jax.problem import gram


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class GaussianPrior:
    r"""Gaussian tasks, $\theta \sim N(\bar\theta, \Lambda)$; the paper's theory has $\bar\theta = 0$, $\Lambda = I$.

    What is kept of Λ is its `root`: the Cholesky factor, or for a Λ of lower rank one from its eigenvectors.

    Args:
        mean: mean task.
        covariance: covariance of the tasks, symmetric positive semidefinite.

    Raises:
        ValueError: if the shapes differ, an entry is not finite, or `covariance` is not symmetric positive semidefinite.

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
        root = semidefinite_root(checks.as_covariance("prior covariance", covariance, mean.shape[0], semidefinite=True))
        object.__setattr__(self, "mean", mean.astype(root.dtype))
        object.__setattr__(self, "root", root)

    @property
    def dim(self) -> int:
        """Dimension d of the tasks."""
        return self.mean.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of priors, empty for one."""
        return self.mean.shape[:-1] or self.root.shape[:-2]

    @property
    def covariance(self) -> Float[Array, "*batch dim dim"]:
        """Covariance of the tasks."""
        return gram(self.root)

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "dim count"]:
        """Draw tasks, one a column.

        Args:
            key: randomness of them all.
            count: number of tasks (static).

        Returns:
            The tasks.
        """
        normals = sample_normals(key, self.dim, count, self.mean.dtype)
        return self.mean[:, None] + jnp.matmul(self.root, normals, precision=precision.current())

    def moments(self, root: Float[Array, "dim dim"]) -> TaskMoments:
        r"""Compute the moments of the whitened task; by Isserlis $\mathrm{Var}|\delta|^2 = 2\,\mathrm{tr}\,C^2$.

        Args:
            root: factor of the covariance of the covariates.

        Returns:
            The moments.
        """
        whitened = gram(root.T @ self.root)
        return TaskMoments(
            mean=root.T @ self.mean,
            covariance=whitened,
            squared_norm_variance=2 * jnp.sum(whitened**2),
            coordinate_fourths=3 * jnp.diag(whitened) ** 2,
        )

    def covariance_root(self) -> Float[Array, "dim dim"]:
        """Return the root of the covariance.

        Returns:
            The root.
        """
        return self.root
