"""The tokenizer of a snapshot, and the chat format of Qwen2.5."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from lsa_jax.errors import InputError
from lsa_jax.lm.config import read_json

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
START, END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SYSTEM_MESSAGE = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""What Qwen2.5's chat format says where a conversation brings no system message of its own."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Text to token numbers and back.

    Attributes:
        backend: the library's tokenizer.
        end_of_turn: number of the token that ends a chat turn.
        end_of_text: number of the token that ends a text and pads.
    """

    backend: tokenizers.Tokenizer
    end_of_turn: int
    end_of_text: int

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token numbers of a text; special tokens are those that are written out in it, none is added."""
        return tuple(self.backend.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers, without special tokens."""
        return self.backend.decode(list(tokens), skip_special_tokens=True)


def load(folder: Path, vocab_size: int) -> Tokenizer:
    """Load the tokenizer of a snapshot and check that it fits the model.

    Args:
        folder: the snapshot.
        vocab_size: number of tokens the model knows. It may know more than the tokenizer (Qwen2.5 pads its embedding), at most twice as
            many.

    Returns:
        The tokenizer.

    Raises:
        InputError: if the file is missing or corrupt, has token numbers that the model has not, is of a far smaller vocabulary, or knows
            no chat turns.
    """
    path = folder / TOKENIZER
    read_json(folder, TOKENIZER)
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise InputError(f"{path} is no tokenizer ({error}): copy it again from the model's snapshot") from None
    numbers = backend.get_vocab(with_added_tokens=True).values()
    if max(numbers, default=-1) >= vocab_size or 2 * len(numbers) < vocab_size:
        raise InputError(
            f"{path} has {len(numbers)} tokens with numbers up to {max(numbers, default=-1)}, the model has {vocab_size}: "
            "take the tokenizer of the same snapshot as the weights"
        )
    special = {token: backend.token_to_id(token) for token in (START, END, END_OF_TEXT)}
    missing = [token for token, number in special.items() if number is None]
    if missing:
        raise InputError(f"{path} has no token {missing[0]}: the chat format of Qwen2.5 needs it, take the tokenizer of a Qwen2.5 model")
    if (folder / TOKENIZER_CONFIG).exists():
        _check_chat_format(folder)
    return Tokenizer(backend, end_of_turn=special[END], end_of_text=special[END_OF_TEXT])


def chat(turns: Sequence[tuple[str, str]], system: str = SYSTEM_MESSAGE) -> str:
    """Write a conversation in the chat format of Qwen2.5, up to where the assistant speaks next.

    Args:
        turns: role (`user` or `assistant`) and text of each turn; the last one is the user's.
        system: the system message.

    Returns:
        The text.

    Example:
        >>> print(chat([("user", "Hi")], system="Be brief."))
        <|im_start|>system
        Be brief.<|im_end|>
        <|im_start|>user
        Hi<|im_end|>
        <|im_start|>assistant
        <BLANKLINE>
    """
    written = [f"{START}{role}\n{text}{END}\n" for role, text in [("system", system), *turns]]
    return "".join(written) + f"{START}assistant\n"


def _check_chat_format(folder: Path) -> None:
    """Refuse a tokenizer whose own chat format is another one."""
    template = read_json(folder, TOKENIZER_CONFIG).get("chat_template")
    if template is not None and START not in str(template):
        raise InputError(f"{folder / TOKENIZER_CONFIG} has a chat format without {START}: take the tokenizer of a Qwen2.5 model")
