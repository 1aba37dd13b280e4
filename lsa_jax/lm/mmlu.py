"""The questions of MMLU from a local folder: as parquet in the shape of `cais/mmlu`, or as the original CSV files."""

import csv
import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.records import LETTERS

SPLITS = {"test": "test", "validation": "val", "dev": "dev"}
"""Names of the splits in parquet and in CSV."""
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
        InputError: if there is no such folder or split, or a file is corrupt or laid out in another way.
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


def without_duplicates(questions: Iterable[Question]) -> list[Question]:
    """Keep one of all questions with the same text and choices, whatever their subject.

    Args:
        questions: any.

    Returns:
        The first of each, in order.
    """
    first: dict[Any, Question] = {}
    for one in questions:
        first.setdefault((one.question.strip(), tuple(choice.strip() for choice in one.choices)), one)
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
    for number, row in enumerate(table.to_dict("records")):
        yield _question(f"{path}, row {number}", {"subject": subject, **row} if not row.get("subject") else row)


def _csv_rows(path: Path) -> Iterator[Question]:
    """Questions of a CSV file, whose rows are the question, four choices and the letter of the right one."""
    subject = path.stem.rsplit("_", 1)[0]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable CSV file ({error}): copy it again") from None
    for number, row in enumerate(rows):
        if len(row) != 6:
            raise InputError(f"{path}, row {number} has {len(row)} columns; wanted are question, A, B, C, D and answer, without a header")
        answer = LETTERS.find(row[5].strip()) if row[5].strip() else -1
        yield _question(f"{path}, row {number}", {"subject": subject, "question": row[0], "choices": row[1:5], "answer": answer})


def _question(place: str, row: Mapping[str, Any]) -> Question:
    """A question from one row, checked."""
    answer, choices = row["answer"], row["choices"]
    if isinstance(answer, str):
        answer = LETTERS.find(answer) if answer else -1
    if choices is None or len(choices) != len(LETTERS):
        raise InputError(f"{place} has {0 if choices is None else len(choices)} choices; an MMLU question has four")
    if answer not in range(len(LETTERS)):
        raise InputError(f"{place} has the answer {row['answer']!r}; it must be one of 0 to 3 or A to D")
    first, second, third, fourth = map(str, choices)
    return Question(str(row["subject"]), str(row["question"]), (first, second, third, fourth), int(answer))
