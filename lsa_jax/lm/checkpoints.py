"""What tunix's trainer leaves in the folder of a run: checkpoints, found and restored, and a line of metrics a step."""

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from flax import nnx
from tunix.sft.checkpoint_manager import CheckpointManager
from tunix.sft.metrics_logger import MetricsLogger

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.families import Decoder

FOLDER, WEIGHTS, METRICS = "checkpoints", "model_params", "metrics.jsonl"
"""The folder of a run's checkpoints, in each of them that of the weights, and the file of metrics."""
KEPT = ("loss", "grad_norm")
Report = Callable[[int, float], None]
"""What is told of every finished step: its number and its loss."""


def options(every: int) -> ocp.CheckpointManagerOptions:
    """Return orbax's options with which checkpoints are saved every so many steps, all of them kept."""
    policy = ocp.checkpoint_managers.FixedIntervalPolicy(every)
    return ocp.CheckpointManagerOptions(save_decision_policy=policy, max_to_keep=None, enable_async_checkpointing=False)


def steps(run: Path) -> list[int]:
    """Return the steps that a run has checkpoints of, in order; none if it has not begun."""
    folder = run / FOLDER
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def last(run: Path) -> int:
    """Return the step of a run's last checkpoint; 0 if there is none."""
    return max(steps(run), default=0)


def planned(run: Path, total: int, every: int) -> list[int]:
    """Return the steps of a run of `total` steps with checkpoints that were planned, leaving out those of interruptions."""
    return [step for step in steps(run) if step % every == 0 or step == total]


def fingerprint(run: Path, step: int) -> str:
    """Return 20 digits of a digest of the weights of a checkpoint, from its files; the same weights that are trained again have others."""
    folder, digest = run / FOLDER / str(step) / WEIGHTS, hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def reading(run: Path, step: int) -> Generator[None]:
    """Tell in one line, as `InputError`, that the checkpoint that is read in the block is damaged."""
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        place = run / FOLDER / str(step)
        raise InputError(f"the checkpoint {place} cannot be read ({reason}); delete it and train again from the one before") from None


def check_saved(run: Path, step: int) -> None:
    """Refuse a step that a run has no checkpoint of."""
    saved = steps(run)
    if step not in saved:
        raise InputError(f"{run} has no checkpoint of step {step}; it has {', '.join(map(str, saved)) or 'none yet'}")


def restore(run: Path, step: int, model: Decoder) -> None:
    """Put the parameters of a checkpoint into a model.

    Args:
        run: the folder of the run.
        step: which checkpoint.
        model: the model, with the adapters of the run if it has some; changed in place.

    Raises:
        InputError: if there is no such checkpoint, or it cannot be read.
        DivergedError: if its weights are no finite numbers.
    """
    check_saved(run, step)
    kind, manager = forward.trained(model), CheckpointManager(str((run / FOLDER).absolute()))
    with contextlib.closing(manager), reading(run, step):
        manager.maybe_restore(model, step=step, restore_only_lora_params=kind is nnx.LoRAParam)
    wrong = forward.first_not_finite(forward.tensors(model, kind))
    if wrong is not None:
        raise forward.DivergedError(f"the checkpoint of step {step} in {run} has {forward.BROKEN} in {wrong}")


class MetricsFile(MetricsLogger):
    """The logger that tunix's trainer writes to: a file of lines, of which those of steps after `step`, made again, are dropped."""

    def __init__(self, path: Path, step: int, report: Report) -> None:
        super().__init__()
        self._report = report
        kept = [line for line in read_metrics(path) if line["step"] <= step]
        with store.replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._line: dict[str, Any] = {}
        self.diverged: str | None = None

    def log(self, metrics_prefix: str, metric_name: str, scalar_value: Any, mode: Any, step: int) -> None:
        """Take one number of a step; the last that is kept writes the line, where it survives an interruption."""
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


def read_metrics(path: Path) -> list[dict[str, Any]]:
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
