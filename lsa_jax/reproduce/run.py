"""Running a reproduction: trains phase by phase, keeps what is finished, and writes figure, numbers, parameters and manifest."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from lsa_jax import lineage, optimizers, store, training
from lsa_jax.errors import InputError
from lsa_jax.lineage import Seed
from lsa_jax.objectives import Objective
from lsa_jax.problem import Params
from lsa_jax.reproduce import table
from lsa_jax.reproduce.experiment import PHASES, Experiment, prepare
from lsa_jax.reproduce.settings import Settings

NOT_REACHED = "did not reach the pretraining optimum (a local minimum, or too few steps)"

Report = Callable[[str, int, int], None]
"""Told of progress: (phase, records done, records in all)."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a reproduction found: error curves, the table of claims, the scales of `full`, and the seeds left out, by regime and reason."""

    experiment: Experiment
    curves: pd.DataFrame
    claims: pd.DataFrame
    scales: pd.DataFrame
    failures: dict[str, dict[str, list[int]]]


def reproduce(settings: Settings, out: Path, *, force: bool = False, figure: bool = True, report: Report | None = None) -> Outcome:
    """Train the four regimes and set theory, exact computation and simulation side by side.

    Every finished training phase is kept in `out`; the same call goes on from there. Written are `curves` and `claims` (Parquet and CSV),
    `params/REGIME.npz`, `figure.pdf` and `figure.png`, and `run.json`.

    Args:
        settings: settings of the reproduction.
        out: folder for the results.
        force: replace another run in `out` instead of refusing.
        figure: draw the figure.
        report: told of progress.

    Returns:
        The outcome.

    Raises:
        ValueError: if a setting is out of range or `out` holds another run.
        OSError: if `out` cannot be written.
    """
    with jax.enable_x64(settings.dtype == "float64"), jax.default_device(_device(settings.device)):
        experiment = prepare(settings)
        begun = time.perf_counter()
        store.claim_folder(out, dataclasses.asdict(settings), force=force)
        phases = {}
        for regime in PHASES:
            phases[regime] = _phase(experiment, regime, phases, out, report or (lambda *_: None))
        trained = {regime: run.params for regime, run in phases.items()}
        failures = _failures(experiment, phases)
        left_out = {regime: [number for seeds in reasons.values() for number in seeds] for regime, reasons in failures.items()}
        curves = table.error_records(experiment, trained, left_out)
        outcome = Outcome(
            experiment=experiment,
            curves=curves,
            claims=table.claims(experiment, curves),
            scales=table.full_scales(experiment, trained, left_out["full"]),
            failures=failures,
        )
        _write(outcome, out, figure, time.perf_counter() - begun)
    return outcome


def _device(name: str) -> jax.Device | None:
    """The first device of a platform; None for JAX's default."""
    if name == "default":
        return None
    try:
        return jax.local_devices(backend=name)[0]
    except RuntimeError:
        known = ", ".join(sorted({device.platform for device in jax.local_devices()}))
        raise InputError(f"device is {name!r}, which this machine does not have; it has {known}") from None


def _phase(experiment: Experiment, regime: str, phases: dict[str, training.Trained], out: Path, report: Report) -> training.Trained:
    """One regime trained for all seeds, or read back if it is on disk."""
    path = out / "params" / f"{regime}.npz"
    arrays = store.load_arrays(path) if path.exists() else None
    if arrays is not None:
        report(regime, experiment.protocol.training.num_records, experiment.protocol.training.num_records)
        return training.Trained(
            params=_stacked(jnp.asarray(arrays["value"]), jnp.asarray(arrays["query_key"])),
            history=jnp.asarray(arrays["history"]),
            diverged=jnp.asarray(arrays["diverged"]),
        )
    parent = lineage.PARENTS[regime]
    start = _initial_params(experiment) if parent is None else phases[parent].params
    run = _train(experiment, regime, start, report)
    if parent is not None:
        run = dataclasses.replace(run, diverged=run.diverged | phases[parent].diverged)
    path.parent.mkdir(exist_ok=True)
    arrays = {
        "value": run.params.value,
        "query_key": run.params.query_key,
        "history": run.history,
        "diverged": run.diverged,
    }
    store.save_arrays(path, {**arrays, "target_task": experiment.seeds.target_task, "seed": list(experiment.seed_numbers)})
    return run


def _failures(experiment: Experiment, phases: dict[str, training.Trained]) -> dict[str, dict[str, list[int]]]:
    """Seeds whose models are no test of the claims, which are about minimisers."""
    missed = jax.jit(jax.vmap(lambda params: lineage.above_minimum(experiment.setting, params)))
    stuck = np.asarray(missed(phases["pretrained"].params))
    failures = {}
    for regime, run in phases.items():
        marks = list(zip(experiment.seed_numbers, np.asarray(run.diverged), stuck, strict=True))
        failures[regime] = {
            "diverged": [number for number, diverged, _ in marks if diverged],
            NOT_REACHED: [number for number, diverged, low in marks if low and not diverged],
        }
    return failures


def _stacked(value: Array, query_key: Array) -> Params:
    """Parameters with a leading axis of seeds."""
    return jax.vmap(lambda value, query_key: Params(value=value, query_key=query_key))(value, query_key)


def _initial_params(experiment: Experiment) -> Params:
    """The parameters the seeds' pretraining starts from."""
    return jax.vmap(lambda seed: lineage.initial_params(experiment.protocol, experiment.setting, seed))(experiment.seeds)


def _train(experiment: Experiment, regime: str, params: Params, report: Report) -> training.Trained:
    """Train all seeds of one regime together, one record after another so that progress can be told and the run stopped."""
    settings, schedule = experiment.settings, experiment.protocol.training
    optimizer = optimizers.by_name(settings.optimizer, settings.learning_rate, settings.steps, settings.decay)
    keys = jax.vmap(lambda seed: lineage.training_key(seed, regime))(experiment.seeds)

    def objective(seed: Seed) -> Objective:
        return lineage.objective(experiment.protocol, experiment.setting, regime, seed, settings.fine_tuning_shots)

    @jax.jit
    @jax.vmap
    def start(key: Array, seed: Seed, params: Params) -> training.State:
        return training.start(key, objective(seed), params, optimizer, schedule)

    @functools.partial(jax.jit, donate_argnums=2)
    @jax.vmap
    def advance(key: Array, seed: Seed, state: training.State) -> tuple[training.State, Array]:
        return training.advance(key, objective(seed), optimizer, schedule, state)

    report(regime, 0, schedule.num_records)
    state, history = start(keys, experiment.seeds, params), []
    for record in range(schedule.num_records):
        state, loss = jax.block_until_ready(advance(keys, experiment.seeds, state))
        history.append(loss)
        report(regime, record + 1, schedule.num_records)
    return jax.vmap(lambda state, losses: training.finish(schedule, state, losses))(state, jnp.stack(history, axis=1))


def _write(outcome: Outcome, out: Path, figure: bool, seconds: float) -> None:
    """Write the tables, the figure and the finished manifest."""
    store.save_table(out / "curves", outcome.curves)
    store.save_table(out / "claims", outcome.claims)
    store.save_table(out / "full_scales", outcome.scales)
    if figure:
        from lsa_jax import plotting

        drawn = plotting.plot_regimes(outcome.curves, outcome.experiment.settings.noise_std**2)
        store.save_figure(out / "figure", drawn)
    store.save_json(
        out / store.MANIFEST,
        {
            "settings": dataclasses.asdict(outcome.experiment.settings),
            "environment": store.environment(),
            "failures": outcome.failures,
            "seconds": round(seconds, 2),
            "finished": True,
        },
    )
