"""The gradient flow of full fine-tuning on isotropic data, in the four numbers that move."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks
from lsa_jax.dynamics.isotropic import TOLERANCE, variance_of
from lsa_jax.errors import InputError
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression, require_same_dim

State = Float[Array, "4"]
"""$v_x$ along the target, $Q_{00}$, and $Q_{xx}$ along the target and across it, all whitened."""

PRECISION: dict[str, float] = {"rtol": 1e-11, "atol": 1e-14}
"""Of the integrator, relative and absolute."""


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Motion:
    """What four numbers stand for, and all that does not move.

    Args:
        start: where the flow starts.
        direction: the target task at unit length.
        size: length of the whitened target task.
        variance: of each covariate.
    """

    start: Params
    direction: Float[Array, " dim"]
    size: Float[Array, ""]
    variance: Float[Array, ""]

    def params(self, state: State) -> Params:
        """Return the parameters that four numbers stand for.

        Args:
            state: the four numbers.

        Returns:
            The parameters, all else as at the start.
        """
        along, bias, parallel, across = state.astype(self.start.value.dtype)
        acting, identity = self.start.query_key[:-1, :-1], jnp.eye(len(self.direction), dtype=self.start.value.dtype)
        block = across * identity + (parallel - across) * jnp.outer(self.direction, self.direction)
        moved = ((acting - acting.T) / 2).at[0, 0].set(bias).at[1:, 1:].add(block / self.variance)
        return Params(
            value=self.start.value.at[-1, 0].set(0).at[-1, 1:-1].set(along / jnp.sqrt(self.variance) * self.direction),
            query_key=self.start.query_key.at[:-1, :-1].set(moved),
        )

    @property
    def state(self) -> State:
        """The four numbers of the start."""
        block = self.start.query_key[1:-1, 1:-1]
        parallel = self.direction @ block @ self.direction
        across = (jnp.trace(block) - parallel) / max(len(self.direction) - 1, 1)
        along = jnp.sqrt(self.variance) * (self.start.value[-1, 1:-1] @ self.direction)
        return jnp.stack([along, self.start.query_key[0, 0], self.variance * parallel, self.variance * across])


def motion(problem: LinearRegression, task: Real[ArrayLike, " dim"], start: Params) -> Motion:
    """Check where a flow starts.

    Args:
        problem: covariance of the covariates, a multiple of the identity.
        task: the target task, not zero.
        start: where it starts; all but the four numbers and what no zero-shot gradient touches must be 0.

    Returns:
        What moves from there.

    Raises:
        ValueError: if the covariance is not isotropic, the task is zero, or the start has another form.
    """
    task = checks.as_task("task", task, problem.dim, zero_allowed=False)
    require_same_dim(start, problem)
    found, apart = _motion(start, task, variance_of(problem))
    if apart > TOLERANCE:
        raise InputError(
            "start is not zero but for v_x along the task, v_y, Q_00, Q_y. and a Q_xx that is the same in all directions across the task: "
            "start from optima.pretrained with an isotropic prior"
        )
    return found


def follow(state: ArrayLike, dim: int, size: float, variance: float, end: float, **asked: Any) -> Any:
    """Follow the flow by an integrator for stiff equations.

    Args:
        state: the four numbers it starts from.
        dim: dimension d of the covariates.
        size: length of the whitened target task.
        variance: of each covariate.
        end: the last time.
        asked: further arguments of `scipy.integrate.solve_ivp`.

    Returns:
        What that returns.

    References:
        docs/theory.md, equation (S1).
    """
    start, law = np.asarray(state, np.float64), (dim, size, variance)
    return scipy.integrate.solve_ivp(lambda _, state: velocity(state, *law), (0.0, end), start, method="LSODA", **PRECISION, **asked)


def velocity(state: Float[np.ndarray, "4"], dim: int, size: float, variance: float) -> list[float]:
    """Return how fast the four numbers change: minus the gradient of the zero-shot error, across the target a share of it.

    Args:
        state: the four numbers.
        dim: dimension d of the covariates.
        size: length of the whitened target task.
        variance: of each covariate.

    Returns:
        The velocity of each.

    References:
        docs/theory.md, equation (S1).
    """
    u, a, b, k = state
    response = a + 3 * b + (dim - 1) * k
    error = response * u - size
    along = 2 * error * response + 4 * u * (3 * b**2 + (dim - 1) * k**2)
    return [-variance * along, -2 * error * u, -6 * variance**2 * u * (error + 2 * u * b), -2 * variance**2 * u * (error + 2 * u * k)]


@jax.jit
def _motion(start: Params, task: Float[Array, " dim"], variance: Float[Array, ""]) -> tuple[Motion, Float[Array, ""]]:
    """What moves from a start, and how far relative to its largest entry the start is from what the four numbers stand for."""
    length = jnp.sqrt(jnp.sum(task**2))
    moving = Motion(start=start, direction=task / length, size=jnp.sqrt(variance) * length, variance=variance)
    kept = moving.params(moving.state)
    apart = jax.tree.map(lambda leaf, other: jnp.abs(leaf - other).max() / jnp.abs(leaf).max(), start, kept)
    return moving, jnp.maximum(apart.value, apart.query_key)
