"""One training example: a prompt that is read, and a response that is learned."""

from typing import NamedTuple


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
