"""Chains of reasoning that are supplied to questions: lm-eval's own, or lines of JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from lsa_jax.errors import InputError
from lsa_jax.lm import mmlu, prompts
from lsa_jax.lm.questions import Question, check_undamaged


def load(path: Path, questions: Sequence[Question]) -> dict[str, str]:
    """Read reasoning: JSON lines with `question` (its text or its identifier) and `reasoning`, which ends in "Answer: X".

    Args:
        path: the file, or the folder of lm-eval's development questions, which bring their own.
        questions: what it may be about.

    Returns:
        Reasoning by identifier of the question.

    Raises:
        InputError: if the file is missing, a line is no such object, is about no question or ends in a wrong answer.
    """
    if path.is_dir():
        known = {one.identifier for one in questions}
        found = {one.identifier: text for one, text in mmlu.load_development(path).items() if one.identifier in known}
    else:
        found = _reasoning_lines(path, questions)
    if not found:
        raise InputError(f"{path} holds no reasoning to any question of the data: pass the reasoning to these questions, or leave it out")
    return found


def _reasoning_lines(path: Path, questions: Sequence[Question]) -> dict[str, str]:
    """Reasoning of a file by identifier of the question; to questions that are the same under several subjects, for all of them."""
    named: dict[str, list[Question]] = {}
    for one in questions:
        for name in {one.question.strip(), one.identifier}:
            named.setdefault(name, []).append(one)
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): pass a file of JSON lines") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        name, text = _reasoning_line(place, line)
        meant = named.get(name, [])
        _check_reasoning(place, name, text, meant)
        if meant[0].identifier in found:
            raise InputError(f"{place} is about a question that had its reasoning before ({meant[0].identifier}): drop one of both")
        found |= dict.fromkeys((one.identifier for one in meant), text)
    return found


def _check_reasoning(place: str, name: str, text: str, meant: Sequence[Question]) -> None:
    """Refuse reasoning that is about no question, about different ones, or ends in a wrong answer."""
    if not meant:
        raise InputError(f"{place} is about no question of the data: {name[:60]!r}")
    if len({(one.content, one.letter) for one in meant}) > 1:
        names = ", ".join(one.identifier for one in meant[:3])
        raise InputError(f"{place}: {len(meant)} questions have the text {name[:60]!r}; name yours by its identifier ({names}, ...)")
    given = prompts.ANSWER.findall(text)
    if not given or given[-1] != meant[0].letter:
        raise InputError(f"{place} does not end in 'Answer: {meant[0].letter}', the right answer: mend or drop it")


def _reasoning_line(place: str, line: str) -> tuple[str, str]:
    """Question and reasoning of one line."""
    try:
        content = json.loads(line)
        name, text = content["question"], content["reasoning"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name = text = None
    if not isinstance(name, str) or not isinstance(text, str):
        raise InputError(f'{place} is not {{"question": text or identifier, "reasoning": text}}')
    check_undamaged(place, text)
    return name.strip(), text.strip()
