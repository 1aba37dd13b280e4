"""What every training step reads: which questions with how many examples before them, and their tokens as padded arrays."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError

LOSSES = {"zero_shot": (1.0,), "mixture": (0.5, 0.625, 0.75, 0.875, 1.0)}
"""Probability of a zero-shot prompt in each epoch; the last one holds for all further epochs."""

ORDER, SHOTS, PROMPTS = 1, 2, 3
"""Tags of the streams of randomness: order of the questions, number of shots, and what the prompt draws."""
Batch = dict[str, np.ndarray]
"""Arrays by the names of the arguments of `lsa_jax.lm.forward.response_loss`."""


class Example(NamedTuple):
    """Token ids of a prompt and of the response that the loss is on.

    Attributes:
        prompt: ids that are read only.
        response: ids that are learned, with the end-of-turn token if there is one.
        learned: which of them the loss is on; all, unless it says otherwise.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    learned: tuple[bool, ...] | None = None

    @property
    def num_learned(self) -> int:
        """Number of ids that the loss is on."""
        return len(self.response) if self.learned is None else sum(self.learned)


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


def padded_length(length: int, *, least: int = 8) -> int:
    """Return the next length that is a power of two or one and a half times one, so that few lengths are compiled.

    Args:
        length: what must fit.
        least: the shortest length.

    Returns:
        The padded length.

    Example:
        >>> [padded_length(length) for length in (3, 8, 9, 13, 400, 2500)]
        [8, 8, 12, 16, 512, 3072]
    """
    size = least
    while size < length:
        size = max(size + 1, size * 3 // 2) if size & (size - 1) == 0 else size // 3 * 4
    return size


def collate(examples: Sequence[Example], weight: float, max_length: int) -> Batch:
    """Pad examples on the right and say where their responses are.

    Args:
        examples: what the step learns.
        weight: of every learned token in the loss.
        max_length: longest example that is allowed.

    Returns:
        tokens and mask, shape (examples, length), and for the response tokens places (of the states that predict them), labels and
        weights, shape (examples, longest response); weights are 0 at padding and where nothing is learned.

    Raises:
        InputError: if a response is empty or an example too long.
    """
    longest = longest_of(examples, max_length)
    if not all(one.prompt and one.response for one in examples):
        raise InputError("an example has no prompt or no response; every example needs a token of each")
    length = min(padded_length(longest), max(longest, max_length))
    answers = padded_length(max(len(one.response) for one in examples), least=1)
    tokens, mask = np.zeros((len(examples), length), np.int32), np.zeros((len(examples), length), bool)
    places, labels, weights = (np.zeros((len(examples), answers), kind) for kind in (np.int32, np.int32, np.float32))
    for row, one in enumerate(examples):
        ids = [*one.prompt, *one.response]
        tokens[row, : len(ids)], mask[row, : len(ids)] = ids, True
        places[row, : len(one.response)] = np.arange(len(one.prompt) - 1, len(ids) - 1)
        labels[row, : len(one.response)] = one.response
        weights[row, : len(one.response)] = weight if one.learned is None else weight * np.array(one.learned)
    return {"tokens": tokens, "mask": mask, "places": places, "labels": labels, "weights": weights}


def longest_of(examples: Iterable[Example], max_length: int) -> int:
    """Return the number of tokens of the longest example.

    Args:
        examples: at least one.
        max_length: longest example that is allowed.

    Returns:
        The number.

    Raises:
        InputError: if it is too long.
    """
    longest = max(len(one.prompt) + len(one.response) for one in examples)
    if longest > max_length:
        raise InputError(f"an example has {longest} tokens, at most {max_length} are allowed: raise --max-length, or take fewer shots")
    return longest


def micro_batches(examples: Sequence[Example], accumulation: int, max_length: int) -> list[Batch]:
    """Split the examples of one step into the parts whose gradients are averaged.

    Weights are such that the mean gradient of the parts is that of the mean over all learned tokens of the step.

    Args:
        examples: of one step; their number is a multiple of `accumulation`.
        accumulation: number of parts.
        max_length: longest example that is allowed.

    Returns:
        The parts.
    """
    weight = accumulation / max(1, sum(one.num_learned for one in examples))
    size = len(examples) // accumulation
    return [collate(examples[place * size : (place + 1) * size], weight, max_length) for place in range(accumulation)]
