"""The numbers behind a figure of a sweep: theory, means over seeds and their intervals."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.plotting.style import half_width, regimes_in_order

EVALUATION = ("evaluation_shots", "cosine")
CURVE = ("regime", "test_task", "cosine", "evaluation_shots")
NO_AXES = (*CURVE, "seed", "target_task", "metric", "value", "diverged", "above_minimum")
"""Columns of records that are no axes of a figure: those of a curve, what is averaged over, and what was measured."""

ALWAYS_KEPT = ("noise_std", "fine_tuning_shots")
WEIGHT = "weight_"


def axes_of(records: pd.DataFrame) -> list[str]:
    """Return the columns of records whose combinations are the rows of a figure."""
    return [name for name in records if name not in NO_AXES]


def sizes_of(records: pd.DataFrame) -> list[str]:
    """Return those of them that hold numbers, along which a figure can be drawn."""
    return [name for name in axes_of(records) if pd.api.types.is_numeric_dtype(records[name])]


def varying(table: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """Find the axes that have at least two values.

    Args:
        table: records or numbers of a sweep.
        axes: columns to look at; those that are absent do not vary.

    Returns:
        The axes that vary, in the order asked.

    Example:
        >>> varying(pd.DataFrame({"dim": [2, 3], "steps": [9, 9]}), ["steps", "dim", "prior"])
        ['dim']
    """
    return [axis for axis in axes if axis in table and table[axis].nunique() > 1]


def drawable(records: pd.DataFrame) -> list[str]:
    """List the axes against which a figure of a sweep makes sense.

    Args:
        records: long records of a sweep.

    Returns:
        Those of evaluation_shots, cosine, dim, noise_std, pretraining_shots, num_tasks and the swept weights with two values or more
        (finite ones for evaluation_shots); evaluation_shots alone if nothing varies.

    Example:
        >>> drawable(pd.DataFrame({"evaluation_shots": [0, np.inf], "cosine": [1, 1], "dim": [2, 3]}))
        ['dim']
    """
    finite = records["evaluation_shots"][np.isfinite(records["evaluation_shots"])].nunique()
    shots = ["evaluation_shots"] if finite > 1 else []
    weights = [name for name in records if name.startswith(WEIGHT)]
    return shots + varying(records, ["cosine", "dim", "noise_std", "pretraining_shots", "num_tasks", *weights]) or ["evaluation_shots"]


def sweep_numbers(records: pd.DataFrame, against: str) -> pd.DataFrame:
    """Summarise records over seeds: one row for every point of a figure.

    Trained is the mean risk of the models over the seeds that neither diverged nor were pretrained to a local minimum; of a model about
    which nothing is exact, the mean of its simulated risk. Theory is the mean risk of the closed-form optimum, and of the models of cells
    whose gradient is `closed_form`, over the same seeds, so that both are about the same tasks; over all seeds where no model is left.

    Args:
        records: long records of a sweep, one value a row.
        against: numeric axis along which the figure is drawn.

    Returns:
        The axes that vary, noise_std, fine_tuning_shots, regime, test_task, cosine, evaluation_shots and `against`, with the columns
        theory, trained, half_width (of Student's 95 % interval), num_seeds and num_left_out.

    Raises:
        InputError: if the axis does not exist or has a single value, or the records hold no risk.

    Example:
        >>> cell = {"regime": "value", "test_task": "target", "cosine": 1.0, "evaluation_shots": 0.0, "gradient": "sampled"}
        >>> records = pd.DataFrame({"metric": ["risk", "risk", "optimum_risk"], "value": [1.0, 3.0, 2.1], "seed": [0, 1, 0]})
        >>> records = records.assign(**cell, diverged=False, above_minimum=False)
        >>> sweep_numbers(records, "evaluation_shots")[["theory", "trained", "num_seeds"]].to_dict("records")
        [{'theory': 2.1, 'trained': 2.0, 'num_seeds': 2}]
    """
    _require_axis(records, against)
    rows = _with_roles(records)
    if rows[against].isna().any():
        rows = rows[rows[against].notna()].reset_index(drop=True)
    axes = axes_of(records)
    kept = [axis for axis in axes if axis in {*ALWAYS_KEPT, against} or axis in varying(rows, [axis])]
    keys = [*kept, *CURVE]
    point = rows.groupby(keys, observed=True, dropna=False, sort=False).ngroup()
    first = ~point.duplicated()
    numbers = rows.loc[first, keys].set_axis(point[first])
    trained, left_out = (rows.loc[rows["role"] == role, "value"].groupby(point) for role in (TRAINED, LEFT_OUT))
    spread = trained.agg(["mean", "std", "count"]).reindex(numbers.index)
    numbers["theory"] = _theory(rows, point)
    numbers["trained"] = spread["mean"]
    numbers["half_width"] = half_width(spread["std"].to_numpy(), spread["count"].to_numpy())
    numbers["num_seeds"] = spread["count"].fillna(0).astype(int)
    numbers["num_left_out"] = left_out.size().reindex(numbers.index).fillna(0).astype(int)
    return _ordered(numbers, kept)


ROLES = (THEORY, TRAINED, LEFT_OUT) = (0, 1, 2)


def _theory(rows: pd.DataFrame, point: pd.Series) -> pd.Series:
    """Mean theory of each point, over the seeds whose models are kept there, or over all where none is."""
    pairs = pd.MultiIndex.from_arrays([point, rows["seed"]])
    theory = rows["role"] == THEORY
    same = theory & pairs.isin(pairs[rows["role"] == TRAINED])
    over_kept, over_all = (rows.loc[chosen, "value"].groupby(point).mean() for chosen in (same, theory))
    return over_kept.combine_first(over_all)


def _require_axis(records: pd.DataFrame, against: str) -> None:
    """Refuse an axis that is unknown or has nothing to draw along."""
    if not records["metric"].isin(["risk", "optimum_risk", "simulated_risk"]).any():
        raise InputError("records hold no risk; they must have rows of metric 'risk' or 'optimum_risk': load those of a finished sweep")
    sizes = sizes_of(records)
    known = against in {*sizes, *EVALUATION} and against in records
    count = records[against].nunique() if known else 0
    problem = f"has {count} value{'s' * (count != 1)} in these records" if known else "is no numeric axis of these records"
    if against == "evaluation_shots" and known:
        if np.isfinite(records[against]).any():
            return
        problem = "has no finite value in these records"
    elif count > 1:
        return
    raise InputError(
        f"against is {against!r}, which {problem}; it must be an axis that varies (finite evaluation_shots may be one value): "
        f"choose {', '.join(varying(records, (*EVALUATION, *sizes))) or 'evaluation_shots'}"
    )


def _with_roles(records: pd.DataFrame) -> pd.DataFrame:
    """The rows that count with their roles; closed-form cells stand by the models of every gradient."""
    columns = [column for column in (*axes_of(records), *CURVE, "seed") if column in records]
    closed = records["gradient"] == "closed_form"
    risk = (records["metric"] == "risk") | _only_simulated(records)
    theory = (closed & risk) | (~closed & (records["metric"] == "optimum_risk"))
    left_out = records["diverged"] | records["above_minimum"]
    used = theory | (risk & ~closed)
    role = np.select([theory, left_out], [THEORY, LEFT_OUT], TRAINED)[used]
    rows = records.loc[used, columns].assign(role=role, value=records.loc[used, "value"].astype(float)).reset_index(drop=True)
    closed = closed[used].to_numpy()
    gradients = rows.loc[~closed, "gradient"].unique()
    if not closed.any() or not len(gradients):
        return rows
    return pd.concat([rows[~closed], *(rows[closed].assign(gradient=gradient) for gradient in gradients)], ignore_index=True)


def _only_simulated(records: pd.DataFrame) -> pd.Series:
    """Rows of simulated risks at points where nothing is exact: of baselines, and of models without theory or with some."""
    simulated = records["metric"] == "simulated_risk"
    exact = records["metric"] == "risk"
    if not (simulated.any() and exact.any()):
        return simulated
    keys = [name for name in (*axes_of(records), *CURVE) if name in records]
    point = records.groupby(keys, observed=True, dropna=False, sort=False).ngroup()
    return simulated & ~point.isin(point[exact])


def _ordered(numbers: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Sort by axes, regime as in the paper, test task from target to opposite, shots; with plain text instead of categories."""
    texts = {name: numbers[name].astype(str) for name in numbers if isinstance(numbers[name].dtype, pd.CategoricalDtype)}
    numbers = numbers.assign(**texts)
    place = numbers["regime"].map({regime: index for index, regime in enumerate(regimes_in_order(numbers["regime"]))})
    order = numbers.assign(regime=place, cosine=-numbers["cosine"]).sort_values([*axes, *CURVE[:1], "cosine", "evaluation_shots"]).index
    return numbers.loc[order].reset_index(drop=True)
