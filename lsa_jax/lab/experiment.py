"""The whole lab: fronts of all remedies beside the best one, and what is said of each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import checks, covariances, priors
from lsa_jax.lab.best import best_front, regime_points
from lsa_jax.lab.curves import COSINES, column_of, fronts, judged, table
from lsa_jax.lab.inputs import exact_inputs, pretrained
from lsa_jax.lab.remedies import BY_NAME
from lsa_jax.lab.settings import Settings
from lsa_jax.objectives import Inputs
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression

GAINS = (0.5, 0.75, 0.95)
"""Parts of the zero-shot excess at whose removal remedies are compared."""

HEADS = (1, 2)
TOLD = ("knob", "zero_shot", "prior", "forgotten", "prior_limit", *map(column_of, (1.0, *COSINES, -1.0)))
"""What is told of the point of a front at which remedies are compared."""


@dataclasses.dataclass(frozen=True)
class Lab:
    """Outcome of the lab.

    Args:
        fronts: from `curves.table`, with `best`, the best prior risk at each zero-shot error, where one is known.
        best: from `best.best_front`, by `heads`, with gain and forgotten.
        regimes: from `best.regime_points`, with the same.
        noise_variance: the floor of every error.
    """

    fronts: pd.DataFrame
    best: pd.DataFrame
    regimes: pd.DataFrame
    noise_variance: float


def prepare(settings: Settings) -> tuple[Inputs, Params]:
    """Make a setting ready, checked; call it, and use what it returns, in float64.

    Args:
        settings: what is fine-tuned.

    Returns:
        What terms are computed from, and the pretrained model.

    Raises:
        ValueError: if a value is out of range or unknown.
    """
    checks.as_count("dim", settings.dim)
    checks.as_count("shots", settings.shots)
    checks.as_count("knobs", settings.knobs, minimum=2)
    checks.as_count("seed", settings.seed, minimum=0)
    problem = LinearRegression(covariances.from_text(settings.covariance, settings.dim), settings.noise_std)
    prior = priors.from_text(settings.prior, settings.dim)
    direction = jax.random.normal(jax.random.key(settings.seed), (settings.dim,))
    task = direction / jnp.sqrt(jnp.sum(direction**2))
    inputs = exact_inputs(problem, prior, task, float(settings.shots), train=settings.train)
    return inputs, pretrained(problem, prior, float(settings.shots), settings.gauge)


def run(settings: Settings, best: bool = False) -> Lab:
    """Follow every remedy along its knob, and search for the best front if asked to.

    Args:
        settings: what is fine-tuned.
        best: whether to search for the best front.

    Returns:
        The outcome.

    Raises:
        ValueError: if a value is out of range or unknown.
    """
    with jax.enable_x64(True):
        inputs, start = prepare(settings)
        names = list(BY_NAME)
        if settings.train == "all":
            names += [f"lora({rank})" for rank in dict.fromkeys((1, 2, settings.dim))]
        found = table(inputs, fronts(inputs, start, names, settings.knobs, settings.seed), start)
        searched = []
        for heads in HEADS if best else ():
            front, _ = best_front(inputs, start, heads, seed=settings.seed)
            searched.append(front.assign(heads=heads))
        least = pd.concat(searched, ignore_index=True) if searched else pd.DataFrame(columns=["zero_shot", "prior", "heads"])
        floor, before = settings.noise_std**2, found.iloc[0]
        return Lab(
            found.assign(best=_at(least[least["heads"] == 1], found["zero_shot"])),
            judged(least, before, floor),
            judged(regime_points(inputs, start), before, floor),
            floor,
        )


def compare(lab: Lab) -> pd.DataFrame:
    """Compare remedies at equal zero-shot gains: the point of least prior risk that removes that part of the excess.

    Args:
        lab: the outcome.

    Returns:
        One row a remedy and gain: title, gain (asked for), knob, the errors of `curves.table` and above_best, the prior risk above that of
        the best front; NaN where the remedy never gains as much.
    """
    rows = []
    for name, front in lab.fronts.iloc[1:].groupby("remedy", sort=False):
        for gain in GAINS:
            enough = front[front["gain"] >= gain - 1e-9]
            told = {"remedy": name, "title": front["title"].iloc[0], "gain": gain}
            if not len(enough):
                rows.append(told)
                continue
            point = enough.loc[enough["prior"].idxmin()]
            above = {"above_best": point["prior"] - point["best"]}
            rows.append(told | {column: point.get(column, np.nan) for column in TOLD} | above)
    return pd.DataFrame(rows)


def _at(best: pd.DataFrame, zero_shot: pd.Series) -> np.ndarray:
    """The best prior risk at some zero-shot errors, between the levels that were searched."""
    if not len(best):
        return np.full(len(zero_shot), np.nan)
    ordered = best.sort_values("zero_shot")
    return np.interp(zero_shot, ordered["zero_shot"], ordered["prior"], right=ordered["prior"].iloc[-1])
