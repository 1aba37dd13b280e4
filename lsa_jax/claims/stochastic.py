"""What noise does to value-only training, on isotropic covariates: where SGD hovers, and where clipped gradients vanish."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import dynamics, objectives, optima
from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.params import Params
from lsa_jax.population import risk_function

BATCH, SHARE = 128, 0.1
"""Prompts a step of simulated descent, and its rate in units of the largest stable one."""

BURNT, KEPT, RUN = 6.0, 24.0, 400
"""Time before the stationary state and time in it of one run, in units of the slowest relaxation; prompts of a setting for one run."""

CLIPPED = (1.0, 10.0)
"""Norms to which gradients of single prompts are clipped."""

PILOT, TOGETHER = 20_000, 2000
"""Prompts that tell roughly where clipped gradients vanish, and batches whose gradients are computed together."""


def descent(case: Case) -> list[Finding]:
    """Compare the exact stationary error of SGD on the value matrix with simulated training.

    Args:
        case: where to check.

    Returns:
        The excess zero-shot error, and the largest stable rate of exact gradients beside that of their Hessian.
    """
    case = case.isotropic()
    problem, start, task, dim = case.problem, case.pretrained(), case.target_task, case.settings.dim
    scale = start.query_key[1, 1]
    step = SHARE * float(dynamics.largest_rate(problem, scale, BATCH))
    excess = functools.partial(dynamics.stationary_excess, problem, task, scale, step, noisy_labels=False)
    exact = float(excess(BATCH))
    far = np.array([float(excess(number)) for number in large_numbers(dim)])
    simulated, error = simulated_excess(case, 1700, BATCH, step)
    return [
        Finding(
            case=f"excess zero-shot error, batch b = {BATCH}",
            stated=0.0,
            exact=exact,
            at_limit=float(excess(jnp.inf)),
            rates={"b": rate(far, dim, exact)},
            simulated=simulated,
            standard_error=error,
        ),
        Finding(
            case="largest rate, b = ∞",
            stated=float(1 / (scale**2 * (dim + 2) * (dim + 4))),
            exact=float(dynamics.largest_rate(problem, scale, jnp.inf)),
            numerical=2 / float(jnp.linalg.eigvalsh(_curvature(case, start))[-1]),
        ),
    ]


def simulated_excess(case: Case, tag: int, batch_size: int, learning_rate: float) -> tuple[float, float]:
    """Simulate the zero-shot error above its minimum around which value-only training on sampled prompts hovers.

    Args:
        case: the setting; its covariance must be I.
        tag: the stream of randomness.
        batch_size: prompts a step.
        learning_rate: the constant rate.

    Returns:
        The mean over independent runs and its standard error.
    """
    best = optima.value(case.pretrained(), case.problem, case.target_task)
    slope = jax.grad(_loss_of_row(case, best, batch_size))
    hessian, optimum = _curvature(case, best), best.value[-1]
    relaxation = 1 / (learning_rate * float(jnp.linalg.eigvalsh(hessian)[1]))
    burnt, kept = math.ceil(BURNT * relaxation), math.ceil(KEPT * relaxation)

    def step(row: Float[Array, " token"], key: Key[Array, ""]) -> tuple[Float[Array, " token"], Float[Array, ""]]:
        row -= learning_rate * slope(row, key)
        return row, (row - optimum) @ hessian @ (row - optimum) / 2

    def run(key: Key[Array, ""]) -> Float[Array, ""]:
        return jnp.mean(jax.lax.scan(step, optimum, jax.random.split(key, burnt + kept))[1][burnt:])

    runs = max(2, case.settings.prompts // RUN)
    errors = jax.jit(lambda keys: jax.vmap(run)(keys))(jax.random.split(case.key(tag), runs))
    return float(jnp.mean(errors)), float(jnp.std(errors, ddof=1) / runs**0.5)


def clipping(case: Case) -> list[Finding]:
    """Compare the point at which clipped gradients of single prompts vanish on average with that of simulated ones.

    Args:
        case: where to check.

    Returns:
        v_x there in units of its optimum, for each norm.
    """
    case, found = case.isotropic(), []
    scale = case.pretrained().query_key[1, 1]
    for index, norm in enumerate(CLIPPED):
        exact = dynamics.clipped_fixed_point(case.problem, case.target_task, scale, norm)
        simulated, error = simulated_fixed_point(case, 1710 + index, 1, norm)
        found.append(
            Finding(case=f"v_x over its optimum, clipped to {norm:g}, batch 1", exact=exact, simulated=simulated, standard_error=error)
        )
    return found


def simulated_fixed_point(case: Case, tag: int, batch_size: int, clip_norm: float) -> tuple[float, float]:
    """Find where clipped gradients of sampled batches vanish on average.

    Args:
        case: the setting; its covariance must be I.
        tag: the stream of randomness.
        batch_size: prompts a gradient.
        clip_norm: the norm to which it is clipped.

    Returns:
        v_x there in units of its optimum, and the standard error.
    """
    best = optima.value(case.pretrained(), case.problem, case.target_task)
    slope, optimum = jax.grad(_loss_of_row(case, best, batch_size)), best.value[-1, 1:-1]

    def along(factor: Float[Array, ""], key: Key[Array, ""]) -> Float[Array, ""]:
        gradient = slope(best.value[-1].at[1:-1].multiply(factor), key)
        shortened = jnp.minimum(1, clip_norm * jax.lax.rsqrt(jnp.sum(gradient**2)))
        return shortened * (gradient[1:-1] @ optimum)

    def sums(key: Key[Array, ""], prompts: int, factor: ArrayLike) -> tuple[Array, Array]:
        def both(key: Key[Array, ""]) -> tuple[Array, Array]:
            return jax.jvp(lambda factor: along(factor, key), (jnp.asarray(factor, float),), (jnp.ones(()),))

        gradients, slopes = jax.lax.map(both, jax.random.split(key, max(2, prompts // batch_size)), batch_size=TOGETHER)
        return jnp.sum(gradients), jnp.sum(slopes)

    pilot = jax.jit(lambda factor: sums(case.key(tag, 0), PILOT, factor)[0])
    near = scipy.optimize.brentq(lambda factor: float(pilot(factor)), 0.5, 2.0 * (case.settings.dim + 4))
    return case.jackknife(tag, lambda key, prompts: sums(key, prompts, near), lambda total: near - total[0] / total[1])


def _loss_of_row(case: Case, params: Params, batch_size: int) -> Callable[[Array, Key[Array, ""]], Float[Array, ""]]:
    """The sampled zero-shot loss as a function of the last row of V and a key."""
    risk = objectives.fresh_prompts(case.problem, case.target_task, batch_size)
    return lambda row, key: risk(key, _with_row(params, row), 0)


def _curvature(case: Case, params: Params) -> Float[Array, "token token"]:
    """The Hessian of the zero-shot error in the last row of V, in which it is quadratic."""
    zero_shot = risk_function(case.problem, case.target_task)
    return jax.jit(jax.hessian(lambda row: zero_shot(_with_row(params, row), 0.0)))(params.value[-1])


def _with_row(params: Params, row: Float[Array, " token"]) -> Params:
    """Parameters with another last row of V."""
    return params.replace(value=params.value.at[-1].set(row))
