"""From records to tables: errors by seed and over seeds, fronts of zero-shot gain against few-shot loss, and how pretraining went."""

from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from lsa_jax.comparison.experiment import shape_name
from lsa_jax.setting import Setting
from lsa_jax.sweeps.records import quantile_name

SHAPE = ("shape", "layers", "heads", "attention")
CURVE = (*SHAPE, "regime", "rate", "test_task", "evaluation_shots")
OVER_PROMPTS = {"risk": "mean", "simulated_risk": "mean", quantile_name(0.5): "median"}
"""Metrics of records, and which error over prompts each is."""

CONFIDENCE = 0.9
"""Probability with which an interval holds the median over all seeds there could be, at least; reached from 5 seeds on."""

NO_RATE = -1.0
"""What stands for the rate of a pretrained model or a baseline while rows are matched."""

PLATEAU = 0.9
"""Part of the loss of a model that predicts 0 below which pretraining has left its plateau."""

SMOOTHED = 0.05
"""Part of the recorded losses over which they are averaged before they are judged: one batch is noisy."""

BEHIND = 2.0
"""Multiple of the least last loss of a shape above which a seed counts as behind: in a local minimum, or not done."""

LATE = 0.5
"""Part of the steps after which a seed that leaves the plateau is called late."""


def shape_of(setting: Setting) -> dict[str, Any]:
    """Return the columns that tell one transformer from another.

    Args:
        setting: the setting of its group.

    Returns:
        `shape`, its name, and `layers`, `heads` and `attention`.

    Example:
        >>> shape_of(Setting(model="transformer", layers=2))["shape"]
        '(2, 1)'
    """
    found = {"layers": setting.layers, "heads": setting.heads, "attention": setting.attention}
    return {"shape": shape_name(**found), **found}


def by_seed(records: pd.DataFrame) -> pd.DataFrame:
    """Collect the errors of every seed: means over prompts, exact where they are known and else simulated, and simulated medians.

    Args:
        records: records of the sweep, with exact errors wherever they are known; models that diverged are left out.

    Returns:
        One row a shape, method or baseline, rate, test task, number of shots, `over_prompts` (mean or median) and seed: the `error`, and
        whether it is `exact`.
    """
    named = _named(records)
    found = named.assign(over_prompts=named["metric"].astype(str).map(OVER_PROMPTS), exact=named["metric"] == "risk")
    kept = found[~found["diverged"] & np.isfinite(found["value"]) & found["over_prompts"].notna()].rename(columns={"value": "error"})
    keys = [*CURVE, "over_prompts", "seed"]
    return kept.sort_values("exact", ascending=False, kind="stable").drop_duplicates(keys)[[*keys, "error", "exact"]]


def errors(records: pd.DataFrame) -> pd.DataFrame:
    """Summarise every error over seeds.

    Args:
        records: records of the sweep, as for `by_seed`; seeds that diverged are counted.

    Returns:
        One row a shape, method or baseline, rate, test task, number of shots and `over_prompts` (see `by_seed`): `median`, `lower` and
        `upper` quartile of the error over seeds, `low` and `high`, between which its median over all seeds lies (see `median_interval`),
        `exact`, `num_seeds` and `num_diverged`.
    """
    keys = [*CURVE, "over_prompts"]
    over_seeds = by_seed(records).fillna({"rate": NO_RATE}).groupby(keys, observed=True)
    table = over_seeds["error"].quantile(np.array([0.25, 0.5, 0.75])).unstack().set_axis(["lower", "median", "upper"], axis=1)
    table[["low", "high"]] = np.stack([median_interval(values.to_numpy()) for _, values in over_seeds["error"]])
    table = table.assign(exact=over_seeds["exact"].any(), num_seeds=over_seeds.size()).reset_index()
    lost = _named(records[records["diverged"]]).fillna({"rate": NO_RATE}).groupby([*CURVE], observed=True)
    table = table.merge(lost.agg(num_diverged=("seed", "nunique")).reset_index(), on=[*CURVE], how="left").fillna({"num_diverged": 0})
    return table.astype({"num_diverged": int}).assign(rate=table["rate"].replace(NO_RATE, np.nan))


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the errors by which a transformer is judged: means over prompts, or medians where rare prompts rule the mean.

    They do with linear attention from two layers on: predictions are polynomials of degree 3^L in the tokens.

    Args:
        table: rows of `by_seed` or `errors`.

    Returns:
        These rows, of each error either the mean or the median.

    Example:
        >>> rows = {"layers": [1, 1, 2, 2], "attention": "linear", "over_prompts": ["mean", "median"] * 2}
        >>> judged(pd.DataFrame(rows)).index.tolist()
        [0, 3]
    """
    deep = (table["attention"] == "linear") & (table["layers"] > 1)
    return table[table["over_prompts"] == np.where(deep, "median", "mean")]


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the interval that holds the median of a law with probability .9 at least, whatever the law is.

    It lies between the r-th least and the r-th largest value, and misses the median if fewer than r values lie on either side of it.

    Args:
        values: independent draws; below 5 of them even their whole range holds the median less often.

    Returns:
        Both ends.

    References:
        The sign test: ranks of the binomial law of one half.

    Example:
        >>> median_interval(np.arange(1.0, 9.0))
        (2.0, 7.0)
    """
    ordered, ranks = np.sort(values), np.arange(1, len(values) + 1)
    missed = 2 * scipy.stats.binom.cdf(ranks - 1, len(values), 0.5)
    rank = max(1, int(np.sum(missed <= 1 - CONFIDENCE)))
    return float(ordered[rank - 1]), float(ordered[-rank])


