"""The tokenizer of a snapshot, with the chat format that it brings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from lsa_jax.errors import InputError
from lsa_jax.lm import chat_template
from lsa_jax.lm.chat_template import END, START, Chat, Turns
from lsa_jax.lm.config import read_json

TOKENIZER = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Text to token numbers and back.

    Attributes:
        backend: the library's tokenizer.
        end_of_turn: number of the token that ends a chat turn.
        end_of_text: number of the token that ends a text and pads.
        write_chat: what writes a conversation, see `lsa_jax.lm.chat_template.Chat`.
    """

    backend: tokenizers.Tokenizer
    end_of_turn: int
    end_of_text: int
    write_chat: Chat = chat_template.qwen_chat

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token numbers of a text; special tokens are those that are written out in it, none is added."""
        return tuple(self.backend.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers, without special tokens."""
        return self.backend.decode(list(tokens), skip_special_tokens=True)

    def chat(self, turns: Turns) -> str:
        """Return the text of a conversation, up to where the assistant speaks next."""
        return self.write_chat(turns)

    def control_token(self, text: str) -> str | None:
        """Return a token that would be read as a mark and not as text, such as the end of a chat turn; None if there is none."""
        special = (token.content for token in self.backend.get_added_tokens_decoder().values() if token.special)
        return next((token for token in (*special, START, END) if token in text), None)


def load(folder: Path, vocab_size: int) -> Tokenizer:
    """Load the tokenizer of a snapshot and check that it fits the model.

    Args:
        folder: the snapshot.
        vocab_size: number of tokens the model knows. It may know more than the tokenizer (Qwen2.5 pads its embedding), at most twice as
            many.

    Returns:
        The tokenizer.

    Raises:
        InputError: if the file is missing or corrupt, has token numbers that the model has not, is of a far smaller vocabulary, or its
            chat format is another one than that of Qwen2.5's family.
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
    for token, number in special.items():
        if backend.encode(token, add_special_tokens=False).ids != [number]:
            raise InputError(
                f"{path} does not read {token} as one token, but as text (added_tokens): copy it again from the model's snapshot"
            )
    return Tokenizer(backend, end_of_turn=special[END], end_of_text=special[END_OF_TEXT], write_chat=chat_template.load(folder))
