"""Checkpoints of a training run: what tunix's trainer saves with orbax, found and restored."""

import contextlib
import hashlib
from collections.abc import Generator
from pathlib import Path

import orbax.checkpoint as ocp
from flax import nnx
from tunix.models.qwen2.model import Qwen2
from tunix.sft import utils
from tunix.sft.checkpoint_manager import CheckpointManager

from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.divergence import BROKEN, DivergedError, first_not_finite

FOLDER, WEIGHTS = "checkpoints", "model_params"
"""The folder of a run's checkpoints, and in each of them that of the weights."""


def options(every: int) -> ocp.CheckpointManagerOptions:
    """Return when checkpoints are saved: every so many steps, all of them kept.

    Args:
        every: number of steps.

    Returns:
        orbax's options.
    """
    policy = ocp.checkpoint_managers.FixedIntervalPolicy(every)
    return ocp.CheckpointManagerOptions(save_decision_policy=policy, max_to_keep=None, enable_async_checkpointing=False)


def steps(run: Path) -> list[int]:
    """Return the steps that a run has checkpoints of.

    Args:
        run: the folder of the run.

    Returns:
        The steps in order; none if it has not begun.
    """
    folder = run / FOLDER
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def last(run: Path) -> int:
    """Return the step of a run's last checkpoint.

    Args:
        run: the folder of the run.

    Returns:
        The step; 0 if there is none.
    """
    return max(steps(run), default=0)


def planned(run: Path, total: int, every: int) -> list[int]:
    """Return the steps with checkpoints that were planned, leaving out those of interruptions.

    Args:
        run: the folder of the run.
        total: its number of steps.
        every: steps from one checkpoint to the next.

    Returns:
        The steps in order.
    """
    return [step for step in steps(run) if step % every == 0 or step == total]


def fingerprint(run: Path, step: int) -> str:
    """Return a digest of the weights of a checkpoint, from its files.

    Args:
        run: the folder of the run.
        step: which checkpoint.

    Returns:
        20 hexadecimal digits; those of the same weights that were trained again differ.
    """
    folder, digest = run / FOLDER / str(step) / WEIGHTS, hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def reading(run: Path, step: int) -> Generator[None]:
    """Tell in one line that a checkpoint is damaged.

    Args:
        run: the folder of the run.
        step: which checkpoint is read in the block.

    Yields:
        Nothing.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        place = run / FOLDER / str(step)
        raise InputError(f"the checkpoint {place} cannot be read ({reason}); delete it and train again from the one before") from None


def check_saved(run: Path, step: int) -> None:
    """Refuse a step that a run has no checkpoint of.

    Args:
        run: the folder of the run.
        step: which checkpoint.

    Raises:
        InputError: if there is no such checkpoint.
    """
    saved = steps(run)
    if step not in saved:
        raise InputError(f"{run} has no checkpoint of step {step}; it has {', '.join(map(str, saved)) or 'none yet'}")


def restore(run: Path, step: int, model: Qwen2) -> None:
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
    manager = CheckpointManager(str((run / FOLDER).absolute()))
    with contextlib.closing(manager), reading(run, step):
        manager.maybe_restore(model, step=step, restore_only_lora_params=utils.is_lora_enabled(model))
    wrong = first_not_finite(forward.tensors(model, nnx.LoRAParam if utils.is_lora_enabled(model) else nnx.Param))
    if wrong is not None:
        raise DivergedError(f"the checkpoint of step {step} in {run} has {BROKEN} in {wrong}")
