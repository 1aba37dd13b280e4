"""Results as Markdown and figures, from the JSON files alone: `python -m benchmarks.report FOLDER`."""

import json
import statistics
from pathlib import Path
from typing import Any

import cyclopts

from benchmarks import scaling
from lsa_jax import store

RATIOS = {
    "speedup": "times as fast as the first",
    "speedup_against_strongest": "times as fast as the strongest peer",
    "speedup_in_processor_time": "times less processor time than the first on one thread",
    "share_of_matrix_product_rate": "of the rate of matrix products of that size",
    "share_of_bare_programs": "of the throughput of the bare programs",
    "time_against_in_process": "times the time in process",
    "processor_time_against_in_process": "times the processor time in process",
    "speedup_by_second_worker": "times as fast as one worker",
    "time_against_new_seeds": "times the time of as many seeds in a folder of their own",
    "time_at_a_million_shots_against_ten": "times the time at 10 shots",
}


def main(folder: Path) -> None:
    """Write `report.md` and a figure of each scaling study beside the results.

    Args:
        folder: a folder of results.
    """
    texts = ["# Benchmarks", ""]
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        texts.append(report(record))
        if scaling.lines(record):
            with store.replacing(path.with_suffix(".png")) as temporary:
                scaling.plot(record).savefig(temporary, format="png", dpi=200, metadata={"Software": None})
            texts.append(f"\n![{record['case']}]({path.stem}.png)\n")
    (folder / "report.md").write_text("\n".join(texts).rstrip() + "\n")


def report(record: dict[str, Any]) -> str:
    """Return one case as Markdown: medians with their range over rounds, ratios with their 95 % interval, and scaling exponents.

    Args:
        record: what a case wrote.

    Returns:
        The text.
    """
    environment = record["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [f"## {record['case']}", "", f"{environment['device']}, {environment['machine']}; {versions}", ""]
    lines += _rows(record)
    for name, meaning in RATIOS.items():
        for way, (ratio, low, high) in record.get(name, {}).items():
            lines.append(f"* {way}: {ratio:.3g} {meaning} ({low:.3g} to {high:.3g})")
    for line in scaling.lines(record):
        power = scaling.exponents(record, line)
        slope, low, high = power["time"]
        memory = f"; planned memory as its power {power['memory']:.2f}" if power["memory"] is not None else ""
        lines.append(f"* {line['series']}: time as {line['size']} to the power {slope:.2f} ({low:.2f} to {high:.2f}){memory}")
    if rates := record.get("rates"):
        best = ", ".join(f"{rate:.3g} {name}/s" for name, rate in rates.items())
        lines.append(f"* the machine beside it: {best}")
    for name in ("agreement", "whole_sweep", "experiment"):
        if name in record:
            told = (f"{key.replace('_', ' ')} {_told(value)}" for key, value in record[name].items())
            lines.append(f"* {name.replace('_', ' ')}: {', '.join(told)}")
    return "\n".join(lines)


def _rows(record: dict[str, Any]) -> list[str]:
    """The table of medians; for a scaling study with compile time, planned memory and the share of the binding limit."""
    points = {point["name"]: point for point in record.get("points", []) if "compile_seconds" in point}
    extra = " compiling | memory | share of limit |" if points else ""
    rows = [f"| {record['unit']} | median | range | rounds |{extra}", "|---|---|---|---|" + "---|" * extra.count("|")]
    for way, taken in record["seconds"].items():
        row = f"| {way} | {statistics.median(taken):.3g} | {min(taken):.3g} to {max(taken):.3g} | {len(taken)} |"
        if way in points:
            share = record["share_of_limit"].get(way)
            told = f"{share[0]:.2g} of {share[3]}" if share else ""
            row += f" {points[way]['compile_seconds']:.1f} s | {points[way]['memory'] / 2**20:.3g} MiB | {told} |"
        rows.append(row)
    return [*rows, ""]


def _told(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    cyclopts.run(main)
