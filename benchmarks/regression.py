"""A check that compares ratios, not seconds: `python -m benchmarks.regression NEW BASELINE`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cyclopts

TOLERANCE = 0.25
"""A ratio has fallen when the whole of its interval lies below the baseline's by more than this part of it."""

RATIOS = (
    *("speedup", "speedup_against_strongest", "speedup_by_second_worker"),
    *("share_of_limit", "share_of_matrix_product_rate", "share_of_bare_programs"),
)


def main(new: Path, baseline: Path) -> None:
    """Compare every ratio that two folders of results have in common, and exit with 1 where one has fallen.

    Args:
        new: folder of the results to check.
        baseline: folder of the results to compare with, of the same machine class.
    """
    compared, fallen = 0, 0
    for path in sorted(new.glob("*.json")):
        if not (baseline / path.name).exists():
            continue
        old = dict(ratios(json.loads((baseline / path.name).read_text())))
        for name, (ratio, _, high) in ratios(json.loads(path.read_text())):
            if name in old:
                compared += 1
                if high < (1 - TOLERANCE) * old[name][0]:
                    fallen += 1
                    print(f"{path.stem}: {name} is {ratio:.3g} (at most {high:.3g}); it was {old[name][0]:.3g}")
    print(f"{compared} ratios compared, {fallen} fallen")
    sys.exit(1 if fallen or not compared else 0)


def ratios(record: dict[str, Any]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """List the ratios of a record.

    Args:
        record: what a case wrote.

    Yields:
        A name, and the ratio with the ends of its interval.
    """
    for kind in RATIOS:
        for way, (ratio, low, high, *_) in record.get(kind, {}).items():
            yield f"{kind} of {way}", (ratio, low, high)


if __name__ == "__main__":
    cyclopts.run(main)
