"""Run benchmarks by name, or all: `python -m benchmarks [name ...] --out FOLDER`."""

import statistics
from pathlib import Path

import cyclopts

from benchmarks import sweeps, training
from lsa_jax import store

CASES = {"sampled_steps": training.sampled_steps, "population_runs": training.population_runs, "sweep_throughput": sweeps.sweep_throughput}


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
            print(f"  {way:<24} median {statistics.median(seconds):.3f}  range {min(seconds):.3f} to {max(seconds):.3f}")
        for way, (ratio, low, high) in measured.get("speedup", {}).items():
            print(f"  {way:<24} {ratio:.1f} times the first (95 % interval {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    cyclopts.run(main)
