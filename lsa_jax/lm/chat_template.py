"""The chat format of a snapshot: the template that it brings, rendered as transformers does, or Qwen2.5's own."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lsa_jax.errors import InputError
from lsa_jax.lm.config import read_json

CONFIG, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
START, END = "<|im_start|>", "<|im_end|>"
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


def load(folder: Path) -> Chat:
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
    try:
        template = _environment().from_string(source)
    except jinja2.TemplateError as error:
        raise InputError(f"{place} has a chat format that cannot be read ({error}): copy it again") from None

    def write(turns: Turns) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            return template.render(messages=messages, tools=None, documents=None, add_generation_prompt=True, **special)
        except Exception as error:  # a template is a program, and may raise anything
            raise InputError(f"{place} has a chat format that cannot write this conversation ({error}): take another snapshot") from None

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


def _environment() -> ImmutableSandboxedEnvironment:
    """What templates are written for."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda value, **settings: json.dumps(value, ensure_ascii=False, **settings)
    known: dict[str, Any] = environment.globals
    known["raise_exception"] = _refuse
    return environment


def _refuse(message: str) -> NoReturn:
    """What a template calls for a conversation that it cannot write."""
    raise jinja2.TemplateError(message)
