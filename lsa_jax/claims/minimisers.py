"""The minimisers of the four objectives: is each closed form a minimum, is it the only one, and does gradient descent end there?"""

import dataclasses

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import lineage, objectives, optima
from lsa_jax.attention import predict
from lsa_jax.claims.case import PUBLISHED_INIT, Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.population import prior_risk, risk_function
from lsa_jax.problem import Params
from lsa_jax.prompts import sample_prompt

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
    end = _flow(case, start)
    if end is None:
        return [Finding(case="scale w (the flow takes too long to be followed)", exact=predicted)]
    before, after = (float(optima.conserved_quantity(params)) for params in (start, end))
    return [
        Finding(
            case="scale w",
            exact=predicted,
            numerical=float(lineage.reached_scale(end, case.target_task)),
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


def _flow(case: Case, start: Params) -> Params | None:
    """Where gradient flow on the zero-shot error ends, integrated until the error is at its minimum; None if that takes too long."""
    risk = risk_function(case.problem, case.target_task)
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    loss = jax.jit(lambda entries: risk(unravel(entries), 0.0))
    slope, curvature = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))

    def arrived(_: float, entries: np.ndarray) -> float:
        return float(loss(entries)) - case.noise_variance - ARRIVED * case.size

    arrived.terminal = True  # ty: ignore[missing-attribute]
    path = scipy.integrate.solve_ivp(
        lambda _, entries: -np.asarray(slope(entries)),
        (0, LONGEST_FLOW / float(jnp.linalg.eigvalsh(case.problem.covariance)[0]) ** 2),
        np.asarray(flat),
        method="LSODA",
        jac=lambda _, entries: -np.asarray(curvature(entries)),
        events=arrived,
        rtol=1e-8,
        atol=1e-10,
    )
    return unravel(jnp.asarray(path.y[:, -1])) if path.status == 1 else None


def value_minimiser(case: Case) -> list[Finding]:
    """Compare $v_x$ of the value-only optimum with a least-squares fit to simulated zero-shot prompts, and with direct minimisation.

    Args:
        case: where to check.

    Returns:
        Its size along the target task, stated 1/(d + 4), and the size of its part across it, stated 0; both in the metric of Σ.
    """
    dim, frozen = case.settings.dim, case.pretrained()

    def parts(row: Float[Array, " token"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        vector, task = (case.problem.root.T @ one for one in (row[1:-1], case.target_task))
        along = vector @ task / (task @ task)
        return along, jnp.sqrt(jnp.sum((vector - along * task) ** 2) / (task @ task))

    def at(shots: ArrayLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return parts(optima.value(case.pretrained(shots), case.problem, case.target_task).value[-1])

    def sums(key: Key[Array, ""], prompts: int) -> tuple[Array, Array]:
        features, targets = sampled_features(case, key, frozen, 0, prompts)
        return features[:, :-1].T @ features[:, :-1], features[:, :-1].T @ targets

    simulated = case.jackknife(1001, sums, lambda total: parts(jnp.append(jnp.linalg.solve(*total), 0.0))[0])
    direct = parts(jnp.append(_least_zero_shot(case, frozen), 0.0))
    exact, limit = at(case.settings.pretraining_shots), at(jnp.inf)
    far = np.array([at(shots) for shots in large_numbers(dim)]).T
    numbers = [
        Finding(
            case=f"v_x {name} θ₀",
            stated=stated,
            exact=float(exact[place]),
            at_limit=float(limit[place]),
            rates={"m": rate(far[place] - float(limit[place]), dim, 1.0)},
            numerical=float(direct[place]),
            scale=1 / (dim + 4),
        )
        for place, (name, stated) in enumerate((("along", 1 / (dim + 4)), ("across", 0.0)))
    ]
    return [dataclasses.replace(numbers[0], simulated=simulated[0], standard_error=simulated[1]), numbers[1]]


def _least_zero_shot(case: Case, params: Params) -> Float[Array, " query"]:
    """The entries v_0 and v_x of least zero-shot error, by quasi-Newton minimisation."""
    risk = risk_function(case.problem, case.target_task)
    loss = jax.jit(jax.value_and_grad(lambda row: risk(Params(value=params.value.at[-1, :-1].set(row), query_key=params.query_key), 0.0)))
    found = scipy.optimize.minimize(loss, np.zeros(case.settings.dim + 1), jac=True, method="BFGS", options={"gtol": 1e-12})
    return jnp.asarray(found.x)


def fitted_value(case: Case, key: Key[Array, ""], pairs: int) -> Params:
    """Fit the value-only optimum by least squares to simulated zero-shot prompts, one a labelled pair.

    Args:
        case: the data law and target task.
        key: randomness.
        pairs: number of pairs.

    Returns:
        The pretrained parameters with fitted $v_0$ and $v_x$.
    """
    frozen = case.pretrained()
    features, targets = sampled_features(case, key, frozen, 0, pairs)
    seen = features[:, :-1]
    row = jnp.linalg.solve(seen.T @ seen, seen.T @ targets)
    return Params(value=frozen.value.at[-1, :-1].set(row), query_key=frozen.query_key)


def sampled_features(
    case: Case, key: Key[Array, ""], params: Params, shots: int, prompts: int
) -> tuple[Float[Array, "prompts token"], Float[Array, " prompts"]]:
    """Draw prompts of the target task and return the derivative of each prediction in the last row of V, and the targets.

    Predictions are linear in that row, so these are the features of a linear regression for it.

    Args:
        case: the data law and target task.
        key: randomness.
        params: V and Q.
        shots: number of examples.
        prompts: number of prompts.

    Returns:
        Features and noisy targets.
    """

    def one(index: Array) -> tuple[Array, Array]:
        prompt = sample_prompt(jax.random.fold_in(key, index), case.problem, case.target_task, shots)

        def prediction(row: Float[Array, " token"]) -> Float[Array, ""]:
            return predict(Params(value=params.value.at[-1].set(row), query_key=params.query_key), prompt.tokens)

        return jax.grad(prediction)(params.value[-1]), prompt.target

    return jax.vmap(one)(jnp.arange(prompts))
