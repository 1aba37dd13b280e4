"""How fine-tuning moves: what it forgets when, the error SGD hovers at, and where clipped gradients take it."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from lsa_jax import dynamics, objectives, optima
from lsa_jax.claims.case import Case, prepare
from lsa_jax.claims.sensitivity import clipped_end
from lsa_jax.claims.settings import Settings
from lsa_jax.claims.stochastic import simulated_excess, simulated_fixed_point
from lsa_jax.params import Params
from lsa_jax.studies.setting import published

TIMES = np.concatenate([[0.0], np.geomspace(1e-3, 100, 201)])
RUNS, RATE, MOMENTUM, BATCH = 8, 1e-3, 0.9, 512
"""Models trained on sampled prompts beside the flow, and how."""

LOOKS = (5, 30, 200, 1000, 2000, 2500, 3000, 3500, 4500, 7000)
"""Steps after which the models are looked at; with the momentum a step is a time of RATE / (1 - MOMENTUM)."""

BATCHES, SHARES = (1, 8, 64, 512), np.geomspace(0.003, 0.97, 60)
SIMULATED_SHARES = (0.05, 0.2)
"""Batch sizes of descent, its rates in units of the largest stable one, and those that are simulated."""

NORMS = (1.0, 4.0)
CLIPPED_BATCHES, TRAINED_BATCHES = (1, 4, 16, 64, 256), (16, 64)
"""Norms gradients are clipped to, and batch sizes: those of which the fixed point is found, and those that are trained with too."""

MORE = 10
"""Prompts from which a fixed point is found, in units of those of a point of other figures."""


def forgetting(prompts: int) -> pd.DataFrame:
    """Follow the errors of full fine-tuning in time, beside models trained on sampled prompts, and those of value-only training.

    Args:
        prompts: not used; the models are trained on fixed batches.

    Returns:
        One row a point of a path: kind (`flow`, `value` for value-only training, `trained` with a row each), time (NaN for value-only), the
        errors zero_shot, target, opposite and prior, and `lost`, when half of the worth of examples on the prior is lost.
    """
    case = published()
    start, task = case.pretrained(), case.target_task
    lost = dynamics.forgetting_time(case.problem, case.prior, task, start, case.settings.shots)
    tuned = optima.value(start, case.problem, task)
    paths = {
        "flow": (TIMES, dynamics.full_tuning(case.problem, task, start, TIMES)),
        "value": (np.full(101, np.nan), jax.vmap(lambda share: _mixed(tuned, share))(jnp.linspace(0, 1, 101))),
        "trained": (np.tile(np.array(LOOKS) * RATE / (1 - MOMENTUM), RUNS), _trained(case, start)),
    }
    return pd.concat([_errors(case, *path).assign(kind=kind) for kind, path in paths.items()], ignore_index=True).assign(lost=lost)


def hovering(prompts: int) -> pd.DataFrame:
    """Compute the error above its minimum at which SGD on the value matrix hovers, against its rate.

    Args:
        prompts: sets how many runs are simulated, see `lsa_jax.claims.stochastic.RUN`.

    Returns:
        Curves with a line a batch size, simulated points, and the largest stable rate as `mark`.
    """
    case, found = prepare(Settings(prompts=max(prompts, 100))), []
    scale = case.pretrained().query_key[1, 1]
    for index, batch in enumerate(BATCHES):
        edge = float(dynamics.largest_rate(case.problem, scale, batch))
        rates = edge * np.unique([*SHARES, *SIMULATED_SHARES])
        excess = jax.vmap(
            lambda rate, batch=batch: dynamics.stationary_excess(case.problem, case.target_task, scale, rate, batch, noisy_labels=False)
        )
        table = pd.DataFrame({"panel": "", "line": f"$b = {batch}$", "x": rates, "y": np.asarray(excess(jnp.asarray(rates))), "mark": edge})
        for place, share in enumerate(SIMULATED_SHARES):
            row = int(np.argmin(np.abs(rates - share * edge)))
            table.loc[row, ["simulated", "standard_error"]] = simulated_excess(case, 1800 + 10 * index + place, batch, float(rates[row]))
        found.append(table)
    return pd.concat(found, ignore_index=True)


def clipped(prompts: int) -> pd.DataFrame:
    """Find where clipped gradients of value-only training vanish on average, against the batch size, and where training ends.

    Args:
        prompts: a tenth of those from which the points of larger batches are found; single ones are exact.

    Returns:
        Curves with a line a norm, y being v_x in units of its optimum; simulated points are ends of training.
    """
    case, found = prepare(Settings(prompts=max(MORE * prompts, 100))), []
    scale = case.pretrained().query_key[1, 1]
    for line, norm in enumerate(NORMS):
        for index, batch in enumerate(CLIPPED_BATCHES):
            exact = batch == 1
            tag = 1900 + 100 * line + index
            there = (
                dynamics.clipped_fixed_point(case.problem, case.target_task, scale, norm)
                if exact
                else simulated_fixed_point(case, tag, batch, norm)[0]
            )
            found.append({"panel": "", "line": f"$c = {norm:g}$", "x": float(batch), "y": there})
            if batch in TRAINED_BATCHES:
                found[-1] |= dict(zip(("simulated", "standard_error"), clipped_end(case, tag + 50, batch, norm), strict=True))
    return pd.DataFrame(found)


def _mixed(tuned: Params, share: Float[Array, ""]) -> Params:
    """Parameters with a share of the tuned v_x."""
    return tuned.replace(value=tuned.value.at[-1, 1:-1].multiply(share))


def _errors(case: Case, times: np.ndarray, path: Params) -> pd.DataFrame:
    """Errors along a path."""
    errors = dynamics.errors_along(path, case.problem, case.prior, case.target_task, case.settings.shots)
    return pd.DataFrame({"time": times, **{name: np.asarray(values) for name, values in dataclasses.asdict(errors).items()}})


def _trained(case: Case, start: Params) -> Params:
    """Models trained on all parameters by sampled prompts, unclipped at a constant rate: every run at every look, along one axis."""
    risk = objectives.fresh_prompts(case.problem, case.target_task, BATCH)

    def step(state: tuple[Params, Params], key: Key[Array, ""]) -> tuple[tuple[Params, Params], None]:
        moving = jax.tree.map(lambda old, slope: MOMENTUM * old + slope, state[1], jax.grad(risk, argnums=1)(key, state[0], 0))
        return (jax.tree.map(lambda leaf, change: leaf - RATE * change, state[0], moving), moving), None

    def run(key: Key[Array, ""]) -> Params:
        state, seen = (start, jax.tree.map(jnp.zeros_like, start)), []
        for first, last in itertools.pairwise((0, *LOOKS)):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(first, last))
            state, _ = jax.lax.scan(step, state, keys)
            seen.append(state[0])
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen)

    runs = jax.jit(jax.vmap(run))(jax.random.split(case.key(1750), RUNS))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), runs)
