"""Fine-tuning: batches of examples through tunix's trainer with optax's AdamW, checkpoints from which any interruption goes on."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optax
from flax import nnx
from tunix.models.qwen2.model import Qwen2
from tunix.sft import utils
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, forward, metrics
from lsa_jax.lm.batches import Batch, micro_batches
from lsa_jax.lm.divergence import BROKEN, DivergedError, first_not_finite
from lsa_jax.lm.examples import Example
from lsa_jax.lm.loss import response_loss

NEVER, DISK_FULL = 2**31, "No space left on device"
DIVERGED = "diverged.json"
"""What a run that has diverged leaves in its folder, so that it is neither gone on with nor taken for a good one."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How the parameters move.

    Attributes:
        steps: number of updates.
        learning_rate: at the first step; it falls linearly to zero after the last.
        accumulation: parts that the examples of a step are split into, to save memory.
        clip: largest norm of the gradient.
        weight_decay: of AdamW.
        checkpoint_every: steps from one checkpoint to the next.
        max_length: longest example in tokens.
    """

    steps: int
    learning_rate: float = 1e-5
    accumulation: int = 1
    clip: float = 1.0
    weight_decay: float = 0.0
    checkpoint_every: int = 20
    max_length: int = 4096

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation", "checkpoint_every", "max_length"):
            checks.as_count(name, getattr(self, name))
        for name in ("learning_rate", "clip"):
            checks.as_scale(name, getattr(self, name), minimum=0.0, zero_allowed=False)
        checks.as_scale("weight_decay", self.weight_decay, minimum=0.0)

    def optimizer(self) -> optax.GradientTransformation:
        """Return AdamW after clipping, as published.

        Returns:
            The optimiser.
        """
        rate = optax.linear_schedule(self.learning_rate, 0.0, self.steps)
        adam = optax.adamw(rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=self.weight_decay)
        return optax.chain(optax.clip_by_global_norm(self.clip), adam)


class _Trainer(PeftTrainer):
    """tunix's trainer, which tells the metrics of a step before its checkpoint is written, so that a kill loses none that count."""

    def _write_train_metrics(self) -> None:
        """Pass on the numbers of this step; tunix's own first call only keeps them for the next one."""
        super()._write_train_metrics()
        super()._write_train_metrics()


def finetune(
    model: Qwen2,
    steps: Iterable[Sequence[Example]],
    training: Training,
    run: Path,
    *,
    report: metrics.Report = lambda step, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train the adapters of a model, or all its parameters if it has none, from the last checkpoint in the folder on.

    The parameters of the last step are in the model afterwards; on CPU they are bitwise the same however often the run was interrupted.

    Args:
        model: the model; changed in place.
        steps: the examples of every step from the first on; those made before an interruption are passed over.
        training: how the parameters move.
        run: folder for checkpoints and metrics.
        report: told of every finished step.
        stop: asked before every step whether to stop; a checkpoint is written then.

    Returns:
        The number of steps made so far, fewer than all if it was stopped.

    Raises:
        InputError: if the examples of a step cannot be split evenly, one is too long, or the last checkpoint is damaged.
        OSError: if the disk is full.
        DivergedError: if a loss, a gradient or a trained parameter is no finite number, in this run or when it was begun before.
    """
    run.mkdir(parents=True, exist_ok=True)
    check_not_diverged(run)
    logging.getLogger("absl").setLevel(logging.ERROR)
    done = checkpoints.last(run)
    config = TrainingConfig(
        eval_every_n_steps=NEVER,
        gradient_accumulation_steps=training.accumulation if training.accumulation > 1 else None,
        checkpoint_root_directory=str((run / checkpoints.FOLDER).absolute()),
        checkpointing_options=checkpoints.options(training.checkpoint_every),
    )
    loss: Any = response_loss
    with contextlib.closing(metrics.MetricsFile(run / metrics.FILE, done, report)) as log:
        with checkpoints.reading(run, done):
            trainer = _Trainer(model, training.optimizer(), config, metrics_logger=log).with_loss_fn(loss)
        try:
            trainer.train(_batches(steps, training, done, lambda: log.diverged is not None or stop()))
        except (ValueError, RuntimeError) as error:
            if DISK_FULL not in str(error):
                raise
            raise OSError(f"{run} cannot be written ({DISK_FULL}): free some space and run the same command to resume") from None
    if log.diverged is None:
        wrong = first_not_finite(forward.tensors(model, nnx.LoRAParam if utils.is_lora_enabled(model) else nnx.Param))
        log.diverged = None if wrong is None else f"{wrong} has {BROKEN} after step {trainer.train_steps}"
    if log.diverged is not None:
        store.save_json(run / DIVERGED, {"reason": log.diverged})
        check_not_diverged(run)
    return trainer.train_steps


def check_not_diverged(run: Path) -> None:
    """Refuse to go on with a run that has diverged.

    Args:
        run: its folder.

    Raises:
        DivergedError: if it has.
    """
    if (run / DIVERGED).is_file():
        reason = store.load_json(run / DIVERGED)["reason"]
        raise DivergedError(f"the run in {run} diverged: {reason}; take a smaller --learning-rate and another --out")


def _batches(steps: Iterable[Sequence[Example]], training: Training, done: int, stop: Callable[[], bool]) -> Iterator[Batch | None]:
    """Arrays of every part of every step; of those done before only their number, which the trainer passes over."""
    for step, examples in zip(range(training.steps), steps, strict=False):
        if step < done:
            yield from [None] * training.accumulation
            continue
        if stop():
            return
        if len(examples) % training.accumulation:
            raise InputError(f"a step has {len(examples)} examples, not a multiple of accumulation {training.accumulation}")
        yield from micro_batches(examples, training.accumulation, training.max_length)
