"""Running a reproduction: a sweep of the four regimes, and from its records figure, numbers, parameters and manifest."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from lsa_jax import store
from lsa_jax.reproduce import table
from lsa_jax.reproduce.experiment import REGIMES, Trained, spec_of
from lsa_jax.reproduce.settings import Settings
from lsa_jax.setting import TRACED
from lsa_jax.sweeps import plan, processes, results, run, spec
from lsa_jax.sweeps.folder import MANIFEST, Folder
from lsa_jax.sweeps.run import Progress

NOT_REACHED = "did not reach the pretraining optimum (a local minimum, or too few steps)"
SWEEP = "sweep"
"""Folder of the sweep inside that of a reproduction."""

FILES = (*store.RUN_FILES, *(f"{SWEEP}/{pattern}" for pattern in (MANIFEST, "chunks/*", "params/*", "failed/*", "*/.*.partial")))
"""What a reproduction writes in its folder."""

Report = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a reproduction found: error curves, the table of claims, the scales of `full`, and the seeds left out, by regime and reason."""

    settings: Settings
    curves: pd.DataFrame
    claims: pd.DataFrame
    scales: pd.DataFrame
    failures: dict[str, dict[str, list[int]]]


def reproduce(
    settings: Settings, out: Path, *, force: bool = False, figure: bool = True, report: Report = lambda progress: None
) -> Outcome:
    """Train the four regimes and set theory, exact computation and simulation side by side.

    Every finished chunk of seeds is kept in `out`; the same call resumes from there. It writes `curves` and `claims` (Parquet and CSV),
    `params/REGIME.npz`, `figure.pdf` and `figure.png`, `run.json`, and the sweep itself in `sweep`.

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
    read, begun = spec.read(spec_of(settings)), time.perf_counter()
    plan.plan(read)
    processes.local_mesh(settings.device)
    store.claim_folder(out, dataclasses.asdict(settings), force=force, files=FILES)
    run.run_sweep(read, out / SWEEP, save_params=True, device=settings.device, report=report)
    records = results.load(out / SWEEP).frame
    with jax.enable_x64(settings.dtype == "float64"), jax.default_matmul_precision(read.matmul_precision):
        trained, tasks = _models(out, settings)
        failures = _failures(records)
        left_out = {regime: [number for seeds in reasons.values() for number in seeds] for regime, reasons in failures.items()}
        curves = table.error_records(records, left_out)
        outcome = Outcome(
            settings=settings,
            curves=curves,
            claims=table.claims(settings, curves, tasks),
            scales=table.full_scales(settings, trained, tasks, left_out["full"]),
            failures=failures,
        )
        _write(outcome, trained, tasks, out, figure, time.perf_counter() - begun)
    return outcome


def _models(out: Path, settings: Settings) -> tuple[dict[str, Trained], np.ndarray]:
    """The trained models of every regime and the target tasks, in the order of the seeds."""
    parts = [arrays for path in sorted(Folder(out / SWEEP).params.glob("*.npz")) if (arrays := store.load_arrays(path)) is not None]
    seeds = np.concatenate([part["seed"] for part in parts])
    _, order = np.unique(seeds, return_index=True)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([part[name] for part in parts])[order]

    models = {}
    for name in (name for name in parts[0] if name not in {"target_task", *TRACED}):
        leaf, regime = name.split(" ")[:2]
        models.setdefault(regime, {})[leaf] = joined(name)
    found = {regime.name: models[regime.name] for regime in REGIMES}
    trained = {
        regime: Trained(history=leaves.pop("history"), diverged=leaves.pop("diverged"), params=leaves) for regime, leaves in found.items()
    }
    return trained, joined("target_task")


def _failures(records: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    """Seeds whose models are no test of the claims, which are about minimisers."""
    flags = records.groupby(["regime", "seed"], observed=True)[["diverged", "above_minimum"]].first()
    failures = {}
    for regime in REGIMES:
        one = flags.loc[regime.name]
        failures[regime.name] = {
            "diverged": [int(seed) for seed in one.index[one["diverged"]]],
            NOT_REACHED: [int(seed) for seed in one.index[one["above_minimum"] & ~one["diverged"]]],
        }
    return failures


def _write(outcome: Outcome, trained: dict[str, Trained], tasks: np.ndarray, out: Path, figure: bool, seconds: float) -> None:
    """Write the tables, the parameters, the figure and the finished manifest."""
    store.save_table(out / "curves", outcome.curves)
    store.save_table(out / "claims", outcome.claims)
    store.save_table(out / "full_scales", outcome.scales)
    (out / "params").mkdir(exist_ok=True)
    settings = outcome.settings
    seeds = list(range(settings.seed, settings.seed + settings.seeds))
    for regime, one in trained.items():
        arrays = {**one.params, "history": one.history, "diverged": one.diverged, "target_task": tasks, "seed": seeds}
        store.save_arrays(out / "params" / f"{regime}.npz", arrays)
    if figure:
        from lsa_jax import plotting

        store.save_figure(out / "figure", plotting.plot_regimes(outcome.curves, settings.noise_std**2))
    store.save_json(
        out / store.MANIFEST,
        {
            "settings": dataclasses.asdict(settings),
            "environment": store.environment(),
            "failures": outcome.failures,
            "seconds": round(seconds, 2),
            "finished": True,
        },
    )
