"""Results as Markdown, from the JSON files alone: `python -m benchmarks.report FOLDER`."""

import json
import statistics
from pathlib import Path
from typing import Any

import cyclopts

RATIOS = {
    "speedup": "times as fast as the first",
    "share_of_matrix_product_rate": "of the rate of matrix products",
    "time_at_a_million_shots_against_ten": "times the time at 10 shots",
}


def main(folder: Path) -> None:
    """Print a report of every result in a folder.

    Args:
        folder: a folder of results.
    """
    for path in sorted(folder.glob("*.json")):
        print(report(json.loads(path.read_text())))


def report(record: dict[str, Any]) -> str:
    """Return one case as Markdown: medians with their range over rounds, and ratios with their 95 % interval.

    Args:
        record: what a case wrote.

    Returns:
        The text.
    """
    environment = record["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [f"## {record['case']}", "", f"{environment['device']}, {environment['machine']}; {versions}", ""]
    lines += [f"| {record['unit']} | median | range | rounds |", "|---|---|---|---|"]
    for way, rounds in record["seconds"].items():
        lines.append(f"| {way} | {statistics.median(rounds):.3g} | {min(rounds):.3g} to {max(rounds):.3g} | {len(rounds)} |")
    lines.append("")
    for name, meaning in RATIOS.items():
        found = record.get(name, {})
        for way, (ratio, low, high) in (found if isinstance(found, dict) else {"n = 1e6": found}).items():
            lines.append(f"* {way}: {ratio:.3g} {meaning} ({low:.3g} to {high:.3g})")
    return "\n".join(lines)


if __name__ == "__main__":
    cyclopts.run(main)
