"""Accuracies from records, their changes from the base model, with errors over questions and over seeds, and what models answer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.lm.records import BASE, CONDITION, SEEDS, SETTING, SHARES
from lsa_jax.lm.settings import LETTERS

ERRORS = ["question_error", "subject_error", "seed_error"]
COUNTS = ["num_questions", "num_subjects", "num_seeds"]
RIGHT = [f"right_{letter}" for letter in LETTERS]


def accuracy(records: pd.DataFrame) -> pd.DataFrame:
    """Average records over questions and seeds.

    The mean is over questions of a question's mean over seeds. Its error has two parts. Over questions: the deviation of the questions'
    means, either plain (`question_error`, as if questions were drawn independently) or clustered (`subject_error`, as if subjects
    were). Over seeds: the deviation of the accuracies of the fine-tuned models (one a `seed` and `data_seed`; `evaluation_seed` is
    averaged within). `standard_error` joins the plain error and the seeds'; as what is left of the noise of single answers
    is in both, it is rather too large than too small.

    Args:
        records: see `lsa_jax.lm.records`.

    Returns:
        One row a combination of `SETTING`: accuracy, question_error, subject_error, seed_error, standard_error (NaN where there is one
        question, subject or seed; with one seed standard_error is question_error), num_questions, num_subjects and num_seeds.
    """
    groups = [group for _, group in records.groupby(SETTING, sort=False)]
    rows = [{**group.iloc[0][SETTING].to_dict(), **_summary(group)} for group in groups]
    return pd.DataFrame(rows, columns=[*SETTING, "accuracy", *ERRORS, "standard_error", *COUNTS])


def changes(records: pd.DataFrame) -> pd.DataFrame:
    """Average what fine-tuning changed: a model's answers less the base model's to the same questions.

    Args:
        records: see `lsa_jax.lm.records`; with the base model's.

    Returns:
        What `accuracy` returns, for fine-tuned models alone and with `change` in place of `accuracy`.

    Raises:
        InputError: if the base model was not asked what the others were.
    """
    return _as_change(accuracy(_less_base(records)))


def differences(records: pd.DataFrame, targets: str, other: str) -> pd.DataFrame:
    """Average how two sets of targets differ: answers of models of the one less those of the other to the same questions.

    Args:
        records: see `lsa_jax.lm.records`.
        targets: what was trained in the one.
        other: what was trained in the other; models of the same loss, step, seeds and recipe are compared.

    Returns:
        What `changes` returns, with `targets` named "one - other"; empty if there are no such models.
    """
    return _as_change(accuracy(_less_other(records, targets, other)))


def by_model(records: pd.DataFrame) -> pd.DataFrame:
    """Average records for each model apart, so that it can be seen how models scatter.

    Args:
        records: see `lsa_jax.lm.records`.

    Returns:
        A row a combination of `SETTING` and `SEEDS`, with `accuracy`.
    """
    means = records.groupby([*SETTING, *SEEDS], sort=False, as_index=False)["correct"].mean()
    return means.rename(columns={"correct": "accuracy"})


def changes_by_model(records: pd.DataFrame, pairs: Sequence[tuple[str, str]] = ()) -> pd.DataFrame:
    """Average changes from the base model, and differences between targets, for each model apart.

    Args:
        records: see `lsa_jax.lm.records`; with the base model's.
        pairs: targets and others whose differences are wanted too.

    Returns:
        What `by_model` returns, with `change` in place of `accuracy`.
    """
    parts = [_less_base(records), *(_less_other(records, *pair) for pair in pairs)]
    return _as_change(by_model(pd.concat(parts)))


def _less_base(records: pd.DataFrame) -> pd.DataFrame:
    """Records whose `correct` is what a fine-tuned model has above the base model, of its data seed and, if there are several, its seed."""
    is_base = records["targets"] == BASE
    keys = ["domain", "question", "model", "data_seed", *CONDITION, *(["seed"] if records[is_base]["seed"].nunique() > 1 else [])]
    before = records[is_base].groupby(keys)["correct"].mean().rename("before")
    paired = records[~is_base].join(before, on=keys)
    if paired["before"].isna().any():
        lacking = paired[paired["before"].isna()].iloc[0]
        raise InputError(
            f"the base model has no record of {lacking['question']!r} at {lacking['shots']} shots; evaluate it like the others first"
        )
    return paired.assign(correct=paired["correct"] - paired["before"])


def _less_other(records: pd.DataFrame, targets: str, other: str) -> pd.DataFrame:
    """Records whose `correct` is what models of some targets have above those of others."""
    keys = [*(name for name in SETTING if name != "targets"), *SEEDS, "evaluation_seed", "question"]
    there = records[records["targets"] == other].groupby(keys)["correct"].mean().rename("there")
    paired = records[records["targets"] == targets].join(there, on=keys, how="inner")
    return paired.assign(correct=paired["correct"] - paired["there"], targets=f"{targets} - {other}")


def _as_change(table: pd.DataFrame) -> pd.DataFrame:
    """Averages of differences under their own name."""
    return table.rename(columns={"accuracy": "change"})


def answers(records: pd.DataFrame) -> pd.DataFrame:
    """Average what models say, whether it is right or not.

    Args:
        records: see `lsa_jax.lm.records`.

    Returns:
        One row a combination of `SETTING`: `share_A` to `share_D`, how often each letter is chosen (a model that knows nothing may say A to
        nearly all), `right_A` to `right_D`, how often it is the right one, `unparsed`, the share of samples without an answer, and
        `mass`, the mean probability of the four letters together where the prompt ends.
    """
    right = pd.get_dummies(records["answer"], prefix="right", dtype=float).reindex(columns=RIGHT, fill_value=0.0)
    table = pd.concat([records[[*SETTING, *SHARES, "unparsed", "mass"]], right], axis=1)
    return table.groupby(SETTING, sort=False, as_index=False).mean()


def clustered_error(values: pd.Series, clusters: pd.Series) -> float:
    """Compute the standard error of a mean of values that are independent between clusters only.

    Args:
        values: the values.
        clusters: the cluster of each.

    Returns:
        sqrt(G/(G-1) * sum over clusters of (sum of deviations in it)²) / number of values; NaN for one cluster.

    Example:
        >>> clustered_error(pd.Series([0.0, 0.0, 1.0, 1.0]), pd.Series([0, 0, 1, 1]))
        0.5
    """
    totals = (values - values.mean()).groupby(clusters).sum()
    if len(totals) < 2:
        return float("nan")
    return float(np.sqrt(len(totals) / (len(totals) - 1) * (totals**2).sum()) / len(values))


def _summary(group: pd.DataFrame) -> dict[str, float]:
    """Accuracy, errors and counts of one setting."""
    questions = group.groupby(["subject", "question"])["correct"].mean().reset_index()
    models = group.groupby(SEEDS)["correct"].mean()
    errors = {
        "question_error": float(questions["correct"].sem()),
        "subject_error": clustered_error(questions["correct"], questions["subject"]),
        "seed_error": float(models.sem()),
    }
    counts = {"num_questions": len(questions), "num_subjects": questions["subject"].nunique(), "num_seeds": len(models)}
    total = float(np.hypot(errors["question_error"], np.nan_to_num(errors["seed_error"])))
    return {"accuracy": float(questions["correct"].mean()), **errors, "standard_error": total, **counts}
