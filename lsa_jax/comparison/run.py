"""Running the comparison: a sweep, and from its records the front of every method, the error curves and the seeds that stand out."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import store
from lsa_jax.comparison import fronts
from lsa_jax.comparison.experiment import SHAPES, shape_name, spec_of
from lsa_jax.comparison.rivals import rivals
from lsa_jax.comparison.zero_shots import Chunk, exact_zero_shots
from lsa_jax.params import Params
from lsa_jax.population import prior_risk
from lsa_jax.problem import LinearRegression
from lsa_jax.reproduce.settings import Settings
from lsa_jax.setting import Setting
from lsa_jax.sweeps import laws, plan, processes, results, run, spec
from lsa_jax.sweeps.folder import MANIFEST, Folder
from lsa_jax.sweeps.run import Progress

SWEEP = "sweep"
FILES = (
    *("errors.*", "fronts.*", "rivals.*", "seeds.*", "pretraining.*", "figure.*", "front.*", store.MANIFEST, store.PARTIAL),
    *(f"{SWEEP}/{pattern}" for pattern in (MANIFEST, "chunks/*", "params/*", "failed/*", "*/.*.partial")),
)
"""What a comparison writes in its folder."""

Report = Callable[[Progress], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Attributes:
        settings: its settings.
        errors: quantiles over seeds of every error, by shape, method, rate, test task and number of shots.
        fronts: zero-shot and few-shot errors side by side, by shape, method and rate.
        seeds: the errors of each seed without examples and at the number of fine-tuning shots, from which `fronts` is made.
        rivals: by shape and pair of methods, for how many seeds one is at least as good as the other on both errors.
        pretraining: by shape and seed, the step at which it left the plateau, and whether it did.
    """

    settings: Settings
    errors: pd.DataFrame
    fronts: pd.DataFrame
    seeds: pd.DataFrame
    rivals: pd.DataFrame
    pretraining: pd.DataFrame


def compare(
    settings: Settings,
    out: Path,
    *,
    shapes: tuple[dict[str, Any], ...] = SHAPES,
    force: bool = False,
    figure: bool = True,
    report: Report = lambda progress: None,
) -> Outcome:
    """Pretrain transformers, fine-tune each in every way at every rate, and set zero-shot gain against few-shot loss.

    Every finished chunk of seeds is kept in `out`; the same call goes on from there. Written are the tables `errors`, `fronts`,
    `seeds`, `rivals` and `pretraining` (Parquet and CSV), `figure` and `front` (PDF and PNG), `run.json`, and the sweep itself in `sweep`.

    Args:
        settings: settings of the reproduction.
        out: folder for the results.
        shapes: the transformers to compare.
        force: replace another run in `out` instead of refusing.
        figure: draw the figures.
        report: told of progress.

    Returns:
        The outcome.

    Raises:
        ValueError: if a setting is out of range or `out` holds another run.
        OSError: if `out` cannot be written.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression (several layers and heads).
    """
    read, begun = spec.read(spec_of(settings, shapes)), time.perf_counter()
    groups = plan.plan(read)
    processes.local_mesh(settings.device)
    told = {**dataclasses.asdict(settings), "shapes": [shape_name(shape["layers"], shape["heads"], shape["attention"]) for shape in shapes]}
    store.claim_folder(out, told, force=force, files=FILES)
    run.run_sweep(read, out / SWEEP, save_params=True, device=settings.device, report=report)
    chunks = _trained(out / SWEEP, groups)
    with jax.enable_x64(True):
        exact = exact_zero_shots(chunks, read)
    records, few = pd.concat([results.load(out / SWEEP).frame, exact], ignore_index=True), float(settings.fine_tuning_shots)
    errors, seeds = fronts.errors(records), fronts.by_seed(records[records["evaluation_shots"].isin([0.0, few])])
    outcome = Outcome(
        settings=settings,
        errors=errors,
        fronts=fronts.fronts(errors, few),
        seeds=seeds,
        rivals=rivals(seeds, few),
        pretraining=fronts.pretraining(_histories(chunks), settings.steps),
    )
    _write(outcome, told, out, figure, time.perf_counter() - begun)
    return outcome


def _trained(folder: Path, groups: list[plan.Group]) -> list[Chunk]:
    """The stored parameters of every chunk, and the group it belongs to."""
    paths = sorted(Folder(folder).params.glob("*.npz"))
    loaded = [(store.load_arrays(path), groups[int(path.name.split("-")[1])]) for path in paths]
    return [(arrays, group) for arrays, group in loaded if arrays is not None]


def _histories(chunks: list[Chunk]) -> pd.DataFrame:
    """The recorded pretraining losses, one row a shape and seed."""
    rows = []
    for arrays, group in chunks:
        told = {**fronts.shape_of(group.setting), "zero": _zero_loss(group.setting, float(arrays["noise_std"][0]))}
        for seed, history in zip(arrays["seed"], arrays["history pretrained"], strict=True):
            rows.append({**told, "seed": int(seed), "history": np.asarray(history)})
    return pd.DataFrame(rows).drop_duplicates(subset=["shape", "seed"])


def _zero_loss(setting: Setting, noise_std: float) -> float:
    """The pretraining loss of a model that predicts 0."""
    known, blank = laws.of(setting), jnp.zeros((setting.dim + 2, setting.dim + 2))
    return float(prior_risk(Params(value=blank, query_key=blank), LinearRegression(known.covariance, noise_std), known.prior, 0))


def _write(outcome: Outcome, told: Mapping[str, Any], out: Path, figure: bool, seconds: float) -> None:
    """Write the tables, the figures and the finished manifest."""
    for name in ("errors", "fronts", "seeds", "rivals", "pretraining"):
        store.save_table(out / name, getattr(outcome, name))
    if figure:
        from lsa_jax.plotting import comparison

        floor, judged = outcome.settings.noise_std**2, fronts.judged(outcome.errors)
        store.save_figure(out / "figure", comparison.plot_errors(judged, outcome.fronts, floor))
        store.save_figure(out / "front", comparison.plot_fronts(outcome.fronts, floor))
    manifest = {"settings": told, "environment": store.environment(), "seconds": round(seconds, 2)}
    store.save_json(out / store.MANIFEST, {**manifest, "finished": True})
