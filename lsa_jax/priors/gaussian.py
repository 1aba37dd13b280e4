"""Gaussian tasks."""

import chex
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.factorizations import semidefinite_root
from lsa_jax.normal_rows import sample_normals
from lsa_jax.priors.law import TaskMoments
from lsa_jax.problem import gram
from lsa_jax.values import Record, are_axes


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class GaussianPrior(Record):
    r"""Gaussian tasks, $\theta \sim N(\bar\theta, \Lambda)$; the paper's theory has $\bar\theta = 0$, $\Lambda = I$.

    What is kept of Λ is its `root`: the Cholesky factor, or for a Λ of lower rank one from its eigenvectors. With an axis for one of mean
    and covariance and None for the other it is a tree of axes, for `jax.vmap`.

    Args:
        mean: mean task.
        covariance: covariance of the tasks, symmetric positive semidefinite.
        root: a square root of the covariance, where this is not given; `replace` passes it on.

    Raises:
        ValueError: if the shapes differ, an entry is not finite, `covariance` is not symmetric positive semidefinite, or neither it nor
            its root is given.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> prior = lsa.GaussianPrior(mean=jnp.zeros(5), covariance=jnp.eye(5))
        >>> prior.dim, prior.replace(mean=jnp.ones(5)) == prior
        (5, False)
    """

    mean: Float[Array, "*batch dim"]
    root: Float[Array, "*batch dim dim"]

    def __init__(self, mean: ArrayLike | None, covariance: ArrayLike | None = None, *, root: ArrayLike | None = None) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        given = root if covariance is None else covariance
        if not are_axes(mean, given):
            if mean is None or given is None:
                raise InputError("a Gaussian prior needs mean and covariance; give both")
            mean = checks.as_real("prior mean", mean, ("dim",))
            size = mean.shape[0]
            if covariance is None:
                given = checks.as_real("prior root", given, (size, size))
            else:
                given = semidefinite_root(checks.as_covariance("prior covariance", covariance, size, semidefinite=True))
            mean = mean.astype(given.dtype)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "root", given)

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
