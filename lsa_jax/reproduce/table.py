"""The records of a reproduction: error curves of theory and trained models, and the paper's twelve claims beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import evaluation, lineage, optima, precision
from lsa_jax.lineage import Seed
from lsa_jax.problem import Params
from lsa_jax.regimes import paper_limits
from lsa_jax.reproduce.experiment import Experiment, stream
from lsa_jax.reproduce.settings import Settings

TEST_TASKS = {"target": 1.0, "opposite": -1.0}

BOUNDS = {"pretrained": 0.02, "full": 0.05, "value": 0.02, "value_auxiliary": 0.02}
"""Largest relative excess of trained models over the closed-form optimum for which a claim is said to hold. The minimiser of `full` is not
unique and its few-shot error goes with the square of the scale it ends at, hence the wider bound."""

SIMULATION_BOUND = 5.0
"""Largest difference of simulated and exact error, in standard errors."""

SMALLEST_OPTIMUM = 0.01
"""Excess is relative to the optimum, or to this part of the target task's size where the optimum is below it (no label noise)."""

FLOAT32_ROUNDING = 1e-5
"""Relative difference of simulated and exact error put down to rounding; where a model is exact, the standard error is smaller still."""


def error_records(experiment: Experiment, trained: dict[str, Params], left_out: dict[str, list[int]]) -> pd.DataFrame:
    """Compute the error of every regime, seed, test task and number of shots: closed form, trained (exact) and trained (simulated).

    Args:
        experiment: the prepared experiment.
        trained: trained parameters by regime, with a leading axis of seeds.
        left_out: seeds whose models have no records, by regime.

    Returns:
        One row an error: regime, seed, test_task, evaluation_shots, source, risk, standard_error (of the simulation).
    """
    shots = jnp.array(evaluation_numbers(experiment.settings))
    simulated_shots = jnp.array(simulated_numbers(experiment.settings))
    signs = jnp.array(list(TEST_TASKS.values()))
    problem, prompts = experiment.setting.problem, experiment.settings.simulation_prompts

    @jax.jit
    @jax.vmap
    def theory(seed: Seed, full: Params) -> dict[str, jax.Array]:
        reached = full if experiment.settings.optimizer == "adam" else None
        forms = lineage.closed_forms(experiment.setting, seed.target_task, experiment.settings.fine_tuning_shots, reached)
        optimal = {regime: form() for regime, form in forms.items()}
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *optimal.values())
        curves = jax.vmap(evaluation.error_curves, (0, None, None, None))
        return dict(zip(optimal, curves(stacked, problem, jnp.outer(signs, seed.target_task), shots), strict=True))

    @jax.jit
    @jax.vmap
    def measure(key: jax.Array, seed: Seed, params: Params) -> tuple[jax.Array, jax.Array, jax.Array]:
        tasks = jnp.outer(signs, seed.target_task)
        simulated = evaluation.simulated_curves(key, params, problem, tasks, simulated_shots, prompts)
        exact = evaluation.error_curves(params, problem, tasks, shots)
        return exact, simulated.mean, simulated.standard_error

    records = []
    optimal = theory(experiment.seeds, trained["full"])
    for index, (regime, params) in enumerate(trained.items()):
        keys = stream(stream(experiment.seeds.key, lineage.SIMULATION_STREAM), index)
        exact, mean, error = measure(keys, experiment.seeds, params)
        closed = _records(experiment, regime, "closed_form", shots, optimal[regime])
        found = [
            _records(experiment, regime, "trained", shots, exact),
            _records(experiment, regime, "simulated", simulated_shots, mean, error),
        ]
        records += [closed, *(rows[~rows["seed"].isin(left_out[regime])] for rows in found)]
    return pd.concat(records, ignore_index=True)


def evaluation_numbers(settings: Settings) -> list[float]:
    """Return the numbers of shots of the exact curves: 0 to `evaluation_shots`, those of the claims, and infinity.

    Args:
        settings: settings of the reproduction.

    Returns:
        The numbers, in order.
    """
    finite = {*range(settings.evaluation_shots + 1), settings.fine_tuning_shots}
    return [*map(float, sorted(finite)), float("inf")]


def simulated_numbers(settings: Settings) -> list[float]:
    """Return the numbers of shots at which trained models are simulated as well: those of the claims, and a few along the curve.

    Args:
        settings: settings of the reproduction.

    Returns:
        The numbers, in order.
    """
    along = {0, 1, 2, 5, 10, settings.fine_tuning_shots, settings.evaluation_shots, float("inf")}
    return [shots for shots in evaluation_numbers(settings) if shots in along]


