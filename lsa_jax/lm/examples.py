"""One training example: a prompt that is read, and a response that is learned."""

from typing import NamedTuple


class Example(NamedTuple):
    """Token ids of a prompt and of the response that the loss is on.

    Attributes:
        prompt: ids that are read only.
        response: ids that are learned, with the end-of-turn token if there is one.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
