"""Questions to prompts in two formats, and answers read from what a model says."""

import re
from collections.abc import Sequence
from typing import get_args

from lsa_jax import checks
from lsa_jax.lm.chat_template import END, Chat, qwen_chat
from lsa_jax.lm.mmlu import Question
from lsa_jax.lm.records import LETTERS
from lsa_jax.lm.settings import Format
from lsa_jax.lm.tokenizer import Tokenizer

FORMATS = get_args(Format)
"""The authors' tool makes each example a turn of a chat and scores "A"; lm-eval writes plain text and scores " A"."""

ANSWER = re.compile(
    r"""(?: (?:[Aa]nswer|ANSWER|[Cc]orrect\ (?:option|choice)) (?:\ is|\s*:|\ is\s*:)  # "the answer is", "Answer:", "correct option is:"
          | \\boxed\{                                                                  # or boxed
          | ^\s*\*\* )                                                                 # or bold at the beginning of a line
        (?: [\s*_(\["'$] | \\(?:boxed|text)\{ | [Oo]ption\b | [Cc]hoice\b )*           # marks around a letter
        (A(?!\ [a-z])|[B-D]) (?![\w'])                                                 # "A man" is no answer, and neither is "I'd"
    """,
    re.MULTILINE | re.VERBOSE,
)
"""How an answer is said."""


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


def evaluation_prompt(question: Question, shots: Sequence[Question], format: str = "chat", chat: Chat = qwen_chat) -> str:
    """Return the text after which a letter is scored or an answer sampled.

    Args:
        question: what is asked.
        shots: examples with their answers, before it.
        format: `chat` or `plain`.
        chat: what writes a conversation, see `lsa_jax.lm.tokenizer.Tokenizer.chat`.

    Returns:
        The text; for `chat` with the special tokens written out.

    Raises:
        InputError: if there is no such format.
    """
    if checks.as_choice("format", format, FORMATS) == "chat":
        return chat_prompt(question, [(one, one.letter) for one in shots], chat)
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
    """Read the letter of a sampled answer: the last that is said in a way of `ANSWER`.

    Args:
        prompt: what was completed; if it ends in "Answer:", perhaps with marks of a chat turn, a bare letter is an answer.
        completion: what the model said.

    Returns:
        The letter; None if there is none.

    Example:
        >>> parse_answer("... Answer:", " B"), parse_answer("... Answer:", "As so often, Answer: B, no, Answer: C"), parse_answer("", "D")
        ('B', 'C', None)
        >>> parse_answer("", "So the answer is (B)."), parse_answer("", "**C**"), parse_answer("", "The answer is A matter of taste")
        ('B', 'C', None)
    """
    ending = prompt.rsplit(END, 2)
    lead = "Answer:" if any(part.rstrip().endswith("Answer:") for part in ending[-2:]) else ""
    found = ANSWER.findall(f"{lead}{completion}")
    return found[-1] if found else None


def chat_prompt(question: Question, shots: Sequence[tuple[Question, str]], chat: Chat = qwen_chat) -> str:
    """Write a chat in which every example is a turn of the user and its answer one of the assistant.

    Args:
        question: what is asked last.
        shots: examples and what is answered to each.
        chat: what writes a conversation.

    Returns:
        The text, up to where the assistant answers.
    """
    turns = [turn for one, answer in shots for turn in (("user", question_text(one)), ("assistant", answer))]
    turns.append(("user", question_text(question)))
    turns[0] = ("user", heading(question.subject) + turns[0][1])
    return chat(turns)
