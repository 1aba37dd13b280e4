"""What the studies share: the published setting, and exact curves with simulated points on them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from lsa_jax import evaluation
from lsa_jax.claims.case import Case, prepare
from lsa_jax.claims.settings import Settings
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression

PUBLISHED = Settings()
"""d = 5, m = n = 20, noise variance 0.1, Σ = I, tasks on the unit sphere."""

SIMULATED_POINTS = 9
"""Numbers of shots that are simulated along a curve, beside one shot, where the error is highest."""

exact_errors = jax.jit(evaluation.error_curves)
simulated_errors = jax.jit(evaluation.simulated_curves, static_argnames="num_prompts")


def published() -> Case:
    """Return the published setting, made ready."""
    return prepare(PUBLISHED)


def curves(
    key: Key[Array, ""],
    problem: LinearRegression,
    lines: Mapping[str, Params],
    panels: Mapping[str, Float[Array, " dim"]],
    shots: np.ndarray,
    prompts: int,
) -> pd.DataFrame:
    """Compute exact error curves against the number of shots, with simulated errors at some of the numbers.

    Args:
        key: randomness of the simulation.
        problem: the data law.
        lines: parameters by the name of their line.
        panels: test tasks by the name of their panel.
        shots: numbers of shots.
        prompts: prompts a simulated error.

    Returns:
        One row an error: panel, line, x (the number of shots), y, simulated and standard_error (NaN where not simulated).
    """
    tasks, numbers = jnp.stack(list(panels.values())), shots
    chosen = np.unique([1, *np.linspace(0, len(numbers) - 1, SIMULATED_POINTS).round().astype(int)])
    found = []
    for index, (line, params) in enumerate(lines.items()):
        exact = np.asarray(exact_errors(params, problem, tasks, numbers))
        simulated = simulated_errors(jax.random.fold_in(key, index), params, problem, tasks, numbers[chosen], num_prompts=prompts)
        for row, panel in enumerate(panels):
            table = pd.DataFrame({
                "panel": panel,
                "line": line,
                "x": numbers,
                "y": exact[row],
                "simulated": np.nan,
                "standard_error": np.nan,
            })
            table.loc[chosen, "simulated"] = np.asarray(simulated.mean[row])
            table.loc[chosen, "standard_error"] = np.asarray(simulated.standard_error[row])
            found.append(table)
    return pd.concat(found, ignore_index=True)
