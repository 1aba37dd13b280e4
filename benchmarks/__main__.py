"""Run benchmarks by name, or all: `python -m benchmarks [name ...] --out FOLDER`."""

import statistics
from pathlib import Path

import cyclopts

from benchmarks import (
    curves,
    depth,
    devices,
    executors,
    figure,
    fronts,
    pools,
    prediction,
    risk,
    samplers,
    seeds,
    startup,
    storage,
    sweeps,
    training,
)
from lsa_jax import store

CASES = {
    "prediction": prediction.prediction,
    "samplers": samplers.samplers,
    "exact_risk": risk.exact_risk,
    "sampled_steps": training.sampled_steps,
    "deep_steps": depth.deep_steps,
    "sampled_runs": seeds.sampled_runs,
    "population_runs": seeds.population_runs,
    "published_evaluation": curves.published_evaluation,
    "error_curves": curves.error_curves,
    "lab_fronts": fronts.lab_fronts,
    "prompt_regression": pools.prompt_regression_solves,
    "pool_estimator": pools.pool_estimator,
    "published_figure": figure.published_figure,
    "sweep_throughput": sweeps.sweep_throughput,
    "sweep_overhead": storage.sweep_overhead,
    "executors": executors.executors,
    "devices": devices.devices,
    "cold_start": startup.cold_start,
}


def main(*names: str, out: Path = Path("results/benchmarks")) -> None:
    """Measure, print medians and spreads, and write one JSON file a case.

    Args:
        names: cases to run; all where none is named.
        out: folder for the JSON files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in names or CASES:
        measured = CASES[name]()
        store.save_json(out / f"{name}.json", measured)
        print(f"{name} ({measured['unit']}, {measured['environment']['device']})")
        for way, seconds in measured["seconds"].items():
            print(f"  {way:<24} median {statistics.median(seconds):.4g}  range {min(seconds):.4g} to {max(seconds):.4g}")
        for way, (ratio, low, high) in measured.get("speedup", {}).items():
            print(f"  {way:<24} {ratio:.3g} times the first (95 % interval {low:.3g} to {high:.3g})")


if __name__ == "__main__":
    cyclopts.run(main)
