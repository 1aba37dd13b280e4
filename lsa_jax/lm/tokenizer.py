"""The tokenizer of a snapshot, and the chat format that it brings, rendered by transformers, or Qwen2.5's own."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from jinja2 import TemplateSyntaxError
from transformers.utils.chat_template_utils import render_jinja_template

from lsa_jax.errors import InputError
from lsa_jax.lm.config import POSITIONS, read_json

TOKENIZER, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
START, END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SYSTEM_MESSAGE = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""What Qwen2.5's chat format says where a conversation brings no system message of its own."""

Turns = Sequence[tuple[str, str]]
"""Role (`user` or `assistant`) and text of each turn; the last one is the user's."""
Chat = Callable[[Turns], str]
"""What writes a conversation, up to where the assistant speaks next."""


def qwen_chat(turns: Turns, system: str = SYSTEM_MESSAGE) -> str:
    """Write a conversation in the chat format of Qwen2.5, up to where the assistant speaks next.

    Args:
        turns: role (`user` or `assistant`) and text of each turn; the last one is the user's.
        system: the system message.

    Returns:
        The text.

    Example:
        >>> print(qwen_chat([("user", "Hi")], system="Be brief."))
        <|im_start|>system
        Be brief.<|im_end|>
        <|im_start|>user
        Hi<|im_end|>
        <|im_start|>assistant
        <BLANKLINE>
    """
    written = [f"{START}{role}\n{text}{END}\n" for role, text in [("system", system), *turns]]
    return "".join(written) + f"{START}assistant\n"


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Text to token numbers and back.

    Attributes:
        backend: the library's tokenizer.
        end_of_turn: number of the token that ends a chat turn.
        end_of_text: number of the token that ends a text and pads.
        write_chat: what writes a conversation, see `Chat`.
        max_positions: tokens that the model was made for; None if that is not known.
    """

    backend: tokenizers.Tokenizer
    end_of_turn: int
    end_of_text: int
    write_chat: Chat = qwen_chat
    max_positions: int | None = None

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token numbers of a text; special tokens are those that are written out in it, none is added."""
        return tuple(self.backend.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token numbers, without special tokens."""
        return self.backend.decode(list(tokens), skip_special_tokens=True)

    def chat(self, turns: Turns) -> str:
        """Return the text of a conversation, up to where the assistant speaks next."""
        return self.write_chat(turns)

    def check_length(self, length: int) -> None:
        """Refuse a text of more tokens than the model was made for."""
        if self.max_positions is not None and length > self.max_positions:
            raise InputError(f"a text has {length} tokens, the model was made for {self.max_positions} ({POSITIONS}): take fewer shots")

    def control_token(self, text: str) -> str | None:
        """Return a token that would be read as a mark and not as text, such as the end of a chat turn; None if there is none."""
        special = (token.content for token in self.backend.get_added_tokens_decoder().values() if token.special)
        return next((token for token in (*special, START, END) if token in text), None)


def load(folder: Path, vocab_size: int, max_positions: int | None = None) -> Tokenizer:
    """Load the tokenizer of a snapshot and check that it fits the model.

    Args:
        folder: the snapshot.
        vocab_size: number of tokens the model knows. It may know more than the tokenizer (Qwen2.5 pads its embedding), at most twice as
            many.
        max_positions: see `Tokenizer`.

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
    return Tokenizer(backend, special[END], special[END_OF_TEXT], load_chat(folder), max_positions)


def load_chat(folder: Path) -> Chat:
    """Return the chat format of a snapshot: its own template if it brings one, else Qwen2.5's.

    A template is looked for in chat_template.jinja and then in tokenizer_config.json; of several with names it is `default`. It may say
    another system message, or none.

    Args:
        folder: the snapshot.

    Returns:
        What writes a conversation.

    Raises:
        InputError: if the template cannot be read or rendered, or is of a format without Qwen2.5's marks of a turn.
    """
    config = read_json(folder, CONFIG) if (folder / CONFIG).exists() else {}
    place, source = (
        (folder / TEMPLATE, _read(folder / TEMPLATE)) if (folder / TEMPLATE).is_file() else (folder / CONFIG, _of_config(folder, config))
    )
    if source is None:
        return qwen_chat
    special = {name: _content(config[name]) for name in ("bos_token", "eos_token", "pad_token", "unk_token") if name in config}

    def write(turns: Turns) -> str:
        conversation = [{"role": role, "content": text} for role, text in turns]
        try:
            written, _ = render_jinja_template([conversation], chat_template=source, add_generation_prompt=True, **special)
        except TemplateSyntaxError as error:
            raise InputError(f"{place} has a chat format that cannot be read ({error}): copy it again") from None
        except Exception as error:  # a template is a program, and may raise anything
            raise InputError(f"{place} has a chat format that cannot write this conversation ({error}): take another snapshot") from None
        return written[0]

    _check(place, write)
    return write


def _check(place: Path, write: Chat) -> None:
    """Refuse a template whose turns are not marked as Qwen2.5's are, or whose generation does not begin where the assistant speaks."""
    text = write([("user", "first"), ("assistant", "second"), ("user", "third")])
    turns = [f"{START}user\nfirst{END}", f"{START}assistant\n", f"second{END}", f"{START}user\nthird{END}"]
    if not all(turn in text for turn in turns) or f"{START}assistant" not in text.rsplit("third", 1)[1]:
        raise InputError(f"{place} has a chat format without {START} and {END} around turns: take the tokenizer of a Qwen2.5 model")


def _of_config(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The template in tokenizer_config.json; the one called `default` of several."""
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
        if found is None:
            names = ", ".join(sorted(map(str, named)))
            raise InputError(f"{folder / CONFIG} has chat formats called {names or 'nothing'} and none called default: name one so")
    if found is not None and not isinstance(found, str):
        raise InputError(f"{folder / CONFIG} has a chat_template that is no text: copy it again")
    return found


def _read(path: Path) -> str:
    """The text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text ({error}): copy it again") from None


def _content(token: Any) -> Any:
    """The text of a special token, which some files write with its properties."""
    return token.get("content") if isinstance(token, dict) else token
