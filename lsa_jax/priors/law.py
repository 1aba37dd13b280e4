"""What a task prior is: a dimension and a sampler, and, for exact averages, the moments that a risk depends on."""

from typing import Any, Protocol, runtime_checkable

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.factorizations import semidefinite_root


@runtime_checkable
class TaskPrior(Protocol):
    r"""A law of tasks: any pytree with a dimension and a sampler can be trained on and simulated.

    One that also has `moments(root) -> TaskMoments`, the moments of the whitened task $\tau = L^\top\theta$ for the factor L = `root`, gets
    exact averages and optima. Optional are `covariance_root()`, a square R with $\mathrm{Cov}\,\theta = RR^\top$ where the moments would
    lose its digits, and the property `batch_shape`, which is not empty where a `vmap` made several laws of one.

    Example:
        >>> import chex, jax, lsa_jax as lsa
        >>> @chex.dataclass(frozen=True, mappable_dataclass=False)
        ... class Signs:
        ...     scales: jax.Array
        ...
        ...     @property
        ...     def dim(self):
        ...         return self.scales.shape[-1]
        ...
        ...     def sample(self, key, count):
        ...         return self.scales[:, None] * jax.random.rademacher(key, (self.dim, count), self.scales.dtype)
        >>> lsa.prompts.sample_tasks(jax.random.key(0), Signs(scales=jax.numpy.ones(3)), count=10).shape
        (3, 10)
    """

    @property
    def dim(self) -> int:
        """Dimension d of the tasks."""
        ...

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "dim count"]:
        """Draw independent tasks, one a column."""
        ...


@chex.dataclass(frozen=True, mappable_dataclass=False)
class TaskMoments:
    r"""All of a law of the whitened task τ that a risk depends on, with $\delta = \tau - E\tau$.

    `mean` is $E\tau$, `covariance` that of τ (None for a single task, which saves its matrix products), `squared_norm_variance` is
    $\mathrm{Var}|\delta|^2$ and `squared_norm_covariance` is $E|\delta|^2\delta$ (None where it is 0, as for an elliptical law). Covariates
    that are not Gaussian also need $E\delta_j^3$ (None where it is 0) and $E\delta_j^4$ of every coordinate.
    """

    mean: Float[Array, " dim"]
    covariance: Float[Array, "dim dim"] | None
    squared_norm_variance: Float[Array, ""]
    squared_norm_covariance: Float[Array, " dim"] | None = None
    coordinate_thirds: Float[Array, " dim"] | None = None
    coordinate_fourths: Float[Array, " dim"] | None = None


def require_prior(prior: object) -> TaskPrior:
    """Refuse what is not one task prior.

    Args:
        prior: the task prior.

    Returns:
        The prior.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if it holds several laws.
    """
    if not isinstance(prior, TaskPrior):
        raise TypeError(
            f"prior is a {type(prior).__name__}; it must be a GaussianPrior, SpherePrior or FiniteTasks, "
            "or of a class of your own with dim and sample(key, count)"
        )
    checks.as_single("prior", getattr(prior, "batch_shape", ()))
    return prior


def require_prior_dim(prior: object, dim: int) -> None:
    """Refuse what is not one task prior over tasks of the wanted dimension.

    Args:
        prior: the task prior.
        dim: the dimension the problem has.

    Raises:
        TypeError: if `prior` is no task prior.
        ValueError: if its dimension is not `dim` or it holds several laws.
    """
    got = require_prior(prior).dim
    if got != dim:
        raise InputError(f"prior has dim {got} but the problem has dim {dim}; make both the same")


def require_moments(prior: TaskPrior) -> None:
    """Refuse a prior over which nothing can be averaged exactly.

    Args:
        prior: the task prior.

    Raises:
        ValueError: if it has no moments.
    """
    if not hasattr(prior, "moments"):
        raise InputError(
            f"{type(prior).__name__} has no exact moments: use sampled training and simulated risks, or give the class moments(root)"
        )


def moments_of(prior: TaskPrior, root: Float[Array, "dim dim"]) -> TaskMoments:
    r"""Return the moments of the whitened task under a prior.

    Args:
        prior: the task prior.
        root: factor L of the covariance of the covariates.

    Returns:
        The moments of $L^\top\theta$.

    Raises:
        ValueError: if the prior has no moments, or not those of one law of its dimension.

    Example:
        >>> import lsa_jax as lsa
        >>> moments_of(lsa.SpherePrior(dim=2, radius=2.0), jnp.eye(2)).covariance.tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """
    require_moments(prior)
    own: Any = prior
    law = own.moments(root)
    size = root.shape[-1]
    for name, part in vars(law).items():
        shape = {"covariance": (size, size), "squared_norm_variance": ()}.get(name, (size,))
        if part is not None and part.shape != shape:
            raise InputError(f"{type(prior).__name__}.moments has a part of shape {part.shape}, wanted {shape}: vmap over several laws")
    return law


def covariance_root(prior: TaskPrior) -> Float[Array, "dim dim"]:
    r"""Return a square R with $\mathrm{Cov}\,\theta = RR^\top$: the prior's own, or the root of what its moments give.

    Args:
        prior: the task prior.

    Returns:
        The root, of any rank.

    Raises:
        ValueError: if the prior has no moments.

    Example:
        >>> import lsa_jax as lsa
        >>> covariance_root(lsa.SpherePrior(dim=1, radius=3.0)).tolist()
        [[3.0]]
    """
    own: Any = prior
    if hasattr(own, "covariance_root"):
        return own.covariance_root()
    law = _plain_moments(prior)
    return jnp.zeros((prior.dim, prior.dim), law.mean.dtype) if law.covariance is None else semidefinite_root(law.covariance)


def is_symmetric(prior: TaskPrior) -> Bool[Array, ""]:
    r"""Whether no risk can tell the law of θ from that of -θ: $E\,\theta = 0$ and $E|\theta|^2\theta = 0$ up to rounding.

    A risk depends on a law through four moments, of which these two change with the sign of θ.

    Args:
        prior: the task prior.

    Returns:
        The answer, relative to the size of the tasks.

    Raises:
        ValueError: if the prior has no moments.

    References:
        docs/theory.md, equations (9) and (22).

    Example:
        >>> import lsa_jax as lsa
        >>> bool(is_symmetric(lsa.FiniteTasks(tasks=jnp.eye(2)))), bool(is_symmetric(lsa.SpherePrior(dim=2)))
        (False, True)
    """
    require_moments(prior)
    return _is_symmetric(prior)


@jax.jit
def _is_symmetric(prior: TaskPrior) -> Bool[Array, ""]:
    """Whether the odd moments are 0 up to rounding."""
    with precision.in_force():
        law = _plain_moments(prior)
        mean_square = jnp.sum(law.mean**2)
        spread = 0 if law.covariance is None else jnp.trace(law.covariance)
        centred = mean_square <= checks.SYMMETRY_TOLERANCE**2 * (spread + mean_square)
        if law.squared_norm_covariance is None:
            return centred
        size = spread * (spread**2 + law.squared_norm_variance)
        return centred & (jnp.sum(law.squared_norm_covariance**2) <= checks.SYMMETRY_TOLERANCE**2 * size)


def _plain_moments(prior: TaskPrior) -> TaskMoments:
    """Moments of θ itself."""
    return moments_of(prior, jnp.eye(prior.dim, dtype=jnp.result_type(*jax.tree.leaves(prior))))
