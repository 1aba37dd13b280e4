"""Records of an evaluation, one row a question: their columns, and the files of which each is whole or not there."""

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
from lsa_jax.lm.divergence import DivergedError

BASE = "base"
LETTERS = "ABCD"
SEEDS = ["seed", "data_seed"]
CONDITION = ["shots", "method", "format"]
SHARES = [f"share_{letter}" for letter in LETTERS]
SUFFIX, TEXTS_SUFFIX = ".records.parquet", ".texts.parquet"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model was fine-tuned, but for what it is named by; zeros and nothing before any fine-tuning.

    Attributes:
        rank: inner size of the adapters.
        alpha: their outputs are multiplied with alpha / rank.
        learning_rate: at the first step.
        training_shots: examples in a few-shot training prompt.
        batch_size: examples of an update.
        epochs: number of epochs.
        epoch_steps: updates of an epoch.
        num_training: training questions.
        training_dtype: type of the frozen weights and of the computation.
        reasoning: digest of the chains of reasoning it was trained on; empty for answers of one letter.
    """

    rank: int = 0
    alpha: float = 0.0
    learning_rate: float = 0.0
    training_shots: int = 0
    batch_size: int = 0
    epochs: int = 0
    epoch_steps: int = 0
    num_training: int = 0
    training_dtype: str = ""
    reasoning: str = ""


RECIPE = [field.name for field in dataclasses.fields(Recipe)]


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
        model: fingerprint of the base model; empty where models that differ by their seed are averaged.
        recipe: how it was fine-tuned.
    """

    run: str = BASE
    targets: str = BASE
    loss: str = BASE
    step: int = 0
    seed: int = 0
    data_seed: int = 0
    model: str = ""
    recipe: Recipe = Recipe()

    @property
    def is_base(self) -> bool:
        """Whether this is the model before any fine-tuning."""
        return self.targets == BASE

    def columns(self) -> dict[str, Any]:
        """Return what records say of the model, by column."""
        told = dataclasses.asdict(self)
        recipe = told.pop("recipe")
        return {**told, **recipe}


MODEL = list(ModelLabel().columns())
SETTING = ["targets", "loss", "step", "model", *RECIPE, "domain", "category", *CONDITION]
"""Columns whose values make one accuracy; it is averaged over questions and seeds."""
KEY = [*MODEL, "evaluation_seed", "question", *CONDITION]


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
        One row a question: those columns, the model's, `evaluation_seed`, `shots`, `method`, `format`, `correct` (1 if the likeliest choice
        is the right one; k likeliest ones, as rounding to bfloat16 makes them, count 1/k each), `unparsed`, `share_A` to `_D` (what was
        chosen), `mass` (probability of all choices together), `log_likelihood_A` to `_D` and `answer`.

    Raises:
        DivergedError: if a log-likelihood is NaN or infinite, so that nothing was answered.
    """
    check_finite(log_likelihoods)
    likeliest = log_likelihoods == log_likelihoods.max(axis=1, keepdims=True)
    shares = np.zeros((len(answers), len(LETTERS)))
    shares[:, : likeliest.shape[1]] = likeliest / likeliest.sum(axis=1, keepdims=True)
    condition = {"evaluation_seed": evaluation_seed, "shots": shots, "method": "letters", "format": format}
    return _records(label, questions, answers, shares, log_likelihoods, condition)


def sample_records(
    label: ModelLabel,
    questions: pd.DataFrame,
    samples: Sequence[Sequence[str | None]],
    log_likelihoods: np.ndarray,
    answers: Sequence[int],
    *,
    shots: int,
    format: str,
    evaluation_seed: int = 0,
) -> pd.DataFrame:
    """Lay out sampled answers as records; all but the letters read from each question's samples (None if none) as of `score_records`.

    Returns:
        One row a question; `share_A` to `_D` are the shares of samples that say the letter, `correct` that of the right one, `unparsed`
        that of samples without any.
    """
    shares = np.array([[np.mean([one == letter for one in row]) for letter in LETTERS] for row in samples])
    condition = {"evaluation_seed": evaluation_seed, "shots": shots, "method": "generation", "format": format}
    return _records(label, questions, answers, shares, log_likelihoods, condition)


def check_finite(log_likelihoods: np.ndarray) -> None:
    """Refuse log-likelihoods that are no answers, as a model that has diverged gives them.

    Args:
        log_likelihoods: (questions, choices).

    Raises:
        DivergedError: if one is NaN or infinite.
    """
    wrong = int((~np.isfinite(log_likelihoods).all(axis=1)).sum())
    if wrong:
        raise DivergedError(f"{wrong} of {len(log_likelihoods)} questions have log-likelihoods that are no finite numbers")


def save_part(folder: Path, settings: Mapping[str, Any], compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the records of a part; compute and store them, whole or not at all, unless they are there undamaged.

    Args:
        folder: of the records; made if it does not exist.
        settings: what determines the part's numbers; JSON values. They are stored with the records, with the environment.
        compute: what returns the records.

    Returns:
        The records.
    """
    path = part_path(folder, settings)
    found = _read(path)
    if found is not None:
        return found
    table = compute()
    table.attrs = {"settings": dict(settings), "environment": store.environment()}
    save_rows(path, table)
    return table


