"""The minimisers of the four objectives: is each closed form a minimum, is it the only one, and does gradient descent end there?"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.optimize
from jaxtyping import Array, Float, Key

from lsa_jax import objectives, optima
from lsa_jax.claims.case import PUBLISHED_INIT, Case
from lsa_jax.claims.findings import Finding
from lsa_jax.params import Params
from lsa_jax.population import prior_risk, risk_function
from lsa_jax.regimes import reached_scale

P = TypeVar("P")

STARTS = 16
"""Random starts of the search for a lower pretraining loss."""

REACHED, LOWER = 1e-4, 1e-6
"""Relative excess loss at which a descent has reached the minimum, and relative difference by which it would have found a lower one."""

FLOW_TOLERANCE, ARRIVED, LONGEST_FLOW = 1e-5, 1e-12, 1e4
"""Relative difference put down to integrating the flow; excess error, in units of the task's size, at which it has arrived; and the
longest time it is followed where the least eigenvalue of Σ is 1."""


def pretraining_minimum(case: Case) -> list[Finding]:
    """Search for a pretraining loss below that of the closed form, from published starts and from starts of order one.

    Args:
        case: where to check.

    Returns:
        The least loss found by minimisation from both kinds of start, and how many starts end there.
    """
    shots = case.settings.pretraining_shots
    exact = float(prior_risk(case.pretrained(), case.problem, case.prior, shots))

    def sums(key: Key[Array, ""], prompts: int) -> tuple[Array, Array]:
        return objectives.fresh_prompts(case.problem, case.prior, prompts)(key, case.pretrained(), shots), jnp.ones(())

    simulated, error = case.jackknife(1000, sums, lambda total: total[0] / total[1])
    found = []
    for name, deviation in (("published starts", PUBLISHED_INIT), ("starts of order one", 1.0)):
        reached = _descents(case, deviation)
        there, least = int((reached < exact * (1 + REACHED)).sum()), float(reached.min())
        below = least < exact * (1 - LOWER)
        found.append(
            Finding(
                case=f"least loss, {name} ({there} of {STARTS} end there)",
                exact=exact,
                numerical=least if below or deviation == PUBLISHED_INIT else None,
                tolerance=LOWER if below else REACHED,
                simulated=simulated,
                standard_error=error,
            )
        )
    return found


def _descents(case: Case, deviation: float) -> np.ndarray:
    """Losses that quasi-Newton minimisation over all of V and Q ends at, from random starts of a standard deviation."""
    risk = risk_function(case.problem, case.prior)
    size = case.settings.dim + 2
    flat, unravel = jax.flatten_util.ravel_pytree(Params(value=jnp.zeros((size, size)), query_key=jnp.zeros((size, size))))
    loss = jax.jit(jax.value_and_grad(lambda entries: risk(unravel(entries), case.settings.pretraining_shots)))
    starts = deviation * np.random.default_rng(case.settings.seed).standard_normal((STARTS, flat.size))
    ended = [
        scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000, "maxfun": 6000}) for start in starts
    ]
    return np.array([run.fun for run in ended])


def pretraining_is_isolated(case: Case) -> list[Finding]:
    r"""Count the flat directions of the pretraining loss at its optimum among the entries that act.

    Args:
        case: where to check.

    Returns:
        Their number; 1, that of $(cV, Q/c)$, says that the optimum is isolated but for it.
    """
    risk, optimum = risk_function(case.problem, case.prior), case.pretrained()
    size = case.settings.dim + 2

    def loss(entries: Float[Array, " entries"]) -> Float[Array, ""]:
        query_key = jnp.zeros((size, size)).at[:, :-1].set(entries[size:].reshape(size, size - 1))
        return risk(Params(value=optimum.value.at[-1].set(entries[:size]), query_key=query_key), case.settings.pretraining_shots)

    acting = jnp.concatenate([optimum.value[-1], optimum.query_key[:, :-1].ravel()])
    spectrum = np.asarray(jnp.linalg.eigvalsh(jax.jit(jax.hessian(loss))(acting)))
    flat = int((np.abs(spectrum) < 1e-10 * spectrum.max()).sum())
    negative = int((spectrum < -1e-10 * spectrum.max()).sum())
    return [
        Finding(case="flat directions", stated=1.0, exact=float(flat)),
        Finding(case="descent directions", stated=0.0, exact=float(negative), scale=1.0),
    ]


def where_full_ends(case: Case) -> list[Finding]:
    r"""Follow the gradient flow of full fine-tuning from the pretrained optimum, and compare its end with what is conserved.

    Args:
        case: where to check.

    Returns:
        The scale w, the conserved quantity and the zero-shot error at the end.
    """
    start = case.optima(case.settings.pretraining_shots, case.settings.shots)["pretrained"]
    predicted = float(optima.conserved_scale(case.problem, case.target_task, start))
    end = flow(case, lambda params: risk_function(case.problem, case.target_task)(params, 0), start)
    if end is None:
        return [Finding(case="scale w (the flow takes too long to be followed)", exact=predicted)]
    before, after = (float(optima.conserved_quantity(params)) for params in (start, end))
    return [
        Finding(
            case="scale w",
            exact=predicted,
            numerical=float(reached_scale(end, case.target_task)),
            tolerance=FLOW_TOLERANCE,
        ),
        Finding(
            case="conserved quantity", exact=before, numerical=after, tolerance=FLOW_TOLERANCE, scale=float(jnp.sum(start.value[-1] ** 2))
        ),
        Finding(
            case="zero-shot error",
            exact=case.noise_variance,
            numerical=float(risk_function(case.problem, case.target_task)(end, 0)),
            scale=case.size,
        ),
    ]


def flow(case: Case, zero_shot: Callable[[P], Float[Array, ""]], start: P, end: float | None = None) -> P | None:
    """Follow gradient flow on a zero-shot error until a time, or until it is at its minimum, the label noise.

    Args:
        case: where to check.
        zero_shot: the error, a function of what moves.
        start: where it starts.
        end: the time; None for the minimum.

    Returns:
        Where it ends; None if that takes too long.
    """
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    loss = jax.jit(lambda entries: zero_shot(unravel(entries)))
    slope, curvature = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))

    def arrived(_: float, entries: np.ndarray) -> float:
        return float(loss(entries)) - case.noise_variance - ARRIVED * case.size

    arrived.terminal = True  # ty: ignore[missing-attribute]
    longest = LONGEST_FLOW / float(jnp.linalg.eigvalsh(case.problem.covariance)[0]) ** 2
    path = scipy.integrate.solve_ivp(
        lambda _, entries: -np.asarray(slope(entries)),
        (0, longest if end is None else end),
        np.asarray(flat),
        method="LSODA",
        jac=lambda _, entries: -np.asarray(curvature(entries)),
        events=arrived if end is None else None,
        rtol=1e-10,
        atol=1e-12,
    )
    return unravel(jnp.asarray(path.y[:, -1])) if path.status == (end is None) else None
