"""The questions of MMLU from a local folder: as parquet in the shape of `cais/mmlu`, or as the original CSV files."""

import csv
import dataclasses
import functools
import hashlib
import numbers
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.records import LETTERS

SPLITS = {"test": "test", "validation": "val", "dev": "dev"}
"""Names of the splits in parquet and in CSV."""
DAMAGE = ("\x00", "\ufeff", "\ufffd")
"""Characters that no question has: NUL, a byte-order mark, and what stands for bytes that were no text."""
NOT_SUBJECTS = ("all", "auxiliary_train")
WANTED = (
    "wanted is the folder of cais/mmlu (all/test-*.parquet or SUBJECT/test-*.parquet) or of the original CSV (data/test/SUBJECT_test.csv)"
)


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


def load(folder: Path, split: str = "test") -> list[Question]:
    """Read a split; nothing is downloaded.

    Args:
        folder: in any of the layouts above, or one that holds them in `data`.
        split: test, validation or dev.

    Returns:
        The questions, by subject.

    Raises:
        InputError: if there is no such folder or split, or a file is empty, corrupt or laid out in another way.
    """
    checks.as_choice("split", split, tuple(SPLITS))
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: {WANTED}")
    for root in (folder, folder / "data"):
        rows = [row for path, subject in _parquet_files(root, split) for row in _parquet_rows(path, subject)]
        rows = rows or [row for path in sorted((root / SPLITS[split]).glob(f"*_{SPLITS[split]}.csv")) for row in _csv_rows(path)]
        if rows:
            return sorted(rows, key=lambda one: one.subject)
    raise InputError(f"{folder} has no questions of the split {split}: {WANTED}")


def digest(questions: Iterable[Question]) -> str:
    """Return what tells questions with their answers from others, in whatever order and layout.

    Args:
        questions: any.

    Returns:
        20 hexadecimal digits.
    """
    lines = sorted({f"{one.identifier} {one.letter}" for one in questions})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]


def without_duplicates(questions: Iterable[Question]) -> list[Question]:
    """Keep one of all questions with the same text and choices, whatever their subject.

    Args:
        questions: any.

    Returns:
        The first of each, in order.
    """
    first: dict[Any, Question] = {}
    for one in questions:
        first.setdefault(one.content, one)
    return list(first.values())


def _parquet_files(root: Path, split: str) -> list[tuple[Path, str | None]]:
    """The files of a split: those with all subjects if there are any, else those of each subject, with its name."""
    together = sorted((root / "all").glob(f"{split}-*.parquet")) or sorted(root.glob(f"{split}-*.parquet"))
    if together:
        return [(path, None) for path in together]
    return [(path, path.parent.name) for path in sorted(root.glob(f"*/{split}-*.parquet")) if path.parent.name not in NOT_SUBJECTS]


def _parquet_rows(path: Path, subject: str | None) -> Iterator[Question]:
    """Questions of a parquet file."""
    try:
        table = pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} is no readable parquet file ({error}): copy it again") from None
    needed = {"question", "choices", "answer"} | ({"subject"} if subject is None else set())
    if not needed <= set(table.columns):
        raise InputError(f"{path} has no column {min(needed - set(table.columns))!r}; {WANTED}")
    _check_filled(path, len(table))
    for number, row in enumerate(table.to_dict("records")):
        place, named = f"{path}, row {number}", row.get("subject", subject)
        if subject is not None and named not in {subject, ""}:
            raise InputError(f"{place} has the subject {named!r} in the folder of {subject}: copy the file again")
        yield question_of(place, {**row, "subject": subject or named})


def _csv_rows(path: Path) -> Iterator[Question]:
    """Questions of a CSV file, whose rows are the question, four choices and the letter of the right one."""
    subject = path.stem.rsplit("_", 1)[0]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable CSV file ({error}): copy it again") from None
    _check_filled(path, len(rows))
    for number, row in enumerate(rows):
        if len(row) != 6:
            raise InputError(f"{path}, row {number} has {len(row)} columns; wanted are question, A, B, C, D and answer, without a header")
        content = {"subject": subject, "question": row[0], "choices": row[1:5], "answer": row[5].strip()}
        yield question_of(f"{path}, row {number}", content)


def _check_filled(path: Path, rows: int) -> None:
    """Refuse a file of a subject without any question."""
    if not rows:
        raise InputError(f"{path} is empty: copy it again")


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


def _text(place: str, value: Any) -> str:
    """A text of a row, which is no null and holds no character that only damage explains."""
    if not isinstance(value, str):
        raise InputError(f"{place} has {value!r} where a text is wanted: drop the row, or copy the file again")
    check_undamaged(place, value)
    return value


def check_undamaged(place: str, text: str) -> None:
    """Refuse a text with a character of `DAMAGE`.

    Args:
        place: where it is, for messages.
        text: the text.

    Raises:
        InputError: if it holds one.
    """
    for character in DAMAGE:
        if character in text:
            raise InputError(f"{place} has the character {character!r} in {text[:40]!r}: copy the file again, in UTF-8")
