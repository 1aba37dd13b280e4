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
from lsa_jax.lm.settings import LETTERS, FinetuneSettings

BASE = "base"
SEEDS = ["seed", "data_seed"]
CONDITION = ["shots", "method", "format"]
SHARES = [f"share_{letter}" for letter in LETTERS]
SUFFIX, TEXTS_SUFFIX = ".records.parquet", ".texts.parquet"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model was fine-tuned, see `lsa_jax.lm.settings`; `reasoning` is a digest of what was supplied. Zeros before any fine-tuning."""

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

    @classmethod
    def of(cls, how: FinetuneSettings, num_training: int, reasoning: str = "") -> "Recipe":
        """Return the recipe of a run."""
        sizes = how.rank, how.alpha, how.learning_rate, how.shots, how.batch_size, how.epochs, how.steps
        return cls(*sizes, num_training, how.dtype, reasoning)


RECIPE = [field.name for field in dataclasses.fields(Recipe)]


@dataclasses.dataclass(frozen=True)
class ModelLabel:
    """Which model was evaluated.

    Attributes:
        run: name of the fine-tuning run.
        targets: what was trained.
        loss: what it was trained on; all three are `base` before any fine-tuning.
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
        return told | told.pop("recipe")


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
    samples: Sequence[Sequence[str | None]] | None = None,
) -> pd.DataFrame:
    """Lay out what a model says as records, one row a question.

    `questions` has the columns domain, category, subject and question (an identifier); `answers` are the places of the right ones among the
    choices of `log_likelihoods`, (questions, choices), at most four. Where answers are sampled, `samples` are the letters that the samples
    of each question say, None for none; else the likeliest choice counts.

    Returns:
        Those columns, the model's, `evaluation_seed`, `shots`, `method`, `format`, `correct` (1 if the likeliest choice is right; of k
        likeliest ones, as rounding to bfloat16 makes them, 1/k each; of samples the share that is right), `unparsed` (the share of samples
        without a letter), `share_A` to `_D` (what was chosen), `mass` (probability of all choices together), `log_likelihood_A` to `_D`
        and `answer`.
    """
    right = np.asarray(answers)
    if samples is None:
        likeliest = log_likelihoods == log_likelihoods.max(axis=1, keepdims=True)
        shares = _four_columns(likeliest / likeliest.sum(axis=1, keepdims=True), 0.0)
    else:
        shares = np.array([[np.mean([one == letter for one in row]) for letter in LETTERS] for row in samples])
    method, scores = "letters" if samples is None else "generation", _four_columns(log_likelihoods, np.nan)
    content = {
        **label.columns(),
        "evaluation_seed": evaluation_seed,
        **questions[["domain", "category", "subject", "question"]].to_dict("list"),
        "shots": shots,
        "method": method,
        "format": format,
        "correct": shares[np.arange(len(right)), right],
        "unparsed": (1 - shares.sum(axis=1)).round(12),
        **dict(zip(SHARES, shares.T, strict=True)),
        "mass": np.exp(log_likelihoods.astype(np.float64)).sum(axis=1),
        **{f"log_likelihood_{letter}": column for letter, column in zip(LETTERS, scores.T, strict=True)},
        "answer": [LETTERS[one] for one in right],
    }
    return pd.DataFrame(content, index=range(len(right)))


def save_part(folder: Path, settings: Mapping[str, Any], compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the records of a part that `settings`, JSON values, determine; compute and store them unless they are there undamaged."""
    path = part_path(folder, settings)
    table = _read(path)
    if table is None:
        table = compute()
        table.attrs = {"settings": dict(settings), "environment": store.environment()}
        save_rows(path, table)
    return table


def part_path(folder: Path, settings: Mapping[str, Any], suffix: str = SUFFIX) -> Path:
    """Return the file of a part, by what determines the part's numbers."""
    return folder / f"{hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:20]}{suffix}"


def save_rows(path: Path, table: pd.DataFrame) -> None:
    """Write a table with checksums of its pages, whole or not at all; its folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.replacing(path.absolute()) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True)


def load_records(folder: Path) -> pd.DataFrame:
    """Read all records that `save_part` stored in a folder; none, damage, and a question twice under one setting are refused."""
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
    if len(double := records[records.duplicated(KEY)]):
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
    except (ArrowException, OSError, ValueError):
        return None


def _four_columns(numbers: np.ndarray, missing: float) -> np.ndarray:
    """Numbers of the choices there are, and what stands for the others."""
    return np.pad(numbers.astype(np.float64), ((0, 0), (0, len(LETTERS) - numbers.shape[1])), constant_values=missing)
