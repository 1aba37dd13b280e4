"""Fronts: the zero-shot error on the target against what is left of in-context learning, along the knob of every remedy."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax.errors import InputError
from lsa_jax.evaluation import tasks_at_cosine
from lsa_jax.lab.inputs import laws
from lsa_jax.lab.landscape import Landscape
from lsa_jax.lab.remedies import AVERAGING, PENALTY, Remedy, remedy
from lsa_jax.objectives import TERMS, Inputs, Risk, population_gradient

LIMIT = jnp.inf
COSINES = (0.5, 0.0, -0.5)
"""Cosines to the target, between itself and its opposite, of the tasks on which few-shot errors are measured."""


@dataclasses.dataclass(frozen=True)
class Front:
    """The curve of one remedy: the values of its knob, the parameters there, and the unit of the knob."""

    remedy: Remedy
    knobs: np.ndarray
    params: Any
    unit: float = 1.0


def fronts(inputs: Inputs, start: Any, remedies: Sequence[str], number: int = 25, seed: int = 0) -> list[Front]:
    """Follow every remedy along its knob by exact gradients.

    Terms share one compiled program. A penalised loss is minimised from the largest weight down, each time from where it ended before; what
    is read off a path follows the gradient flow of the zero-shot loss.

    Args:
        inputs: from `exact_inputs`; `train` is the set that all remedies train but those that name one.
        start: the parameters that fine-tuning starts from.
        remedies: their names, see `remedies.remedy`.
        number: values of each knob, at least 2.
        seed: seed of the factors of low-rank sets.

    Returns:
        One front a remedy, in their order.

    Raises:
        ValueError: if a remedy or a trainable set is unknown, there is none, or `number` is below 2.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem, prior = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5), lsa.SpherePrior(dim=2)
        >>> inputs = lsa.lab.exact_inputs(problem, prior, jnp.array([1.0, 0.0]), 20, train="value")
        >>> (front,) = fronts(inputs, lsa.lab.pretrained(problem, prior, 20), ["early_stopping"], number=3)
        >>> front.params.value.shape
        (3, 4, 4)
    """
    chosen = [remedy(name) for name in remedies]
    if not chosen or number < 2:
        raise InputError(f"there are {len(chosen)} remedies with {number} values each; give one remedy and two values at least")
    penalties = [one for one in chosen if one.kind == PENALTY]
    shared = Landscape(inputs, start, [TERMS["zero_shot"], *(TERMS[one.name] for one in penalties)])
    found = {}
    for one in chosen:
        if one.kind == PENALTY:
            found[one.name] = _penalised(shared, one, 1 + penalties.index(one), number)
        elif one.train is None:
            found[one.name] = _along_path(shared, one, number)
        else:
            own = Landscape(dataclasses.replace(inputs, train=one.train), start, [TERMS["zero_shot"]], seed)
            found[one.name] = _along_path(own, one, number)
    return [found[one.name] for one in chosen]


def _penalised(landscape: Landscape, one: Remedy, place: int, number: int) -> Front:
    """Minimisers of the zero-shot loss plus a weighted term."""
    unit, knobs = landscape.unit(place), one.values(number)
    weights = [landscape.only(0) + landscape.only(place, unit * knob) for knob in knobs]
    return Front(one, knobs, jax.vmap(landscape.params)(landscape.follow(weights)), unit)


def _along_path(landscape: Landscape, one: Remedy, number: int) -> Front:
    """What is read off the gradient flow of the zero-shot loss."""
    knobs = one.values(number)
    if one.kind == AVERAGING:
        end = landscape.flow(remedy("early_stopping").values(number))[-1]
        vectors = landscape.start + knobs[:, None] * (end - landscape.start)
    else:
        vectors = landscape.flow(knobs)
    return Front(one, knobs, jax.vmap(landscape.params)(vectors))


def table(inputs: Inputs, found: Sequence[Front], start: Any) -> pd.DataFrame:
    """Measure fronts exactly.

    Args:
        inputs: from `exact_inputs`.
        found: the fronts.
        start: the parameters that fine-tuning starts from.

    Returns:
        One row a remedy and knob, after one for the start: remedy, title, knob, unit, zero_shot (on the target), prior (few-shot, over the
        pretraining tasks), few_shot_target, few_shot_opposite (on -θ₀), `cosine_0.5`, `cosine_0` and `cosine_-0.5` (few-shot, over all
        tasks at that cosine to the target and of its size), prior_limit (infinitely many shots); gain, the part of the zero-shot excess
        that is gone, and forgotten, the prior risk above that of the start.
    """
    rows = [pd.DataFrame([{"remedy": "pretrained", "title": "pretrained", "knob": np.nan, "unit": 1.0, **errors_of(inputs, start)}])]
    measure = jax.jit(jax.vmap(lambda params: measured(inputs, params)))
    for front in found:
        errors = {name: np.asarray(values) for name, values in measure(front.params).items()}
        told = {"remedy": front.remedy.name, "title": front.remedy.title, "knob": front.knobs, "unit": front.unit}
        rows.append(pd.DataFrame({**told, **errors}))
    frame = pd.concat(rows, ignore_index=True)
    return judged(frame, frame.iloc[0], float(laws(inputs)[0].noise_std) ** 2)


def judged(frame: pd.DataFrame, start: pd.Series, noise_variance: float) -> pd.DataFrame:
    """Say what models have gained and forgotten since the start.

    Args:
        frame: errors with the columns zero_shot and prior.
        start: those of the parameters that fine-tuning started from.
        noise_variance: the floor of every error.

    Returns:
        The same with gain, the part of the zero-shot excess that is gone, and forgotten, the prior risk above that of the start.
    """
    gain = (start["zero_shot"] - frame["zero_shot"]) / (start["zero_shot"] - noise_variance)
    return frame.assign(gain=gain, forgotten=frame["prior"] - start["prior"])


def measured(inputs: Inputs, params: Any) -> dict[str, Float[Array, ""]]:
    """Return the errors of one model by the names of their columns.

    Args:
        inputs: from `exact_inputs`.
        params: its parameters.

    Returns:
        The errors.
    """
    problem, _, task = laws(inputs)
    key, few = jax.random.key(0), inputs.knobs["fine_tuning_shots"]
    opposite: Risk = population_gradient(problem, -task, model=inputs.model)
    pools = {cosine: tasks_at_cosine(problem, task, cosine) for cosine in COSINES if problem.dim > 1}
    between = {cosine: population_gradient(problem, pool, model=inputs.model) for cosine, pool in pools.items()}
    return {
        "zero_shot": inputs.target_risk(key, params, 0),
        "prior": inputs.prior_risk(key, params, inputs.pretraining_shots),
        "few_shot_target": inputs.target_risk(key, params, few),
        "few_shot_opposite": opposite(key, params, few),
        **{column_of(cosine): risk(key, params, few) for cosine, risk in between.items()},
        "prior_limit": inputs.prior_risk(key, params, LIMIT),
    }


def column_of(cosine: float) -> str:
    """Return the name of the column of few-shot errors at a cosine to the target.

    Args:
        cosine: 1, -1 or one of `COSINES`.

    Returns:
        The name.

    Example:
        >>> [column_of(cosine) for cosine in (1.0, 0.0, -0.5)]
        ['few_shot_target', 'cosine_0', 'cosine_-0.5']
    """
    return {1.0: "few_shot_target", -1.0: "few_shot_opposite"}.get(cosine, f"cosine_{cosine:g}")


def errors_of(inputs: Inputs, params: Any) -> dict[str, float]:
    """Return the errors of one model as numbers.

    Args:
        inputs: from `exact_inputs`.
        params: its parameters.

    Returns:
        What `measured` returns, as numbers.
    """
    return {name: float(value) for name, value in measured(inputs, params).items()}
