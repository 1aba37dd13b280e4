"""Checkpoints of a training run: what tunix's trainer saves with orbax, found and restored."""

from pathlib import Path

import orbax.checkpoint as ocp
from tunix.models.qwen2.model import Qwen2
from tunix.sft import utils
from tunix.sft.checkpoint_manager import CheckpointManager

from lsa_jax.errors import InputError

FOLDER = "checkpoints"


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


def restore(run: Path, step: int, model: Qwen2) -> None:
    """Put the parameters of a checkpoint into a model.

    Args:
        run: the folder of the run.
        step: which checkpoint.
        model: the model, with the adapters of the run if it has some; changed in place.

    Raises:
        InputError: if there is no such checkpoint, or it cannot be read.
    """
    saved = steps(run)
    if step not in saved:
        raise InputError(f"{run} has no checkpoint of step {step}; it has {', '.join(map(str, saved)) or 'none yet'}")
    manager = CheckpointManager(str((run / FOLDER).absolute()))
    try:
        manager.maybe_restore(model, step=step, restore_only_lora_params=utils.is_lora_enabled(model))
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"the checkpoint of step {step} in {run} cannot be read ({reason}); delete it and train again") from None
    finally:
        manager.close()
