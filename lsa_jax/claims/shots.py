"""Numbers of shots: from how many on examples help the pretrained model, and which scale a few-shot loss picks at each."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import optima
from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.claims.value_minimum import sampled_features
from lsa_jax.params import Params
from lsa_jax.population import risk_function

LOWEST_SHOTS = -0.99
"""Where the search for the break-even number begins: it is below 0 where already the first example helps."""

PRECISION = 8
"""A root needs more prompts than a mean: so many times the setting's number."""


def break_even_shots(case: Case, params: Params) -> Float[Array, ""]:
    r"""Compute the number of shots above which a pretrained optimum's few-shot error is below its zero-shot error.

    Args:
        case: the data law and target task.
        params: a pretraining optimum, $v = v_y e_y$ with a symmetric $Q_{xx}$ and all else 0.

    Returns:
        The number, a real one.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Corollary 4.2; docs/theory.md, equation (21).
    """
    root = case.problem.root
    form = root.T @ params.query_key[1:-1, 1:-1] @ root * params.value[-1, -1]
    task = root.T @ case.target_task
    image = form @ task
    return (task @ task + case.problem.noise_std**2) * jnp.sum(form**2) / (2 * task @ image - image @ image) - 1


def break_even(case: Case) -> list[Finding]:
    """Check the break-even number of shots against the root of the exact risk, and against simulated errors.

    Given the form of the error, its difference to the zero-shot one divided by n/(n + 1) is linear in 1/(n + 1): two simulated numbers of
    shots give its root.

    Args:
        case: where to check.

    Returns:
        One finding.
    """
    dim, params = case.settings.dim, case.pretrained()
    exact, limit = float(break_even_shots(case, params)), float(break_even_shots(case, case.pretrained(jnp.inf)))
    risk = jax.jit(risk_function(case.problem, case.target_task))
    zero_shot = float(risk(params, 0.0))
    far_above = 4.0 * max(1, math.ceil(exact + 1))
    root = scipy.optimize.brentq(
        lambda shots: (float(risk(params, shots)) - zero_shot) * (shots + 1) / shots, LOWEST_SHOTS, far_above, xtol=1e-12
    )
    numbers = np.array([1.0, far_above])
    below, above = (case.simulate(1300 + index, params, case.target_task, shots, PRECISION) for index, shots in enumerate(numbers))
    weights = 1 / (numbers + 1)
    slopes = np.array([float(one.mean) - zero_shot for one in (below, above)]) / (1 - weights)
    errors = np.array([float(one.standard_error) for one in (below, above)]) / (1 - weights)
    simulated, error = _root_weight(weights, slopes, errors)
    far = np.array([break_even_shots(case, case.pretrained(shots)) for shots in large_numbers(dim)])
    return [
        Finding(
            case="break-even n",
            stated=dim * (1 + case.noise_variance / case.size) - 1,
            exact=exact,
            at_limit=limit,
            rates={"m": rate(far - limit, dim, limit)},
            numerical=float(root),
            simulated=1 / simulated - 1,
            standard_error=error / simulated**2,
            scale=max(exact + 1, float(dim)),
        )
    ]


def _root_weight(weights: np.ndarray, values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Where the line through two points vanishes, and its standard error from those of the two values."""
    difference = values[1] - values[0]
    root = weights[0] - values[0] * (weights[1] - weights[0]) / difference
    slopes = np.array([values[1], -values[0]]) * (weights[0] - weights[1]) / difference**2
    return float(root), float(np.hypot(*(slopes * errors)))


def best_scale(case: Case) -> list[Finding]:
    r"""Check the scale $w^\star(n)$ that stage 2 of regime (d) picks: closed form, direct minimisation, and a fit to simulated prompts.

    Args:
        case: where to check.

    Returns:
        One finding.
    """
    settings, dim = case.settings, case.settings.dim
    stage_one = optima.value(case.pretrained(), case.problem, case.target_task)
    risk = jax.jit(risk_function(case.problem, case.target_task))

    def scaled(scale: ArrayLike) -> Params:
        return Params(value=stage_one.value.at[-1, -1].set(scale), query_key=stage_one.query_key)

    def sums(key: Key[Array, ""], prompts: int) -> tuple[Array, Array]:
        features, targets = sampled_features(case, key, stage_one, settings.shots, prompts)
        left = targets - features[:, :-1] @ stage_one.value[-1, :-1]
        return features[:, -1] @ left, jnp.sum(features[:, -1] ** 2)

    simulated, error = case.jackknife(1400, sums, lambda total: total[0] / total[1])
    minimum = scipy.optimize.minimize_scalar(
        lambda scale: float(risk(scaled(scale), settings.shots)), bracket=(0.0, 1.0), options={"xtol": 1e-8}
    )
    far = large_numbers(dim)
    limit = float(_scale(case, np.inf, np.inf))
    return [
        Finding(
            case="w* at n",
            stated=(dim + 3) / (dim + 4),
            exact=float(_scale(case, settings.pretraining_shots, settings.shots)),
            at_limit=limit,
            rates={
                "n": rate(np.array([_scale(case, np.inf, shots) for shots in far]) - limit, dim, limit),
                "m": rate(np.array([_scale(case, shots, np.inf) for shots in far]) - limit, dim, limit),
            },
            numerical=float(minimum.x),
            simulated=simulated,
            standard_error=error,
        )
    ]


def _scale(case: Case, pretraining_shots: ArrayLike, shots: ArrayLike) -> Float[Array, ""]:
    r"""$w^\star$ in units of $v_y$ of the pretrained model."""
    tuned = optima.value_auxiliary(case.pretrained(pretraining_shots), case.problem, case.target_task, shots)
    return tuned.value[-1, -1]
