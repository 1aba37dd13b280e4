"""Fine-tuning with optax's AdamW: through tunix's trainer, with checkpoints, or, for small models, many steps a program."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from tunix.sft.peft_trainer import PeftTrainer, TrainingConfig

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints
from lsa_jax.lm.batches import Batch, Example, collate, micro_batches
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.forward import BROKEN, DivergedError, first_not_finite, response_loss, tensors, trained
from lsa_jax.lm.settings import FinetuneSettings

NEVER, DISK_FULL = 2**31, "No space left on device"
LARGEST_NORM = 1.0
DIVERGED = "diverged.json"
"""What a run that has diverged leaves in its folder, so that it is neither gone on with nor taken for a good one."""


def optimizer(settings: FinetuneSettings) -> optax.GradientTransformation:
    """Return AdamW after clipping, as published: its rate falls linearly to zero after the last step."""
    rate = optax.linear_schedule(settings.learning_rate, 0.0, settings.total_steps)
    adam = optax.adamw(rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0)
    return optax.chain(optax.clip_by_global_norm(LARGEST_NORM), adam)


class _Trainer(PeftTrainer):
    """tunix's trainer, which tells the metrics of a step before its checkpoint is written, so that a kill loses none that count."""

    def _write_train_metrics(self) -> None:
        """Pass on the numbers of this step; tunix's own first call only keeps them for the next one."""
        super()._write_train_metrics()
        super()._write_train_metrics()


def finetune(
    model: Decoder,
    steps: Iterable[Sequence[Example]],
    settings: FinetuneSettings,
    run: Path,
    *,
    report: checkpoints.Report = lambda step, loss: None,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train the adapters of a model, or all its parameters if it has none, from the last checkpoint in the folder on.

    The parameters of the last step are in the model afterwards; on CPU they are bitwise the same however often the run was interrupted.

    Args:
        model: the model; changed in place.
        steps: the examples of every step from the first on; those made before an interruption are passed over.
        settings: how the parameters move.
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
        gradient_accumulation_steps=settings.accumulation if settings.accumulation > 1 else None,
        checkpoint_root_directory=str((run / checkpoints.FOLDER).absolute()),
        checkpointing_options=checkpoints.options(settings.checkpoint_every),
    )
    loss: Any = response_loss
    with contextlib.closing(checkpoints.MetricsFile(run / checkpoints.METRICS, done, report)) as log:
        with checkpoints.reading(run, done):
            trainer = _Trainer(model, optimizer(settings), config, metrics_logger=log).with_loss_fn(loss)
        try:
            trainer.train(_batches(steps, settings, done, lambda: log.diverged is not None or stop()))
        except (ValueError, RuntimeError) as error:
            if DISK_FULL not in str(error):
                raise
            raise OSError(f"{run} cannot be written ({DISK_FULL}): free some space and run the same command to resume") from None
    if log.diverged is None:
        wrong = first_not_finite(tensors(model, trained(model)))
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


def train(
    model: Decoder,
    examples: Iterator[Sequence[Example]],
    settings: FinetuneSettings,
    *,
    report: checkpoints.Report,
    stop: Callable[[], bool],
) -> Iterator[int]:
    """Train a small model as `finetune` does but for files, many steps a program, since calls would take most of the time.

    Args:
        model: the model; changed in place.
        examples: what every step learns.
        settings: how the parameters move; `checkpoint_every` steps are one program, or what is left of all.
        report: told the last step and loss of every program.
        stop: asked before every program whether to stop.

    Yields:
        The number of steps made, after every program; the model has their parameters.

    Raises:
        DivergedError: if a loss is no finite number.
        KeyboardInterrupt: if it was stopped.
    """
    graph, moving, fixed = nnx.split(model, trained(model), ...)
    memory = optimizer(settings).init(moving)
    for begun in range(0, settings.total_steps, settings.checkpoint_every):
        if stop():
            raise KeyboardInterrupt
        done = min(begun + settings.checkpoint_every, settings.total_steps)
        batches = _stacked([next(examples) for _ in range(begun, done)], settings.max_length)
        moving, memory, losses = _steps(settings, graph, moving, fixed, memory, batches)
        if not np.isfinite(losses).all():
            raise DivergedError(f"a loss before step {done} is {BROKEN}; take a smaller learning rate")
        nnx.update(model, moving)
        report(done, float(losses[-1]))
        yield done


def _batches(steps: Iterable[Sequence[Example]], settings: FinetuneSettings, done: int, stop: Callable[[], bool]) -> Iterator[Batch | None]:
    """Arrays of every part of every step; of those done before only their number, which the trainer passes over."""
    for step, examples in zip(range(settings.total_steps), steps, strict=False):
        if step < done:
            yield from [None] * settings.accumulation
            continue
        if stop():
            return
        if len(examples) % settings.accumulation:
            raise InputError(f"a step has {len(examples)} examples, not a multiple of accumulation {settings.accumulation}")
        yield from micro_batches(examples, settings.accumulation, settings.max_length)


def _stacked(steps: Sequence[Sequence[Example]], max_length: int) -> Batch:
    """Batches of several steps, (steps, examples, ...), all padded to the longest; the loss of each is the mean over what it learns."""
    every = collate([example for examples in steps for example in examples], 1.0, max_length)
    batches = {name: array.reshape(len(steps), -1, *array.shape[1:]) for name, array in every.items()}
    return {**batches, "weights": batches["weights"] / batches["weights"].sum(axis=(1, 2), keepdims=True)}


@partial(jax.jit, static_argnums=0)
def _steps(settings: FinetuneSettings, graph: Any, moving: Any, fixed: Any, memory: Any, batches: Any) -> tuple[Any, Any, jax.Array]:
    """Parameters, moments and losses after a step a batch."""
    rule = optimizer(settings)

    def step(state: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        moving, memory = state
        loss, slope = jax.value_and_grad(lambda one: response_loss(nnx.merge(graph, one, fixed), **batch))(moving)
        updates, memory = rule.update(slope, memory, moving)
        return (optax.apply_updates(moving, updates), memory), loss

    (moving, memory), losses = jax.lax.scan(step, (moving, memory), batches)
    return moving, memory, losses
