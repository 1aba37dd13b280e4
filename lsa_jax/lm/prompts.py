"""Questions to prompts in two formats and to training examples, and answers read from what a model says."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from lsa_jax import checks
from lsa_jax.lm.batches import Draw, Example
from lsa_jax.lm.questions import Question
from lsa_jax.lm.settings import LETTERS, Format
from lsa_jax.lm.splits import by_subject, draw_shots
from lsa_jax.lm.tokenizer import END, Chat, Tokenizer, qwen_chat

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


def training_steps(
    tokenizer: Tokenizer, questions: Sequence[Question], reasoning: Mapping[str, str], draws: Iterable[Sequence[Draw]], shots: int
) -> Iterator[list[Example]]:
    """Build the examples of every training step.

    Args:
        tokenizer: the model's.
        questions: the training questions; examples before a question are others of its subject among them.
        reasoning: text by identifier of the question; empty for answers of one letter.
        draws: which questions with how many examples before them, see `lsa_jax.lm.batches.draws`.
        shots: most examples before a question.

    Returns:
        The examples of a step, one step after another.

    Raises:
        InputError: if a subject has too few questions; before the first step.
    """
    pool = by_subject(questions)
    for one in questions:
        draw_shots(one, pool, shots, 0)

    def example(draw: Draw) -> Example:
        question = questions[draw.question]
        before = draw_shots(question, pool, draw.shots, draw.seed)
        return training_example(tokenizer, question, before, reasoning)

    return ([example(draw) for draw in step] for step in draws)


def response_text(question: Question, reasoning: Mapping[str, str]) -> str:
    """Return what the model should say: the supplied reasoning if there is some, else the letter."""
    return reasoning.get(question.identifier, question.letter)


def training_example(tokenizer: Tokenizer, question: Question, shots: Sequence[Question], reasoning: Mapping[str, str]) -> Example:
    """Build a training example in the chat format; the loss is on the response only.

    Args:
        tokenizer: the model's.
        question: what is learned.
        shots: examples before it, answered as the question is (with their reasoning where it is supplied).
        reasoning: text by identifier of the question, see `lsa_jax.lm.reasoning.load`; empty for answers of one letter.

    Returns:
        Token numbers of the prompt and of the response with its end of turn.
    """
    prompt = chat_prompt(question, [(one, response_text(one, reasoning)) for one in shots], tokenizer.chat)
    return Example(tokenizer.encode(prompt), tokenizer.encode(response_text(question, reasoning) + END))
