"""Examples to padded arrays: what one training step reads."""

from collections.abc import Iterable, Sequence

import numpy as np

from lsa_jax.errors import InputError
from lsa_jax.lm.examples import Example

Batch = dict[str, np.ndarray]
"""Arrays by the names of the arguments of `lsa_jax.lm.loss.response_loss`."""


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
