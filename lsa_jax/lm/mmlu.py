"""The questions of MMLU from a local folder: parquet in the shape of `cais/mmlu`, the original CSV, or lm-eval's development questions."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pyarrow import ArrowException

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.questions import Question, question_of
from lsa_jax.lm.settings import LETTERS

SPLITS = {"test": "test", "validation": "val", "dev": "dev"}
"""Names of the splits in parquet and in CSV."""
NOT_SUBJECTS = ("all", "auxiliary_train")
WANTED = (
    "wanted is the folder of cais/mmlu (all/test-*.parquet or SUBJECT/test-*.parquet) or of the original CSV (data/test/SUBJECT_test.csv)"
)
DEVELOPMENT = "mmlu_*.yaml"
CHOICES = re.compile(r"(.*?)" + "".join(rf"\s+\({letter}\)\s+(.*?)" for letter in LETTERS) + r"(\s+\(E\)\s.*)?", re.DOTALL)
"""A question with its choices: (A) to (D), and perhaps more."""
REASONING = re.compile(r"(?:Let's think step by step\.)?(.*?)\s*The answer is \(([A-Z])\)\.?\s*", re.DOTALL)


def read_questions(folder: Path) -> tuple[list[Question], str]:
    """Read the questions of a folder, whichever of the layouts it has.

    Args:
        folder: what `load` or `load_development` reads.

    Returns:
        The questions and the name of their split: `test`, or `dev` for lm-eval's development questions.

    Raises:
        InputError: if there are none, or a file is damaged.
    """
    if folder.is_dir() and any(folder.glob(DEVELOPMENT)):
        return list(load_development(folder)), "dev"
    return load(folder), "test"


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


def load_development(folder: Path) -> dict[Question, str]:
    """Read lm-eval's development questions, each once; those with a fifth choice are left out.

    lm-eval 0.4.13 has 282, of which 280 are read: one has five choices, and one is there twice.

    Args:
        folder: `tasks/mmlu/flan_cot_fewshot` of the package lm-eval.

    Returns:
        The reasoning to each question, which ends in "Answer: X".

    Raises:
        InputError: if there is no such file, or one is laid out in another way.
    """
    paths = sorted(folder.glob(DEVELOPMENT))
    if not paths:
        raise InputError(f"{folder} has no {DEVELOPMENT}: wanted is the folder tasks/mmlu/flan_cot_fewshot of the package lm-eval")
    found: dict[Question, str] = {}
    for path in paths:
        for number, (question, target) in enumerate(_samples(path)):
            place, subject = f"{path}, sample {number}", path.stem.removeprefix("mmlu_")
            asked, answered = CHOICES.fullmatch(question.strip()), REASONING.fullmatch(target)
            if asked is None or answered is None:
                raise InputError(f"{place} is no question with choices (A) to (D) and an answer: copy the folder again")
            text, *choices, more = asked.groups()
            if more is not None:
                continue
            reasoning, letter = answered.groups()
            row = {"subject": subject, "question": text.strip(), "choices": choices, "answer": letter}
            found[question_of(place, row)] = f"{reasoning.strip()}\nAnswer: {letter}"
    return found


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


def _samples(path: Path) -> list[tuple[str, str]]:
    """Questions and what is answered to them, of one subject."""
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        pairs = [(one["question"], one["target"]) for one in content["fewshot_config"]["samples"]]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no questions ({' '.join(str(error).split())}): copy it again from lm-eval") from None
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise InputError(f"{path} holds no questions: copy it again from lm-eval")
    return pairs
