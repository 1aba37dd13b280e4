"""The numbers behind a figure of a sweep: theory, means over seeds and their intervals."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.knobs import real
from lsa_jax.plotting.style import half_width, regimes_in_order
from lsa_jax.setting import SETTING

EVALUATION = ("evaluation_shots", "cosine")
CURVE = ("regime", "test_task", "cosine", "evaluation_shots")
NO_AXES = (*CURVE, "seed", "target_task", "metric", "value", "diverged", "above_minimum")
"""Columns of records that are no axes of a figure: those of a curve, what is averaged over, and what was measured."""

ALWAYS_KEPT = ("noise_std", "fine_tuning_shots")
INTERVAL = "95 % interval"
"""What the numbers say of their spread where it is Student's interval of the mean."""

FRONT = "zero_shot"
"""What few-shot errors are drawn against in a front."""

FRONT_COLUMNS = ("knob", "at", "line", *(f"{error}{end}" for error in (FRONT, "few_shot") for end in ("", "_lower", "_upper")))
SUMMARY = ("theory", "trained", "trained_lower", "trained_upper", "spread", "num_seeds", "num_left_out", "row", *FRONT_COLUMNS)
"""Columns of the numbers of a figure that are no axes."""

Levels = tuple[float, float]
LEVEL = real(0.0, maximum=1.0)


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
        Those of evaluation_shots, cosine, dim, noise_std, pretraining_shots, num_tasks, swept weights and rates and knobs of own terms with
        two values or more (finite ones for evaluation_shots), and `zero_shot` for a front where models branch; evaluation_shots alone if
        nothing varies.

    Example:
        >>> drawable(pd.DataFrame({"evaluation_shots": [0, np.inf], "cosine": [1, 1], "dim": [2, 3]}))
        ['dim']
    """
    finite = records["evaluation_shots"][np.isfinite(records["evaluation_shots"])].nunique()
    shots = ["evaluation_shots"] if finite > 1 else []
    knobs = varying(records, branch_knobs(records))
    fronts = [FRONT] if knobs and shots and (records["evaluation_shots"] == 0).any() and records["cosine"].nunique() > 1 else []
    axes = varying(records, ["cosine", "dim", "noise_std", "pretraining_shots", "num_tasks"])
    return shots + axes + knobs + fronts or ["evaluation_shots"]


def branch_knobs(table: pd.DataFrame) -> list[str]:
    """Return the columns of records or numbers in which models branch from one pretrained model: weights, rates, knobs of own terms."""
    return [name for name in axes_of(table) if name not in {*SETTING, *SUMMARY, "fine_tuning_shots"}]


def sweep_numbers(records: pd.DataFrame, against: str, quantiles: Levels | None = None) -> pd.DataFrame:
    """Summarise records over seeds: one row for every point of a figure.

    Trained is the mean risk of the models over the seeds that neither diverged nor were pretrained to a local minimum; of a model about
    which nothing is exact, the mean of its simulated risk. Theory is the mean risk of the closed-form optimum, and of the models of cells
    whose gradient is `closed_form`, over the same seeds, so that both are about the same tasks; over all seeds where no model is left.
    With quantiles both are medians instead of means.

    Args:
        records: long records of a sweep, one value a row.
        against: numeric axis along which the figure is drawn.
        quantiles: two levels; then the spread of the trained models is told by these quantiles over seeds, interpolated linearly, in the
            place of Student's 95 % interval of the mean.

    Returns:
        The axes that vary, noise_std, fine_tuning_shots, regime, test_task, cosine, evaluation_shots and `against`, with the columns
        theory, trained, trained_lower and trained_upper (ends of the spread, NaN for fewer than two seeds), spread (what it is, in words),
        num_seeds and num_left_out.

    Raises:
        InputError: if the axis does not exist or has a single value, the records hold no risk, or the levels are not 0 to 1 and rising.

    Example:
        >>> cell = {"regime": "value", "test_task": "target", "cosine": 1.0, "evaluation_shots": 0.0, "gradient": "sampled"}
        >>> records = pd.DataFrame({"metric": ["risk", "risk", "optimum_risk"], "value": [1.0, 3.0, 2.1], "seed": [0, 1, 0]})
        >>> records = records.assign(**cell, diverged=False, above_minimum=False)
        >>> sweep_numbers(records, "evaluation_shots")[["theory", "trained", "num_seeds"]].to_dict("records")
        [{'theory': 2.1, 'trained': 2.0, 'num_seeds': 2}]
    """
    _require_axis(records, against)
    spread = spread_name(quantiles)
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
    numbers["theory"] = _theory(rows, point, "mean" if quantiles is None else "median")
    numbers = numbers.join(over_seeds(trained, quantiles)).assign(spread=spread)
    numbers["num_seeds"] = numbers["num_seeds"].fillna(0).astype(int)
    numbers["num_left_out"] = left_out.size().reindex(numbers.index).fillna(0).astype(int)
    return _ordered(numbers, kept)


ROLES = (THEORY, TRAINED, LEFT_OUT) = (0, 1, 2)


def over_seeds(values: pd.api.typing.SeriesGroupBy, quantiles: Levels | None) -> pd.DataFrame:
    """Summarise the values of every point over seeds.

    Args:
        values: one a seed, grouped by point.
        quantiles: two levels, or None for the mean and Student's 95 % interval.

    Returns:
        By point `trained` (mean or median) with its ends `trained_lower` and `trained_upper`, which a single value does not have, and
        `num_seeds`.
    """
    count = values.size()
    if quantiles is None:
        centre, half = values.mean(), half_width(values.std().to_numpy(), count.to_numpy())
        lower, upper = centre - half, centre + half
    else:
        centre = values.median()
        lower, upper = (values.quantile(level).where(count > 1) for level in quantiles)
    return pd.DataFrame({"trained": centre, "trained_lower": lower, "trained_upper": upper, "num_seeds": count})


def spread_name(quantiles: Levels | None) -> str:
    """Return what stands for a spread over seeds in words.

    Args:
        quantiles: two levels, or None for Student's 95 % interval of the mean.

    Returns:
        The words.

    Raises:
        InputError: if the levels are not two from 0 to 1, the lower one first.

    Example:
        >>> spread_name(None), spread_name((0.25, 0.75))
        ('95 % interval', 'median and 0.25 to 0.75 quantile')
    """
    if quantiles is None:
        return INTERVAL
    low, high = (LEVEL("quantiles", level) for level in quantiles)
    if not low < high:
        raise InputError(f"quantiles are {low:g} and {high:g}; they must be two levels, the lower one first, such as 0.25 and 0.75")
    return f"median and {low:.3g} to {high:.3g} quantile"


def _theory(rows: pd.DataFrame, point: pd.Series, centre: str) -> pd.Series:
    """Theory of each point, over the seeds whose models are kept there, or over all where none is."""
    pairs = pd.MultiIndex.from_arrays([point, rows["seed"]])
    theory = rows["role"] == THEORY
    same = theory & pairs.isin(pairs[rows["role"] == TRAINED])
    over_kept, over_all = (rows.loc[chosen, "value"].groupby(point).agg(centre) for chosen in (same, theory))
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
