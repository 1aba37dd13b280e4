"""The data law, from which both the exact and the simulated side start, and its match with parameters."""

import chex
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.params import LayerParams
from lsa_jax.values import Record, are_axes


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class LinearRegression(Record):
    r"""Linear regression with Gaussian covariates: $x \sim N(0, \Sigma)$ and $y \mid x \sim N(\theta^\top x, \sigma^2)$.

    `covariance` is $\Sigma$, `noise_std` is $\sigma$ (a standard deviation, never a variance); the task $\theta$ is passed beside it.
    What is kept is the Cholesky factor `root`, $\Sigma = LL^\top$, from which everything is computed and `covariance` is rebuilt; it and
    `noise_std` are leaves of a pytree, so a sweep may trace and vmap them. With an axis for one and None for the other in place of their
    values it is a tree of axes, for `jax.vmap`. Two problems are equal if they hold the same numbers.

    Args:
        covariance: covariance of the covariates, symmetric positive definite.
        noise_std: standard deviation of the label noise, at least 0, in the unit of the labels.
        root: the Cholesky factor, where no covariance is given; `replace` passes it on.

    Raises:
        ValueError: if `covariance` is not square, symmetric, positive definite and finite, `root` not lower triangular with a positive
            diagonal, both are missing, or `noise_std` is negative or not finite. Where traced values are so, they become NaN.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (data model).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.3)
        >>> problem.dim
        5
        >>> problem.replace(noise_std=0.5) == lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.5)
        True
        >>> axes = lsa.LinearRegression(covariance=None, noise_std=0)
        >>> jax.vmap(lambda problem: problem.dim * problem.noise_std, (axes,))(jax.vmap(problem.replace)(noise_std=jnp.ones(3))).shape
        (3,)
    """

    root: Float[Array, "*batch dim dim"]
    noise_std: Float[Array, "*batch"]

    def __init__(self, covariance: ArrayLike | None = None, noise_std: ArrayLike | None = None, *, root: ArrayLike | None = None) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        given = root if covariance is None else covariance
        if not are_axes(given, noise_std):
            if given is None or noise_std is None:
                raise InputError("a problem needs covariance and noise_std; give both")
            given = _as_root(given) if covariance is None else jnp.linalg.cholesky(checks.as_covariance("covariance", given))
            noise_std = checks.as_scale("noise_std", noise_std, minimum=0.0).astype(given.dtype)
        object.__setattr__(self, "root", given)
        object.__setattr__(self, "noise_std", noise_std)

    @property
    def dim(self) -> int:
        """Dimension d of the covariates."""
        return self.root.shape[-1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of problems, empty for one."""
        return self.root.shape[:-2] or self.noise_std.shape

    @property
    def covariance(self) -> Float[Array, "*batch dim dim"]:
        """Covariance of the covariates."""
        return gram(self.root)


def require_same_dim(params: LayerParams, problem: LinearRegression) -> int:
    """Return the common dimension d of parameters and problem.

    Args:
        params: parameters of the model.
        problem: the data law.

    Returns:
        The dimension d.

    Raises:
        ValueError: if the parameters are made for another dimension than the problem has, or either is a batch of several.
    """
    checks.as_single("params", params.batch_shape)
    checks.as_single("problem", problem.batch_shape)
    if params.dim != problem.dim:
        raise InputError(
            f"params are {params.value.shape}, made for dim {params.dim}, but the problem has dim {problem.dim}; "
            f"pass params of shape {(*params.value.shape[:-2], problem.dim + 2, problem.dim + 2)}"
        )
    return problem.dim


def gram(root: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    r"""Return the covariance $LL^\top$ of which `root` is a factor.

    Args:
        root: any square factor L.

    Returns:
        The covariance.
    """
    return jnp.matmul(root, jnp.swapaxes(root, -1, -2), precision=precision.current())


def _as_root(value: ArrayLike) -> Float[Array, "dim dim"]:
    """A lower triangular matrix with a positive diagonal, as a Cholesky factor is."""
    root = checks.as_real("root", value, ("dim", "dim"))
    valid = jnp.all(jnp.diagonal(root) > 0) & jnp.all(jnp.triu(root, 1) == 0)
    if root.shape[0] != root.shape[1] or (checks.concrete(value) is not None and not valid):
        raise InputError(f"root, of shape {root.shape}, is no Cholesky factor: lower triangular, its diagonal above 0; give the covariance")
    return checks.nan_unless(valid, root)
