"""A question of MMLU, checked as it is read, what names it, and the subjects with their categories in the two ways they are counted."""

import dataclasses
import functools
import hashlib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.settings import CATEGORIES, LETTERS

DAMAGE = ("\x00", "\ufeff", "\ufffd")
"""Characters that no question has: NUL, a byte-order mark, and what stands for bytes that were no text."""

SUBJECTS = (
    """abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics
        college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics high_school_biology
        high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics high_school_statistics
        machine_learning""",
    """formal_logic high_school_european_history high_school_us_history high_school_world_history international_law
        jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions""",
    """econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics
        high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations security_studies
        sociology us_foreign_policy""",
    """business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics
        miscellaneous nutrition professional_accounting professional_medicine virology""",
)
LM_EVAL = {category: subjects.split() for category, subjects in zip(CATEGORIES, SUBJECTS, strict=True)}
"""Subjects of each category as lm-eval counts them: 19 of STEM, anatomy among them."""
MAPS = ("authors", "lm_eval")
"""The authors' tool counts anatomy as Other, so that STEM has 18 subjects; all else is the same."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A question with four choices.

    Attributes:
        subject: with underscores, as in `high_school_physics`.
        question: its text.
        choices: texts of the choices.
        answer: place of the right one.
    """

    subject: str
    question: str
    choices: tuple[str, str, str, str]
    answer: int

    @functools.cached_property
    def identifier(self) -> str:
        """What names the question: its subject and a digest of its text, the same wherever it was read from."""
        text = "\x1f".join([self.subject, self.question.strip(), *self.choices])
        return f"{self.subject}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def content(self) -> tuple[str, tuple[str, ...]]:
        """What makes two questions the same: text and choices, without spaces at their ends."""
        return self.question.strip(), tuple(choice.strip() for choice in self.choices)

    @property
    def letter(self) -> str:
        """Letter of the right choice."""
        return LETTERS[self.answer]


def category(subject: str, map: str = "authors") -> str:
    """Return the category of a subject.

    Args:
        subject: its name, with underscores.
        map: `authors` or `lm_eval`.

    Returns:
        `stem`, `humanities`, `social_sciences` or `other`.

    Raises:
        InputError: if there is no such subject or map.

    Example:
        >>> category("anatomy"), category("anatomy", "lm_eval")
        ('other', 'stem')
    """
    by_subject: dict[str, str] = {name: one for one, names in LM_EVAL.items() for name in names}
    if checks.as_choice("category map", map, MAPS) == "authors":
        by_subject["anatomy"] = "other"
    return by_subject[checks.as_choice("subject", subject, tuple(by_subject))]


def digest(questions: Iterable[Question]) -> str:
    """Return 20 digits that tell questions with their answers from others, in whatever order and layout."""
    lines = sorted({f"{one.identifier} {one.letter}" for one in questions})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]


def without_duplicates(questions: Iterable[Question]) -> list[Question]:
    """Keep the first of all questions with the same text and choices, whatever their subject."""
    first: dict[Any, Question] = {}
    for one in questions:
        first.setdefault(one.content, one)
    return list(first.values())


def question_of(place: str, row: Mapping[str, Any]) -> Question:
    """Return the question of one row, checked.

    Args:
        place: where it is, for messages.
        row: subject, question, choices and answer, a number or a letter.

    Returns:
        The question.

    Raises:
        InputError: if something of it is missing or of another kind.
    """
    answer, choices = row["answer"], row["choices"]
    if choices is None or isinstance(choices, str) or not hasattr(choices, "__len__") or len(choices) != len(LETTERS):
        wrong = f"{len(choices)} choices" if isinstance(choices, list | tuple | np.ndarray) else f"the choices {choices!r}"
        raise InputError(f"{place} has {wrong}; an MMLU question has a list of four texts")
    if isinstance(answer, str) and len(answer) == 1:
        answer = LETTERS.find(answer)
    if not isinstance(answer, numbers.Integral) or isinstance(answer, bool) or answer not in range(len(LETTERS)):
        raise InputError(f"{place} has the answer {row['answer']!r}; it must be one of 0 to 3 or A to D")
    subject, question, first, second, third, fourth = (_text(place, one) for one in (row["subject"], row["question"], *choices))
    if not subject.strip() or not question.strip():
        raise InputError(f"{place} has an empty {'subject' if question.strip() else 'question'}: drop the row, or copy the file again")
    return Question(subject, question, (first, second, third, fourth), int(answer))


def check_undamaged(place: str, text: str) -> None:
    """Refuse a text with a character of `DAMAGE`; `place` says where it is."""
    for character in DAMAGE:
        if character in text:
            raise InputError(f"{place} has the character {character!r} in {text[:40]!r}: copy the file again, in UTF-8")


def _text(place: str, value: Any) -> str:
    """A text of a row, which is no null and holds no character that only damage explains."""
    if not isinstance(value, str):
        raise InputError(f"{place} has {value!r} where a text is wanted: drop the row, or copy the file again")
    check_undamaged(place, value)
    return value
