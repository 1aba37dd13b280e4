"""What fine-tuning does to other tasks: damage against the cosine to the target, and along the eigen-directions of Σ."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax.claims.case import prepare
from lsa_jax.claims.errors import REGIMES, test_task
from lsa_jax.claims.settings import Settings
from lsa_jax.plotting import TITLES
from lsa_jax.studies.setting import exact_errors, published, simulated_errors

COSINES = np.linspace(-1, 1, 41)
EVERY = 10
"""One cosine in so many is simulated too."""

SHOTS = (5.0, 20.0, 100.0, np.inf)
SPECTRUM = Settings(dim=8, covariance="power_law:1", shots=40, pretraining_shots=40)
FINE_TUNED = REGIMES[1:]


def damage_by_cosine(prompts: int) -> pd.DataFrame:
    """Compute how much worse than the pretrained model each fine-tuned one is, against the cosine of the test task to the target.

    Args:
        prompts: prompts a simulated error.

    Returns:
        Curves with a panel a regime and a line a number of shots; simulated points are errors less the exact one of the pretrained model.
    """
    case, found, shots = published(), [], np.array(SHOTS)
    params = case.optima(case.settings.pretraining_shots, case.settings.shots)
    tasks = jnp.stack([test_task(case, float(cosine)) for cosine in COSINES])
    base = np.asarray(exact_errors(params["pretrained"], case.problem, tasks, shots))
    for index, regime in enumerate(FINE_TUNED):
        damage = np.asarray(exact_errors(params[regime], case.problem, tasks, shots)) - base
        simulated = simulated_errors(case.key(index), params[regime], case.problem, tasks[::EVERY], shots, num_prompts=prompts)
        for column, number in enumerate(SHOTS):
            table = pd.DataFrame({"panel": TITLES[regime], "line": shots_name(number), "x": COSINES, "y": damage[:, column]})
            table.loc[::EVERY, "simulated"] = np.asarray(simulated.mean)[:, column] - base[::EVERY, column]
            table.loc[::EVERY, "standard_error"] = np.asarray(simulated.standard_error)[:, column]
            found.append(table)
    return pd.concat(found, ignore_index=True)


def damage_by_direction(prompts: int) -> pd.DataFrame:
    r"""Compute the damage of each regime for test tasks along the eigenvectors of a power-law Σ.

    Test tasks have the size $|\tau|$ of the target task; each is averaged over both signs. The target is a random direction.

    Args:
        prompts: prompts a simulated error.

    Returns:
        Curves with a panel a regime and a line a number of shots, against the eigenvalue; simulated points as in `damage_by_cosine`.
    """
    case, found, shots = prepare(SPECTRUM), [], np.array([SPECTRUM.shots, np.inf])
    params = case.optima(case.settings.pretraining_shots, case.settings.shots)
    spectrum, vectors = np.linalg.eigh(np.asarray(case.problem.covariance))
    tasks = np.sqrt(case.size / spectrum)[:, None] * vectors.T
    tasks = jnp.asarray(np.concatenate([tasks, -tasks]))
    base = _over_signs(exact_errors(params["pretrained"], case.problem, tasks, shots))
    for index, regime in enumerate(FINE_TUNED):
        damage = _over_signs(exact_errors(params[regime], case.problem, tasks, shots)) - base
        simulated = simulated_errors(case.key(index), params[regime], case.problem, tasks, shots, num_prompts=prompts)
        mean, error = _over_signs(simulated.mean) - base, np.sqrt(_over_signs(simulated.standard_error**2) / 2)
        for column, number in enumerate(shots):
            found.append(
                pd.DataFrame({
                    "panel": TITLES[regime],
                    "line": shots_name(number),
                    "x": spectrum,
                    "y": damage[:, column],
                    "simulated": mean[:, column],
                    "standard_error": error[:, column],
                })
            )
    return pd.concat(found, ignore_index=True)


def shots_name(shots: float) -> str:
    """Return the name of a number of shots in a legend."""
    return r"$n = \infty$" if np.isinf(shots) else f"$n = {shots:g}$"


def _over_signs(errors: Float[Array, "both_signs shots"]) -> np.ndarray:
    """Errors on tasks and on their opposites, averaged over the two."""
    return np.asarray(errors).reshape(2, -1, errors.shape[-1]).mean(axis=0)