def fronts(summary: pd.DataFrame, num_shots: float) -> pd.DataFrame:
    """Set the median zero-shot error on the target task beside median few-shot errors.

    Args:
        summary: what `errors` returns.
        num_shots: number of shots of the few-shot errors, which are means over prompts.

    Returns:
        One row a shape, method and rate: medians over seeds of `zero_shot` (the mean or the median over prompts, as `over_prompts` says,
        see `judged`), `zero_shot_mean`, `few_shot_target` and `few_shot_opposite`, quartiles of each as `..._lower` and `..._upper`, and
        the interval of its median as `..._low` and `..._high`.
    """
    table = summary.assign(rate=summary["rate"].fillna(NO_RATE))
    keys, means = [*SHAPE, "regime", "rate"], table[table["over_prompts"] == "mean"]
    wanted = {
        "zero_shot": (judged(table), "target", 0.0),
        "zero_shot_mean": (means, "target", 0.0),
        "few_shot_target": (means, "target", num_shots),
        "few_shot_opposite": (means, "opposite", num_shots),
    }
    parts = []
    for name, (rows, test_task, shots) in wanted.items():
        chosen = rows[(rows["test_task"] == test_task) & (rows["evaluation_shots"] == shots)].set_index(keys)
        ends = {"median": name, **{end: f"{name}_{end}" for end in ("lower", "upper", "low", "high")}}
        told = ["over_prompts"] if name == "zero_shot" else []
        parts.append(chosen[[*told, *ends]].rename(columns=ends))
    counts = table.groupby(keys, observed=True)[["num_seeds", "num_diverged"]].max()
    return parts[0].join(parts[1:]).join(counts).reset_index().assign(rate=lambda table: table["rate"].replace(NO_RATE, np.nan))


def pretraining(histories: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Tell when each seed left the plateau of pretraining.

    Args:
        histories: one row a shape and seed, its recorded losses in `history` and the loss of a model that predicts 0 in `zero`.
        steps: number of steps of the run.

    Returns:
        One row a shape and seed: `left_at`, the step from which on the smoothed loss was below nine tenths of `zero` for the first time
        (NaN if it never was), the smoothed `last_loss`, and the `verdict`: `never left`, `late`, `behind` where the last loss is over twice
        the least one of the shape, or else `left`.

    Example:
        >>> row = {"shape": "(1, 1)", "seed": 3, "zero": 1.1, "history": np.array([1.2, 1.0, 0.5, 0.4])}
        >>> pretraining(pd.DataFrame([row]), steps=400)["left_at"].tolist()
        [200.0]
    """
    rows = []
    for _, row in histories.iterrows():
        window = max(1, int(SMOOTHED * len(row["history"])))
        history = pd.Series(np.asarray(row["history"])).rolling(window).mean().to_numpy()
        below = np.flatnonzero(history < PLATEAU * row["zero"])
        left_at = float(below[0] * steps / len(history)) if len(below) else np.nan
        verdict = "never left" if np.isnan(left_at) else "late" if left_at > LATE * steps else "left"
        told = {name: row[name] for name in (*SHAPE, "seed") if name in row}
        rows.append({**told, "left_at": left_at, "verdict": verdict, "last_loss": float(history[-1])})
    table = pd.DataFrame(rows)
    behind = table["last_loss"] > BEHIND * table.groupby("shape")["last_loss"].transform("min")
    return table.assign(verdict=table["verdict"].mask(behind & (table["verdict"] == "left"), "behind"))


def _named(records: pd.DataFrame) -> pd.DataFrame:
    """The records with the name of their transformer."""
    return records.assign(shape=[*map(shape_name, records["layers"], records["heads"], records["attention"].astype(str))])
