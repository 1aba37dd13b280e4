"""Questions to prompts: for evaluation in two formats, for training in the chat format, with or without reasoning."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.examples import Example
from lsa_jax.lm.mmlu import Question
from lsa_jax.lm.records import LETTERS
from lsa_jax.lm.tokenizer import END, Tokenizer, chat

FORMATS = ("chat", "plain")
"""The authors' tool makes each example a turn of a chat and scores "A"; lm-eval writes plain text and scores " A"."""

ANSWER = re.compile(r"Answer:\s*\(?([A-D])\b")
"""How an answer ends."""


def question_text(question: Question) -> str:
    """Return a question with its choices, up to where its answer follows.

    Args:
        question: the question.

    Returns:
        The text.

    Example:
        >>> print(question_text(Question("sociology", "Which?", ("this", "that", "both", "none"), 2)))
        Which?
        A. this
        B. that
        C. both
        D. none
        Answer:
    """
    choices = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=True)]
    return "\n".join([question.question.strip(), *choices, "Answer:"])


def heading(subject: str) -> str:
    """Return the sentence that begins a prompt."""
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def evaluation_prompt(question: Question, shots: Sequence[Question], format: str = "chat") -> str:
    """Return the text after which a letter is scored or an answer sampled.

    Args:
        question: what is asked.
        shots: examples with their answers, before it.
        format: `chat` or `plain`.

    Returns:
        The text; for `chat` with the special tokens written out.

    Raises:
        InputError: if there is no such format.
    """
    if checks.as_choice("format", format, FORMATS) == "chat":
        return _chat_prompt(question, [(one, one.letter) for one in shots])
    examples = [f"{question_text(one)} {one.letter}\n\n" for one in shots]
    return heading(question.subject) + "".join(examples) + question_text(question)


def letter_tokens(tokenizer: Tokenizer, format: str) -> list[tuple[int, ...]]:
    """Return the token numbers of the four answers that are scored.

    Args:
        tokenizer: the model's.
        format: of the prompts.

    Returns:
        Those of "A" to "D" for `chat`, of " A" to " D" for `plain`.
    """
    lead = "" if checks.as_choice("format", format, FORMATS) == "chat" else " "
    return [tokenizer.encode(lead + letter) for letter in LETTERS]


def parse_answer(prompt: str, completion: str) -> str | None:
    """Read the letter of a sampled answer: what follows the last "Answer:" of the prompt's end and the completion.

    Args:
        prompt: what was completed; if it ends in "Answer:", perhaps with marks of a chat turn, a bare letter is an answer.
        completion: what the model said.

    Returns:
        The letter; None if there is none.

    Example:
        >>> parse_answer("... Answer:", " B"), parse_answer("... Answer:", "As so often, Answer: B, no, Answer: C"), parse_answer("", "D")
        ('B', 'C', None)
    """
    ending = prompt.rsplit(END, 2)
    lead = "Answer:" if any(part.rstrip().endswith("Answer:") for part in ending[-2:]) else ""
    found = ANSWER.findall(f"{lead}{completion}")
    return found[-1] if found else None


def response_text(question: Question, reasoning: Mapping[str, str]) -> str:
    """Return what the model should say: the supplied reasoning if there is some, else the letter."""
    return reasoning.get(question.identifier, question.letter)


def training_example(tokenizer: Tokenizer, question: Question, shots: Sequence[Question], reasoning: Mapping[str, str]) -> Example:
    """Build a training example in the chat format; the loss is on the response only.

    Args:
        tokenizer: the model's.
        question: what is learned.
        shots: examples before it, answered as the question is (with their reasoning where it is supplied).
        reasoning: text by identifier of the question, see `load_reasoning`; empty for answers of one letter.

    Returns:
        Token numbers of the prompt and of the response with its end of turn.
    """
    prompt = _chat_prompt(question, [(one, response_text(one, reasoning)) for one in shots])
    return Example(tokenizer.encode(prompt), tokenizer.encode(response_text(question, reasoning) + END))


def load_reasoning(path: Path, questions: Sequence[Question]) -> dict[str, str]:
    """Read reasoning: JSON lines with `question` (its text or its identifier) and `reasoning`, which ends in "Answer: X".

    Args:
        path: the file.
        questions: what it may be about.

    Returns:
        Reasoning by identifier of the question.

    Raises:
        InputError: if the file is missing, a line is no such object, is about no question or ends in a wrong answer.
    """
    known = {name: one for one in questions for name in (one.question.strip(), one.identifier)}
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): pass a file of JSON lines") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, text = _reasoning_line(f"{path}, line {number}", line)
        question = known.get(name)
        if question is None:
            raise InputError(f"{path}, line {number} is about no question of the data: {name[:60]!r}")
        given = ANSWER.findall(text)
        if not given or given[-1] != question.letter:
            raise InputError(f"{path}, line {number} does not end in 'Answer: {question.letter}', the right answer: mend or drop it")
        found[question.identifier] = text
    return found


def _reasoning_line(place: str, line: str) -> tuple[str, str]:
    """Question and reasoning of one line."""
    try:
        content = json.loads(line)
        name, text = content["question"], content["reasoning"]
    except (ValueError, KeyError, TypeError):
        name = text = None
    if not isinstance(name, str) or not isinstance(text, str):
        raise InputError(f'{place} is not {{"question": text or identifier, "reasoning": text}}')
    return name.strip(), text.strip()


def _chat_prompt(question: Question, shots: Sequence[tuple[Question, str]]) -> str:
    """A chat in which every example is a turn of the user and its answer one of the assistant."""
    turns = [turn for one, answer in shots for turn in (("user", question_text(one)), ("assistant", answer))]
    turns.append(("user", question_text(question)))
    turns[0] = ("user", heading(question.subject) + turns[0][1])
    return chat(turns)
