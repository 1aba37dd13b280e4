"""Metrics of a training run on disk: one JSON line a step, told to whoever shows progress."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunix.sft.metrics_logger import MetricsLogger

from lsa_jax import store

FILE = "metrics.jsonl"
KEPT = ("loss", "grad_norm")
Report = Callable[[int, float], None]
"""What is told of every finished step: its number and its loss."""


class MetricsFile(MetricsLogger):
    """The logger that tunix's trainer writes to.

    Args:
        path: the file; made if it does not exist.
        step: lines of later steps are dropped, since these steps are made again.
        report: told of every step.
    """

    def __init__(self, path: Path, step: int, report: Report) -> None:
        super().__init__()
        self._report = report
        kept = [line for line in read(path) if line["step"] <= step]
        with store.replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._line: dict[str, Any] = {}
        self.diverged: str | None = None

    def log(self, metrics_prefix: str, metric_name: str, scalar_value: Any, mode: Any, step: int) -> None:
        """Take one number of a step; the last that is kept writes the line, where it survives an interruption.

        Args:
            metrics_prefix: not used.
            metric_name: what it is.
            scalar_value: the number.
            mode: not used.
            step: which step.
        """
        if metric_name not in KEPT:
            return
        self._line |= {"step": step, metric_name: float(scalar_value)}
        if not math.isfinite(scalar_value):
            self.diverged = self.diverged or f"{metric_name} is {float(scalar_value)} at step {step}"
        if self._line.keys() >= set(KEPT):
            self._file.write(json.dumps(self._line) + "\n")
            self._file.flush()
            self._report(step, self._line["loss"])
            self._line = {}

    def close(self) -> None:
        """Close the file; a second time it does nothing."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run.

    Args:
        path: the file.

    Returns:
        One dictionary a step, with step, loss and the gradient's norm before clipping; none if there is no file. A line that was cut
        short or damaged is left out.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return [found for line in lines if (found := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    """The numbers of a line; None if it is damaged."""
    try:
        found = json.loads(line)
        return {"step": int(found["step"]), "loss": float(found["loss"]), **found}
    except (ValueError, KeyError, TypeError):
        return None
