"""The records of a reproduction: error curves of theory and trained models, and the paper's twelve claims beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import optima, precision
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import Regime, reached_scale
from lsa_jax.reproduce.experiment import REGIMES, Trained
from lsa_jax.reproduce.settings import Settings
from lsa_jax.setting import Setting
from lsa_jax.sweeps import laws

SOURCES = {"closed_form": "optimum_risk", "trained": "risk", "simulated": "simulated_risk"}
"""Where the errors of a curve come from, and the metric of the records that holds them."""

SIMULATION_BOUND = 5.0
"""Largest difference of simulated and exact error, in standard errors."""

SMALLEST_OPTIMUM = 0.01
"""Excess is relative to the optimum, or to this part of the target task's size where the optimum is below it (no label noise)."""

FLOAT32_ROUNDING = 1e-5
"""Relative difference of simulated and exact error put down to rounding; where a model is exact, the standard error is smaller still."""


def error_records(records: pd.DataFrame, left_out: dict[str, list[int]]) -> pd.DataFrame:
    """Lay out the error of every regime, seed, test task and number of shots: closed form, trained (exact) and trained (simulated).

    Args:
        records: the records of the sweep.
        left_out: seeds whose models have no records, by regime.

    Returns:
        One row an error: regime, seed, test_task, evaluation_shots, source, risk, standard_error (of the simulation).
    """
    keys = ["regime", "seed", "test_task", "evaluation_shots"]
    texts = records.astype(dict.fromkeys(("regime", "test_task", "metric"), str))
    wide = texts.set_index([*keys, "metric"])["value"].unstack("metric")
    found = []
    for regime in REGIMES:
        for source, metric in SOURCES.items():
            if metric not in wide:
                continue
            rows = wide.loc[[regime.name]].dropna(subset=[metric]).reset_index()
            rows = rows.assign(source=source, risk=rows[metric], standard_error=np.nan)
            if source == "simulated":
                rows["standard_error"] = wide.loc[[regime.name]].dropna(subset=[metric])["standard_error"].to_numpy()
            kept = rows if source == "closed_form" else rows[~rows["seed"].isin(left_out[regime.name])]
            order = kept["test_task"].map({"target": 0, "opposite": 1})
            found.append(kept.assign(order=order).sort_values(["seed", "order", "evaluation_shots"]))
    table = pd.concat(found, ignore_index=True)[[*keys, "source", "risk", "standard_error"]]
    return table.rename_axis(columns=None)


def claims(settings: Settings, curves: pd.DataFrame, target_tasks: np.ndarray) -> pd.DataFrame:
    """Set the paper's twelve limits, the exact errors at the finite setting and the trained models side by side.

    Args:
        settings: settings of the reproduction.
        curves: the records of `error_records`.
        target_tasks: the target task of each seed.

    Returns:
        One row a claim: regime, error, source in the paper, paper_limit, exact, trained and its standard error over seeds, simulated,
        excess of trained over exact (relative), its bound, the largest deviation of simulation in standard errors, and the verdict.
    """
    shots = settings.fine_tuning_shots
    cells = {
        "zero_shot_target": ("target", 0),
        "few_shot_target": ("target", shots),
        "few_shot_opposite": ("opposite", shots),
    }
    rows, size = [], _task_size(settings, target_tasks)
    for regime in REGIMES:
        assert regime.limits is not None
        limits = regime.limits(settings.dim)
        for error, (test_task, num_shots) in cells.items():
            here = (curves["test_task"] == test_task) & (curves["evaluation_shots"] == num_shots)
            cell = curves[here & (curves["regime"] == regime.name)]
            limit = settings.noise_std**2 + getattr(limits, error) * size
            rows.append({
                "regime": regime.name,
                "error": error,
                "shots": num_shots,
                "source": limits.source,
                "paper_limit": limit,
                **_claim(regime, cell, size),
            })
    return pd.DataFrame(rows)


def full_scales(settings: Settings, trained: dict[str, Trained], target_tasks: np.ndarray, left_out: list[int]) -> pd.DataFrame:
    """Compare the scale at which each seed's `full` fine-tuning ended with the one its start conserves.

    Args:
        settings: settings of the reproduction.
        trained: trained models by regime.
        target_tasks: the target task of each seed.
        left_out: seeds to leave out.

    Returns:
        One row a seed: $w/v_y$ as trained, and as the conserved quantity of its pretrained parameters predicts; none for another model
        than one layer of linear attention, of which nothing is conserved.
    """
    seeds = np.arange(settings.seed, settings.seed + settings.seeds)
    if settings.model != "linear":
        return pd.DataFrame({"seed": [], "trained": [], "conserved": []})

    @jax.jit
    @jax.vmap
    def scales(task: jax.Array, start: Params, end: Params) -> tuple[jax.Array, jax.Array]:
        conserved = optima.conserved_scale(_problem(settings), task, start)
        return reached_scale(end, task) / end.value[-1, -1], conserved / start.value[-1, -1]

    start, end = (_stacked(trained[regime]) for regime in ("pretrained", "full"))
    ended, conserved = scales(jnp.asarray(target_tasks), start, end)
    rows = pd.DataFrame({"seed": seeds, "trained": np.asarray(ended), "conserved": np.asarray(conserved)})
    return rows[~rows["seed"].isin(left_out)].reset_index(drop=True)


def _problem(settings: Settings) -> LinearRegression:
    """The data law of a reproduction."""
    setting = Setting(dim=settings.dim, covariance=settings.covariance, prior=settings.prior)
    return LinearRegression(laws.of(setting).covariance, settings.noise_std)


def _stacked(run: Trained) -> Params:
    """Parameters of one layer with a leading axis of seeds."""
    pair = jnp.asarray(run.params["value"]), jnp.asarray(run.params["query_key"])
    return jax.vmap(lambda value, query_key: Params(value=value, query_key=query_key))(*pair)


def _task_size(settings: Settings, target_tasks: np.ndarray) -> float:
    """The unit of the paper's limits, the size of the target task, averaged over seeds."""
    whitened = jnp.matmul(jnp.asarray(target_tasks), _problem(settings).root, precision=precision.current())
    return float(jnp.sum(whitened**2, axis=-1).mean())


def _claim(regime: Regime, cell: pd.DataFrame, size: float) -> dict[str, object]:
    """Theory against trained models in one cell of the table."""
    by_source = {source: rows.set_index("seed") for source, rows in cell.groupby("source")}
    if "closed_form" not in by_source:
        simulated = by_source["simulated"]["risk"]
        return {"simulated": simulated.mean(), "standard_error": simulated.sem(), "verdict": "no theory"}
    if "trained" not in by_source:
        return {"exact": by_source["closed_form"]["risk"].mean(), "verdict": "no model"}
    trained, simulated = by_source["trained"]["risk"], by_source["simulated"]
    exact = by_source["closed_form"]["risk"].loc[trained.index]
    smallest = SMALLEST_OPTIMUM * size
    excess = float(((trained - exact) / exact.clip(lower=smallest)).mean())
    difference = ((simulated["risk"] - trained).abs() - FLOAT32_ROUNDING * trained.clip(lower=smallest)).clip(lower=0)
    deviation = float((difference / simulated["standard_error"]).fillna(0).max())
    holds = abs(excess) <= regime.bound and deviation <= SIMULATION_BOUND
    return {
        "exact": exact.mean(),
        "trained": trained.mean(),
        "standard_error": trained.sem(),
        "simulated": simulated["risk"].mean(),
        "excess": excess,
        "bound": regime.bound,
        "deviation": deviation,
        "verdict": "agrees" if holds else "differs",
    }
