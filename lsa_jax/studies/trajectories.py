"""Where gradients go: paths of full fine-tuning on exact gradients, and the published soft variant against the constrained optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax import optima
from lsa_jax.claims.case import Case
from lsa_jax.claims.sensitivity import fine_tuned
from lsa_jax.params import Params
from lsa_jax.population import population_risk, risk_function
from lsa_jax.regimes import reached_scale
from lsa_jax.studies.setting import published

CONSERVED = (-4.0, -1.0, -0.0875, 2.0, 8.0)
"""Values of the conserved quantity of the starts; the third is that of the published initialisation."""

RATE, STEPS, KEPT = 1e-3, 80_000, 400
ANNEALED_STEPS = (30, 100, 300, 1000, 3000, 10_000, 30_000)


def paths(prompts: int) -> pd.DataFrame:
    r"""Follow full fine-tuning by small steps on exact gradients, from the pretrained optimum at several of its scales $(cV, Q/c)$.

    Args:
        prompts: not used; gradients are exact.

    Returns:
        One row a kept step of each path: conserved (its value at the start), step, time (steps times rate), w ($v_x$ along the target),
        value_label ($v_y$), bias ($Q_{00}$), block (mean eigenvalue of $Q_{xx}$), error, and the predicted end w_end.
    """
    case = published()
    start, found = case.pretrained(), []
    for conserved in CONSERVED:
        balanced = optima.balanced(start, conserved)
        path = jax.device_get(_follow(case, balanced))
        table = pd.DataFrame({name: np.asarray(values) for name, values in path.items()})
        end = float(optima.conserved_scale(case.problem, case.target_task, balanced))
        steps = np.arange(len(table)) * (STEPS // KEPT)
        found.append(table.assign(conserved=conserved, step=steps, time=steps * RATE, w_end=end))
    return pd.concat(found, ignore_index=True)


def _follow(case: Case, start: Params) -> dict[str, Float[Array, " kept"]]:
    """What is kept of a path of gradient descent on the zero-shot error."""
    risk = risk_function(case.problem, case.target_task)

    def descend(params: Params, _: None) -> tuple[Params, None]:
        gradient = jax.grad(risk)(params, 0.0)
        return jax.tree.map(lambda leaf, slope: leaf - RATE * slope, params, gradient), None

    def keep(params: Params, _: None) -> tuple[Params, dict[str, Array]]:
        kept = {
            "w": reached_scale(params, case.target_task),
            "value_label": params.value[-1, -1],
            "bias": params.query_key[0, 0],
            "block": jnp.trace(params.query_key[1:-1, 1:-1]) / case.settings.dim,
            "error": risk(params, 0.0),
        }
        return jax.lax.scan(descend, params, None, length=STEPS // KEPT)[0], kept

    return jax.jit(lambda params: jax.lax.scan(keep, params, None, length=KEPT)[1])(start)


def annealed_against_constrained(prompts: int) -> pd.DataFrame:
    """Train the published soft variant of (d) for more and more steps, and compare its errors with those of the constrained optimum.

    Args:
        prompts: not used; gradients are exact.

    Returns:
        One row an error and number of steps: line, x (steps), y (relative distance of the error from that of (d)).
    """
    case, rows = published(), []
    params = case.optima(case.settings.pretraining_shots, case.settings.shots)
    cells = {
        r"zero-shot, $\theta_0$": (case.target_task, 0),
        r"few-shot, $\theta_0$": (case.target_task, case.settings.shots),
        r"few-shot, $-\theta_0$": (-case.target_task, case.settings.shots),
    }
    for steps in ANNEALED_STEPS:
        trained = fine_tuned(case, params["pretrained"], "value_annealed", steps)
        for line, (task, shots) in cells.items():
            errors = [float(population_risk(one, case.problem, task, shots)) for one in (trained, params["value_auxiliary"])]
            rows.append({"panel": "", "line": line, "x": steps, "y": abs(errors[0] / errors[1] - 1)})
    return pd.DataFrame(rows)
