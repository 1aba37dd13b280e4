"""Which question, with how many shots, at every training step: the mixture of zero-shot and few-shot prompts."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError

LOSSES = {"zero_shot": (1.0,), "mixture": (0.5, 0.625, 0.75, 0.875, 1.0)}
"""Probability of a zero-shot prompt in each epoch; the last one holds for all further epochs."""

ORDER, SHOTS, PROMPTS = 1, 2, 3
"""Tags of the streams of randomness: order of the questions, number of shots, and what the prompt draws."""


class Draw(NamedTuple):
    """One prompt of a training step.

    Attributes:
        question: number of the training question.
        shots: examples before it.
        seed: of the examples in the prompt.
    """

    question: int
    shots: int
    seed: int


def probabilities(loss: str) -> tuple[float, ...]:
    """Return the probability of a zero-shot prompt in each epoch.

    Args:
        loss: `zero_shot`, `mixture` (the published schedule), or probabilities separated by commas.

    Returns:
        The probabilities.

    Raises:
        InputError: if it is none of these.

    Example:
        >>> probabilities("mixture"), probabilities("0.5,1")
        ((0.5, 0.625, 0.75, 0.875, 1.0), (0.5, 1.0))
    """
    if loss in LOSSES:
        return LOSSES[loss]
    if not loss[:1].isdigit() and not loss.startswith("."):
        checks.as_choice("loss", loss, tuple(LOSSES))
    chosen = tuple(checks.as_number("loss", part) for part in loss.split(","))
    if not all(0 <= one <= 1 for one in chosen):
        raise InputError(f"loss is {loss!r}; the probabilities of a zero-shot prompt must be between 0 and 1")
    return chosen


def draws(
    zero_shot: Sequence[float], num_questions: int, *, epochs: int, steps: int, batch_size: int, shots: int, seed: int
) -> Iterator[list[Draw]]:
    """Yield the prompts of every step, epoch after epoch.

    An epoch goes through the questions in a fresh order, again and again if it is longer than they are.

    Args:
        zero_shot: probability of a zero-shot prompt in each epoch, see `probabilities`.
        num_questions: number of training questions.
        epochs: number of epochs.
        steps: steps of an epoch.
        batch_size: prompts of a step.
        shots: of a few-shot prompt.
        seed: of the data; the same seed gives the same questions in the same order under every schedule.

    Yields:
        The prompts of a step.
    """
    for epoch in range(epochs):
        order, kinds, prompts = (np.random.default_rng([seed, tag, epoch]) for tag in (ORDER, SHOTS, PROMPTS))
        size = steps * batch_size
        rounds = [order.permutation(num_questions) for _ in range(-(-size // num_questions))]
        questions = np.concatenate(rounds)[:size].tolist()
        few = kinds.random(size) >= zero_shot[min(epoch, len(zero_shot) - 1)]
        seeds = prompts.integers(2**31, size=size).tolist()
        every = [Draw(question, shots if one else 0, child) for question, one, child in zip(questions, few, seeds, strict=True)]
        for step in range(steps):
            yield every[step * batch_size : (step + 1) * batch_size]
