"""Training of small models, many steps a program: with a step a call, calls would take most of the time."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from tunix.models.qwen2.model import Qwen2
from tunix.sft import utils

from lsa_jax.lm.batches import Batch, collate
from lsa_jax.lm.divergence import BROKEN, DivergedError
from lsa_jax.lm.examples import Example
from lsa_jax.lm.finetune import Training
from lsa_jax.lm.loss import response_loss
from lsa_jax.lm.metrics import Report


def train(
    model: Qwen2, examples: Iterator[Sequence[Example]], training: Training, *, report: Report, stop: Callable[[], bool]
) -> Iterator[int]:
    """Train the adapters of a model, or all its parameters if it has none, as `lsa_jax.lm.finetune.finetune` does but for files.

    Args:
        model: the model; changed in place.
        examples: what every step learns.
        training: how the parameters move; `checkpoint_every` steps are one program, or what is left of all.
        report: told the last step and loss of every program.
        stop: asked before every program whether to stop.

    Yields:
        The number of steps made, after every program; the model has their parameters.

    Raises:
        DivergedError: if a loss is no finite number.
        KeyboardInterrupt: if it was stopped.
    """
    kind = nnx.LoRAParam if utils.is_lora_enabled(model) else nnx.Param
    graph, moving, fixed = nnx.split(model, kind, ...)
    memory = training.optimizer().init(moving)
    for begun in range(0, training.steps, training.checkpoint_every):
        if stop():
            raise KeyboardInterrupt
        done = min(begun + training.checkpoint_every, training.steps)
        batches = _stacked([next(examples) for _ in range(begun, done)], training.max_length)
        moving, memory, losses = _steps(training, graph, moving, fixed, memory, batches)
        if not np.isfinite(losses).all():
            raise DivergedError(f"a loss before step {done} is {BROKEN}; take a smaller learning rate")
        nnx.update(model, moving)
        report(done, float(losses[-1]))
        yield done


def _stacked(steps: Sequence[Sequence[Example]], max_length: int) -> Batch:
    """Batches of several steps, (steps, examples, ...), all padded to the longest; the loss of each is the mean over what it learns."""
    every = collate([example for examples in steps for example in examples], 1.0, max_length)
    batches = {name: array.reshape(len(steps), -1, *array.shape[1:]) for name, array in every.items()}
    return {**batches, "weights": batches["weights"] / batches["weights"].sum(axis=(1, 2), keepdims=True)}


@partial(jax.jit, static_argnums=0)
def _steps(training: Training, graph: Any, moving: Any, fixed: Any, memory: Any, batches: Any) -> tuple[Any, Any, jax.Array]:
    """Parameters, moments and losses after a step a batch."""
    optimizer = training.optimizer()

    def step(state: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        moving, memory = state
        loss, slope = jax.value_and_grad(lambda one: response_loss(nnx.merge(graph, one, fixed), **batch))(moving)
        updates, memory = optimizer.update(slope, memory, moving)
        return (optax.apply_updates(moving, updates), memory), loss

    (moving, memory), losses = jax.lax.scan(step, (moving, memory), batches)
    return moving, memory, losses
