"""Full fine-tuning in time: the gradient flow of regime (b) on isotropic data moves four numbers, and says when it forgets."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks
from lsa_jax.dynamics.flow import Motion, State, follow, motion
from lsa_jax.errors import InputError
from lsa_jax.params import Params
from lsa_jax.population import as_tasks, risk_function
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression, require_same_dim

LONGEST = 1e6
"""Time, in units of the slow time scale of the flow, after which forgetting is no longer waited for."""


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Errors:
    r"""Exact errors along a path, one entry a time, in squared units of the labels.

    Args:
        zero_shot: without examples, on the target task.
        target: with examples, on the target task.
        opposite: with examples, on its opposite.
        prior: with examples, averaged over the prior.
    """

    zero_shot: Float[Array, " times"]
    target: Float[Array, " times"]
    opposite: Float[Array, " times"]
    prior: Float[Array, " times"]


def full_tuning(problem: LinearRegression, task: Real[ArrayLike, " dim"], start: Params, times: Real[ArrayLike, " times"]) -> Params:
    r"""Compute the path of full fine-tuning, gradient flow of all parameters on the zero-shot error of one task.

    From a pretrained model on isotropic covariates the flow keeps to $v_x = u e$, $Q_{00} = a$ and
    $\mathrm{sym}\,Q_{xx} = b\,ee^\top + k(I - ee^\top)$ with $e = \theta_0/|\theta_0|$, so that four numbers tell it all:

    $$\mathcal{E}_0 - \sigma^2 = (Au - |\theta_0|)^2 + 2u^2(b^2 + (d-1)k^2) + 4u^2b^2, \qquad A = a + 3b + (d-1)k,$$

    here at Σ = I. Time is that of $\dot w = -\partial\mathcal{E}/\partial w$: of steps times learning rate where steps are small. What no
    zero-shot gradient touches stays at its start.

    **Assumes** covariates of one variance in all directions, and a start of the form above with $v_0 = 0$ and
    $\mathrm{sym}\,Q_{0x} = 0$, as `optima.pretrained` returns for an isotropic prior, in any scale $(cV, Q/c)$.

    Args:
        problem: covariance of the covariates, a multiple of the identity, and label noise.
        task: the target task θ₀, not zero.
        start: the parameters fine-tuning starts from.
        times: when to look, from 0 on and increasing.

    Returns:
        The parameters at these times, along a first axis.

    Raises:
        ValueError: if the covariance is not isotropic, the task is zero, the start is not of the form above, or times are negative or not
            increasing.

    References:
        docs/theory.md, equation (S1).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
        >>> path = lsa.dynamics.full_tuning(problem, jnp.eye(5)[0], start, jnp.array([0.0, 1.0, 40.0]))
        >>> [round(float(block), 3) for block in path.query_key[:, 2, 2]]
        [0.792, 0.794, 0.014]
    """
    moving = motion(problem, task, start)
    whens = np.asarray(checks.as_real("times", times, ("times",)), np.float64)
    if whens[0] < 0 or (np.diff(whens) <= 0).any():
        raise InputError("times are negative or not increasing; they must rise from 0 or later")
    return _path(moving, jnp.asarray(_follow(moving, whens[-1], t_eval=whens).y.T))


def errors_along(path: Params, problem: LinearRegression, prior: TaskPrior, task: Real[ArrayLike, " dim"], num_shots: ArrayLike) -> Errors:
    """Compute the exact errors of a path of parameters.

    Args:
        path: parameters along a first axis, such as `full_tuning` returns.
        problem: covariance of the covariates and label noise.
        prior: law of the pretraining tasks.
        task: the target task θ₀.
        num_shots: number of examples in few-shot errors, or `jnp.inf`.

    Returns:
        The errors at each point.

    Raises:
        ValueError: if shapes do not match, or `num_shots` is negative or fractional.

    References:
        docs/theory.md, equations (8) and (10).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> prior, task = lsa.SpherePrior(dim=5), jnp.eye(5)[0]
        >>> path = lsa.dynamics.full_tuning(problem, task, lsa.optima.pretrained(problem, prior, 20), jnp.array([0.0, 1.0, 100.0]))
        >>> errors = errors_along(path, problem, prior, task, num_shots=20)
        >>> [f"{error:.3f}" for error in errors.prior]
        ['0.345', '0.370', '1.319']
    """
    require_same_dim(jax.tree.map(lambda leaf: leaf[0], path), problem)
    task, law = checks.as_task("task", task, problem.dim), as_tasks(prior, problem)
    return _errors(path, problem, law, task, checks.as_shots("num_shots", num_shots, path.value.dtype))


def forgetting_time(
    problem: LinearRegression,
    prior: TaskPrior,
    task: Real[ArrayLike, " dim"],
    start: Params,
    num_shots: ArrayLike,
    *,
    share: float = 0.5,
) -> float:
    r"""Compute when full fine-tuning has lost so large a share of what examples are worth on the prior.

    That worth is $\sigma^2 + E|\tau|^2 - \mathcal{E}_n$, by how much the few-shot error on the prior is below that of predicting 0. As
    the dimension grows, the time until $Q_{xx}$ has fallen to $\cos\varphi$ of its start γ tends to
    $\frac{\gamma^2 d^{5/2}}{8|\theta_0|^2}(\varphi + \sin\varphi\cos\varphi)$, at Σ = I.

    **Assumes** what `full_tuning` does.

    Args:
        problem: covariance of the covariates, a multiple of the identity, and label noise.
        prior: law of the pretraining tasks.
        task: the target task θ₀, not zero.
        start: the parameters fine-tuning starts from.
        num_shots: number of examples, from 1 on, or `jnp.inf`.
        share: share of the start's worth that is lost, above 0 and below 1.

    Returns:
        The first such time; infinity where there is none.

    Raises:
        ValueError: as `full_tuning`, and if `share` is out of range or examples are worth nothing at the start.

    References:
        docs/theory.md, equations (S1) and (S2).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem, prior = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5), lsa.SpherePrior(dim=5)
        >>> start = lsa.optima.pretrained(problem, prior, num_shots=20)
        >>> round(forgetting_time(problem, prior, jnp.eye(5)[0], start, num_shots=20), 1)
        31.1
    """
    moving, law = motion(problem, task, start), as_tasks(prior, problem)
    shots = checks.as_shots("num_shots", num_shots, start.value.dtype, minimum=1)
    if not 0 < share < 1:
        raise InputError(f"share is {share:g}; it must be above 0 and below 1")
    worth = float(_worth(moving.state, moving, problem, law, shots))
    if not worth > 0:
        raise InputError("examples are worth nothing to the start: its few-shot error is that of predicting 0, or above")

    def left(_: float, state: np.ndarray) -> float:
        return float(_worth(jnp.asarray(state), moving, problem, law, shots)) - (1 - share) * worth

    left.terminal = True  # ty: ignore[missing-attribute]
    slow = problem.dim**2.5 * float((moving.state[2] / moving.size) ** 2)
    (found,) = _follow(moving, LONGEST * slow, events=left).t_events
    return float(found[0]) if len(found) else float("inf")


def _follow(moving: Motion, end: float, **asked: Any) -> Any:
    """Follow the flow from its start."""
    return follow(moving.state, len(moving.direction), float(moving.size), float(moving.variance), end, **asked)


@jax.jit
def _path(moving: Motion, states: Float[Array, "times 4"]) -> Params:
    """The parameters of many states."""
    return jax.vmap(moving.params)(states)


@jax.jit
def _worth(state: State, moving: Motion, problem: LinearRegression, prior: TaskPrior, num_shots: Float[Array, ""]) -> Float[Array, ""]:
    """By how much the few-shot error on the prior is below that of predicting 0."""
    risk = risk_function(problem, prior)
    return risk(jax.tree.map(jnp.zeros_like, moving.start), num_shots) - risk(moving.params(state), num_shots)


@jax.jit
def _errors(path: Params, problem: LinearRegression, prior: TaskPrior, task: Float[Array, " dim"], num_shots: Float[Array, ""]) -> Errors:
    """Evaluate `errors_along` as one compiled program."""
    on_target, on_opposite, on_prior = (jax.vmap(risk_function(problem, law), (0, None)) for law in (task, -task, prior))
    few_shot = (risk(path, num_shots) for risk in (on_target, on_opposite, on_prior))
    return Errors(on_target(path, 0.0), *few_shot)