def part_path(folder: Path, settings: Mapping[str, Any], suffix: str = SUFFIX) -> Path:
    """Return the file of a part.

    Args:
        folder: of the records.
        settings: what determines the part's numbers.
        suffix: what it holds.

    Returns:
        The path.
    """
    text = json.dumps(dict(settings), sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}{suffix}"


def save_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table with checksums of its pages, whole or not at all.

    Args:
        path: the file; its folder is made if it does not exist.
        table: the table.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.replacing(path.absolute()) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True)


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
        if table is None or not {*KEY, *SHARES} <= set(table.columns):
            raise InputError(f"{path} is damaged or of another version: delete it and evaluate again, what is whole is kept")
        tables.append(table)
    records = join(tables)
    double = records[records.duplicated(KEY)]
    if len(double):
        one = double.iloc[0][KEY]
        places = [path.name for path, table in zip(paths, tables, strict=True) if (table[KEY] == one).all(axis=1).any()]
        raise InputError(
            f"{folder} holds two evaluations of run {one['run']!r}, step {one['step']}, {one['shots']} shots, with different settings "
            f"({', '.join(places)}): use a folder for each, or delete the one that is not wanted"
        )
    return records


def join(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all parts (at least one), without what is stored of their settings."""
    for part in parts:
        part.attrs = {}
    return pd.concat(parts, ignore_index=True)


def _read(path: Path) -> pd.DataFrame | None:
    """Records of a file; None if it is not there or damaged."""
    try:
        return pd.read_parquet(path.absolute(), page_checksum_verification=True)
    except (FileNotFoundError, ArrowException, OSError, ValueError):
        return None


def _records(
    label: ModelLabel,
    questions: pd.DataFrame,
    answers: Sequence[int],
    shares: np.ndarray,
    log_likelihoods: np.ndarray,
    condition: Mapping[str, Any],
) -> pd.DataFrame:
    """Columns of all records, in order."""
    scores = np.full((len(answers), len(LETTERS)), np.nan)
    scores[:, : log_likelihoods.shape[1]] = log_likelihoods
    right = np.asarray(answers)
    first = {**label.columns(), "evaluation_seed": condition["evaluation_seed"]}
    asked = questions[["domain", "category", "subject", "question"]].to_dict("list")
    numbers = {"correct": shares[np.arange(len(right)), right], "unparsed": (1 - shares.sum(axis=1)).round(12)}
    chosen = {name: shares[:, place] for place, name in enumerate(SHARES)}
    mass = np.exp(log_likelihoods.astype(np.float64)).sum(axis=1)
    likelihoods = {f"log_likelihood_{letter}": scores[:, place] for place, letter in enumerate(LETTERS)}
    told = {name: condition[name] for name in CONDITION}
    answer = [LETTERS[one] for one in right]
    content = {**first, **asked, **told, **numbers, **chosen, "mass": mass, **likelihoods, "answer": answer}
    return pd.DataFrame(content, index=range(len(right)))
