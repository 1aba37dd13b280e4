"""The parameter studies published beside the paper's experiment, on exact curves."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import optima
from lsa_jax.claims.case import prepare
from lsa_jax.claims.settings import Settings
from lsa_jax.claims.shots import break_even_shots
from lsa_jax.params import Params
from lsa_jax.studies.setting import curves, published

DIMENSIONS, LONG_CONTEXT = (6, 11, 16, 21), 1000
FULL_SCALES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
VALUE_SCALES = tuple(round(0.1 * tenths, 1) for tenths in range(2, 11))
SHOTS = 40


def pretrained_dimensions(prompts: int) -> pd.DataFrame:
    """Compute the error of the pretrained optimum against shots in four dimensions, without noise.

    Args:
        prompts: prompts a simulated error.

    Returns:
        Curves with a line a dimension, and `mark`, the number of shots from which on few-shot beats zero-shot.
    """
    found = []
    for dim in DIMENSIONS:
        case = prepare(Settings(dim=dim, noise_std=0.0, pretraining_shots=LONG_CONTEXT, prior="gaussian"))
        params = case.pretrained()
        table = curves(case.key(), case.problem, {f"$d = {dim}$": params}, {"": case.target_task}, np.arange(21.0), prompts)
        found.append(table.assign(mark=float(break_even_shots(case, params))))
    return pd.concat(found, ignore_index=True)


def full_family(prompts: int) -> pd.DataFrame:
    """Compute the error of minimisers of the zero-shot error over all parameters, against shots, for several scales w.

    Args:
        prompts: prompts a simulated error.

    Returns:
        Curves with a line a scale and a panel a test task.
    """
    case = published()
    zeros = jnp.zeros((case.settings.dim + 2, case.settings.dim + 2))
    start = Params(value=zeros.at[-1, -1].set(1), query_key=zeros)
    lines = {f"$w = {scale:g}$": optima.full(case.problem, case.target_task, scale, start) for scale in FULL_SCALES}
    return curves(case.key(), case.problem, lines, _two_tasks(case.target_task), np.arange(SHOTS + 1.0), prompts)


def value_family(prompts: int) -> pd.DataFrame:
    r"""Compute the error of minimisers of the zero-shot error over the value matrix, against shots, and the best scale at each.

    Args:
        prompts: prompts a simulated error.

    Returns:
        Curves with a line a scale $v_y = w$ and a panel a test task; the panel `scale` holds $w^\star(n)$, and its limit as `mark`.
    """
    case = published()
    tuned = optima.value(case.pretrained(jnp.inf), case.problem, case.target_task)
    lines = {f"$w = {scale:g}$": _with_scale(tuned, scale) for scale in VALUE_SCALES}
    found = curves(case.key(), case.problem, lines, _two_tasks(case.target_task), np.arange(SHOTS + 1.0), prompts)
    shots = np.arange(1.0, SHOTS + 1)
    best = jax.vmap(lambda number: optima.value_auxiliary(tuned, case.problem, case.target_task, number).value[-1, -1])(shots)
    limit = float(optima.value_auxiliary(tuned, case.problem, case.target_task, jnp.inf).value[-1, -1])
    return pd.concat(
        [found, pd.DataFrame({"panel": "scale", "line": "best", "x": shots, "y": np.asarray(best), "mark": limit})], ignore_index=True
    )


def _two_tasks(target_task: jax.Array) -> dict[str, jax.Array]:
    """The two test tasks of the paper by the titles of their panels."""
    return {r"target task $\theta_0$": target_task, r"unseen task $-\theta_0$": -target_task}


def _with_scale(params: Params, scale: float) -> Params:
    """Parameters with another $v_y$."""
    return Params(value=params.value.at[-1, -1].set(scale), query_key=params.query_key)
