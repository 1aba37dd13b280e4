"""The data law and the model's parameters: what both the exact and the simulated side start from."""

import chex
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class LinearRegression:
    r"""Linear regression with Gaussian covariates: $x \sim N(0, \Sigma)$ and $y \mid x \sim N(\theta^\top x, \sigma^2)$.

    `covariance` is $\Sigma$, `noise_std` is $\sigma$ (a standard deviation, never a variance); the task $\theta$ is passed beside it.
    What is kept is the Cholesky factor `root`, $\Sigma = LL^\top$, from which everything is computed and `covariance` is rebuilt; it and
    `noise_std` are leaves of a pytree, so a sweep may trace and vmap them.

    Args:
        covariance: covariance of the covariates, symmetric positive definite.
        noise_std: standard deviation of the label noise, at least 0, in the unit of the labels.

    Raises:
        ValueError: if `covariance` is not square, symmetric, positive definite and finite, or `noise_std` is negative or not finite.
            Traced values are not checked.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (data model).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.3)
        >>> problem.dim
        5
    """

    root: Float[Array, "*batch dim dim"]
    noise_std: Float[Array, "*batch"]

    def __init__(self, covariance: ArrayLike, noise_std: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        root = jnp.linalg.cholesky(checks.as_covariance("covariance", covariance))
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "noise_std", checks.as_scale("noise_std", noise_std, minimum=0.0).astype(root.dtype))

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


@chex.dataclass(frozen=True, init=False, mappable_dataclass=False)
class Params:
    r"""Parameters of one layer of linear self-attention over tokens $(1, x, y)$.

    `value` is $V$ and `query_key` the merged query-key matrix $Q$ of $f(Z;V,Q) = [Z + \frac1N V Z Z^\top Q Z]_{-1,-1}$. Only the last row
    of $V$ and all but the last column of $Q$ act on the prediction, and $(cV, Q/c)$ predicts the same for every $c \ne 0$.

    Args:
        value: the value matrix.
        query_key: the merged query-key matrix, of the same shape.

    Raises:
        ValueError: if the two are not square matrices of one size, at least 3 (d >= 1), or not finite. Traced values are not checked.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (model).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7))).dim
        5
    """

    value: Float[Array, "*batch token token"]
    query_key: Float[Array, "*batch token token"]

    def __init__(self, value: ArrayLike, query_key: ArrayLike) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        value = checks.as_real("value", value, ("dim + 2", "dim + 2"))
        size = value.shape[0]
        if size < 3 or value.shape[1] != size:
            raise InputError(f"value has shape {value.shape}; it must be square, (dim + 2, dim + 2) with dim at least 1")
        query_key = checks.as_real("query_key", query_key, (size, size))
        dtype = jnp.promote_types(value.dtype, query_key.dtype)
        object.__setattr__(self, "value", value.astype(dtype))
        object.__setattr__(self, "query_key", query_key.astype(dtype))

    @property
    def dim(self) -> int:
        """Dimension d of the covariates the parameters are made for."""
        return self.value.shape[-1] - 2

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of parameters, empty for one."""
        return self.value.shape[:-2] or self.query_key.shape[:-2]


def require_same_dim(params: Params, problem: LinearRegression) -> int:
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
            f"pass params of shape ({problem.dim + 2}, {problem.dim + 2})"
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
