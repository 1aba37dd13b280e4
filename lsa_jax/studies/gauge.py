"""What remedies against forgetting cost from each scale (cV, Q/c) of one pretrained model, which all predict the same."""

import numpy as np
import pandas as pd

from lsa_jax import lab, optima
from lsa_jax.lab.experiment import prepare
from lsa_jax.lab.inputs import laws
from lsa_jax.lab.settings import Settings
from lsa_jax.params import Params

SETTINGS = Settings()
REMEDIES = ("prior", "l2_sp", "ewc", "early_stopping", "averaging", "lora(1)")
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Entries v_y of the starts; the others follow, as (12) has v_y = 1."""

GAINS = (0.5, 0.75)
"""Parts of the zero-shot excess that are gone where forgetting is read off."""


def forgetting_by_scale(prompts: int) -> pd.DataFrame:
    """Follow remedies along their knobs from several scales of the pretraining optimum, all of V and Q moving.

    Args:
        prompts: not used; everything is exact.

    Returns:
        One row a scale, remedy and gain: scale (v_y of the start), balanced (v_y where |v| = |Q|), remedy, title, gain and forgotten, the
        risk on the prior above that of the start where so much of the zero-shot excess is gone; NaN where no knob is so protective.
    """
    inputs, start = prepare(SETTINGS)
    problem, prior, _ = laws(inputs)
    optimum, balanced = optima.pretrained(problem, prior, inputs.pretraining_shots), float(start.value[-1, -1])
    found = []
    for scale in SCALES:
        moved = Params(value=scale * optimum.value, query_key=optimum.query_key / scale)
        table = lab.table(inputs, lab.fronts(inputs, moved, REMEDIES, SETTINGS.knobs, SETTINGS.seed), moved)
        for (remedy, title), front in table.iloc[1:].groupby(["remedy", "title"], sort=False):
            told = {"scale": scale, "balanced": balanced, "remedy": remedy, "title": title}
            found += [told | {"gain": gain, "forgotten": _forgotten(front, gain)} for gain in GAINS]
    return pd.DataFrame(found)


def _forgotten(front: pd.DataFrame, gain: float) -> float:
    """What is forgotten where a front reaches a gain for the first time, between its points; NaN where it starts beyond or never does."""
    gained, lost = (front[name].to_numpy() for name in ("gain", "forgotten"))
    reached = np.flatnonzero(gained >= gain)
    if not len(reached) or reached[0] == 0:
        return np.nan
    between = slice(reached[0] - 1, reached[0] + 1)
    return float(np.interp(gain, gained[between], lost[between]))
