"""Records of an evaluation, one row a question: their columns, their files and the accuracies they come to."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from lsa_jax import store
from lsa_jax.errors import InputError

BASE = "base"
LETTERS = "ABCD"
MODEL = ["run", "targets", "loss", "step", "seed", "data_seed"]
CONDITION = ["shots", "method", "format"]
SETTING = ["targets", "loss", "step", "domain", "category", *CONDITION]
"""Columns whose values make one accuracy; it is averaged over questions and seeds."""
SEEDS = ["seed", "data_seed"]
KEY = [*MODEL, "evaluation_seed", "question", *CONDITION]
SUFFIX = ".records.parquet"


@dataclasses.dataclass(frozen=True)
class ModelLabel:
    """Which model was evaluated.

    Attributes:
        run: name of the fine-tuning run; `base` for the model before any.
        targets: what was trained; `base` before any fine-tuning.
        loss: what it was trained on; `base` before any fine-tuning.
        step: training steps.
        seed: of the fine-tuning, or of the pretraining where that differs.
        data_seed: of the choice of questions.
    """

    run: str = BASE
    targets: str = BASE
    loss: str = BASE
    step: int = 0
    seed: int = 0
    data_seed: int = 0

    @property
    def is_base(self) -> bool:
        """Whether this is the model before any fine-tuning."""
        return self.targets == BASE


def score_records(
    label: ModelLabel,
    questions: pd.DataFrame,
    log_likelihoods: np.ndarray,
    answers: Sequence[int],
    *,
    shots: int,
    format: str,
    evaluation_seed: int = 0,
) -> pd.DataFrame:
    """Lay out the log-likelihoods of answers as records.

    Args:
        label: the model.
        questions: one row a question, with the columns domain, category, subject and question (an identifier).
        log_likelihoods: (questions, choices), at most 4 choices.
        answers: place of the right choice of each question.
        shots: examples in each prompt.
        format: of the prompts.
        evaluation_seed: seed of the examples in the prompts.

    Returns:
        One row a question: those columns, the model's, `evaluation_seed`, `shots`, `method`, `format`, `correct` (whether the likeliest
        choice is the right one), `log_likelihood_A` to `_D` and `answer`.
    """
    right = np.asarray(answers)
    scores = np.full((len(right), len(LETTERS)), np.nan)
    scores[:, : log_likelihoods.shape[1]] = log_likelihoods
    columns = {f"log_likelihood_{letter}": scores[:, place] for place, letter in enumerate(LETTERS)}
    correct = (log_likelihoods.argmax(axis=1) == right).astype(float)
    return _records(label, questions, right, correct, columns, evaluation_seed, {"shots": shots, "method": "letters", "format": format})


def sample_records(
    label: ModelLabel,
    questions: pd.DataFrame,
    samples: Sequence[Sequence[str | None]],
    answers: Sequence[int],
    *,
    shots: int,
    format: str,
    evaluation_seed: int = 0,
) -> pd.DataFrame:
    """Lay out sampled answers as records; all but the letters read from each question's samples (None if none) as of `score_records`.

    Returns:
        One row a question; `correct` is the share of samples with the right answer, `unparsed` that of samples without any.
    """
    right = np.asarray(answers)
    correct = np.array([np.mean([one == LETTERS[answer] for one in row]) for row, answer in zip(samples, right, strict=True)])
    columns = {f"log_likelihood_{letter}": np.full(len(right), np.nan) for letter in LETTERS}
    columns["unparsed"] = np.array([np.mean([one is None for one in row]) for row in samples])
    return _records(label, questions, right, correct, columns, evaluation_seed, {"shots": shots, "method": "generation", "format": format})


def save_part(folder: Path, settings: Mapping[str, Any], compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the records of a part; compute and store them, whole or not at all, unless they are there undamaged.

    Args:
        folder: of the records; made if it does not exist.
        settings: what determines the part's numbers; JSON values. They are stored with the records, with the environment.
        compute: what returns the records.

    Returns:
        The records.
    """
    path = _path(folder, settings)
    found = _read(path)
    if found is not None:
        return found
    table = compute()
    table.attrs = {"settings": dict(settings), "environment": store.environment()}
    folder.mkdir(parents=True, exist_ok=True)
    with store.replacing(path) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def load_records(folder: Path) -> pd.DataFrame:
    """Read all records of a folder.

    Args:
        folder: where `save_part` stored them.

    Returns:
        The records.

    Raises:
        InputError: if there are none, a file is damaged, or a question was recorded twice under one setting.
    """
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise InputError(f"{folder} holds no records (*{SUFFIX}): give the folder that `lsa-jax lm evaluate` wrote")
    tables = []
    for path in paths:
        table = _read(path)
        if table is None:
            raise InputError(f"{path} is damaged: delete it and evaluate again, what is whole is kept")
        tables.append(table)
    records = join(tables)
    double = records[records.duplicated(KEY)]
    if len(double):
        one = double.iloc[0]
        raise InputError(
            f"{folder} holds two evaluations of run {one['run']!r}, step {one['step']}, {one['shots']} shots, with different settings: "
            "use a folder for each"
        )
    return records


def join(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all parts (at least one), without what is stored of their settings."""
    for part in parts:
        part.attrs = {}
    return pd.concat(parts, ignore_index=True)


def _path(folder: Path, settings: Mapping[str, Any]) -> Path:
    """File of a part."""
    text = json.dumps(dict(settings), sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}{SUFFIX}"


def _read(path: Path) -> pd.DataFrame | None:
    """Records of a file; None if it is not there or damaged."""
    try:
        return pd.read_parquet(path)
    except (FileNotFoundError, ArrowException, OSError):
        return None


def _records(
    label: ModelLabel,
    questions: pd.DataFrame,
    answers: np.ndarray,
    correct: np.ndarray,
    scores: Mapping[str, np.ndarray],
    evaluation_seed: int,
    condition: Mapping[str, Any],
) -> pd.DataFrame:
    """Columns of all records, in order."""
    table = questions[["domain", "category", "subject", "question"]].reset_index(drop=True)
    table = table.assign(**condition, correct=correct, **{"unparsed": 0.0, **scores}, answer=[LETTERS[one] for one in answers])
    first = {**dataclasses.asdict(label), "evaluation_seed": evaluation_seed}
    for place, (name, value) in enumerate(first.items()):
        table.insert(place, name, value)
    return table