def claims(experiment: Experiment, curves: pd.DataFrame) -> pd.DataFrame:
    """Set the paper's twelve limits, the exact errors at the finite setting and the trained models side by side.

    Args:
        experiment: the prepared experiment.
        curves: the records of `error_records`.

    Returns:
        One row a claim: regime, error, source in the paper, paper_limit, exact, trained and its standard error over seeds, simulated,
        excess of trained over exact (relative), its bound, the largest deviation of simulation in standard errors, and the verdict.
    """
    shots = experiment.settings.fine_tuning_shots
    cells = {
        "zero_shot_target": ("target", 0),
        "few_shot_target": ("target", shots),
        "few_shot_opposite": ("opposite", shots),
    }
    rows, size = [], _task_size(experiment)
    for regime in dict.fromkeys(curves["regime"]):
        limits = paper_limits(regime, experiment.settings.dim)
        for error, (test_task, num_shots) in cells.items():
            cell = curves[(curves["regime"] == regime) & (curves["test_task"] == test_task) & (curves["evaluation_shots"] == num_shots)]
            limit = experiment.settings.noise_std**2 + getattr(limits, error) * size
            rows.append({
                "regime": regime,
                "error": error,
                "shots": num_shots,
                "source": limits.source,
                "paper_limit": limit,
                **_claim(regime, cell, size),
            })
    return pd.DataFrame(rows)


def full_scales(experiment: Experiment, trained: dict[str, Params], left_out: list[int]) -> pd.DataFrame:
    """Compare the scale at which each seed's `full` fine-tuning ended with the one its start conserves.

    Args:
        experiment: the prepared experiment.
        trained: trained parameters by regime, with a leading axis of seeds.
        left_out: seeds to leave out.

    Returns:
        One row a seed: $w/v_y$ as trained, and as the conserved quantity of its pretrained parameters predicts.
    """

    @jax.jit
    @jax.vmap
    def scales(seed: Seed, start: Params, end: Params) -> tuple[jax.Array, jax.Array]:
        conserved = optima.conserved_scale(experiment.setting.problem, seed.target_task, start)
        return lineage.reached_scale(end, seed.target_task) / end.value[-1, -1], conserved / start.value[-1, -1]

    ended, conserved = scales(experiment.seeds, trained["pretrained"], trained["full"])
    rows = pd.DataFrame({
        "seed": list(experiment.seed_numbers),
        "trained": np.asarray(ended),
        "conserved": np.asarray(conserved),
    })
    return rows[~rows["seed"].isin(left_out)].reset_index(drop=True)


def _task_size(experiment: Experiment) -> float:
    """The unit of the paper's limits, the size of the target task, averaged over seeds."""
    sizes = jnp.sum(
        (jnp.matmul(experiment.seeds.target_task, experiment.setting.problem.root, precision=precision.current())) ** 2, axis=-1
    )
    return float(sizes.mean())


def _claim(regime: str, cell: pd.DataFrame, size: float) -> dict[str, object]:
    """Theory against trained models in one cell of the table."""
    by_source = {source: rows.set_index("seed") for source, rows in cell.groupby("source")}
    if "trained" not in by_source:
        return {"exact": by_source["closed_form"]["risk"].mean(), "verdict": "no model"}
    trained, simulated = by_source["trained"]["risk"], by_source["simulated"]
    exact = by_source["closed_form"]["risk"].loc[trained.index]
    smallest = SMALLEST_OPTIMUM * size
    excess = float(((trained - exact) / exact.clip(lower=smallest)).mean())
    difference = ((simulated["risk"] - trained).abs() - FLOAT32_ROUNDING * trained.clip(lower=smallest)).clip(lower=0)
    deviation = float((difference / simulated["standard_error"]).fillna(0).max())
    holds = abs(excess) <= BOUNDS[regime] and deviation <= SIMULATION_BOUND
    return {
        "exact": exact.mean(),
        "trained": trained.mean(),
        "standard_error": trained.sem(),
        "simulated": simulated["risk"].mean(),
        "excess": excess,
        "bound": BOUNDS[regime],
        "deviation": deviation,
        "verdict": "agrees" if holds else "differs",
    }


def _records(
    experiment: Experiment, regime: str, source: str, shots: jax.Array, risk: jax.Array, error: jax.Array | None = None
) -> pd.DataFrame:
    """Arrays of shape (seeds, test tasks, shots) as rows."""
    index = pd.MultiIndex.from_product(
        [experiment.seed_numbers, TEST_TASKS, np.asarray(shots)], names=["seed", "test_task", "evaluation_shots"]
    )
    values = {"risk": np.ravel(risk), "standard_error": np.nan if error is None else np.ravel(error)}
    rows = pd.DataFrame(values, index=index).reset_index()
    rows.insert(0, "regime", regime)
    rows.insert(4, "source", source)
    return rows
