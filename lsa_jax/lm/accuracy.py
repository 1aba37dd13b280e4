"""Accuracies from records, and their changes from the base model, with errors over questions and over seeds."""

import numpy as np
import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.lm.records import BASE, CONDITION, SEEDS, SETTING


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
    return pd.DataFrame([{**group.iloc[0][SETTING].to_dict(), **_summary(group)} for group in groups])


def changes(records: pd.DataFrame) -> pd.DataFrame:
    """Average what fine-tuning changed: a model's answers less the base model's to the same questions.

    Paired by question, so that what makes questions hard for both drops out of the error. A fine-tuned model is compared with the base
    model of its own seed where there are several, else with the one there is; evaluation seeds are averaged first.

    Args:
        records: see `lsa_jax.lm.records`; with the base model's.

    Returns:
        What `accuracy` returns, for fine-tuned models alone and with `change` in place of `accuracy`.

    Raises:
        InputError: if the base model was not asked what the others were.
    """
    is_base = records["targets"] == BASE
    keys = ["domain", "question", *CONDITION, *(["seed"] if records[is_base]["seed"].nunique() > 1 else [])]
    before = records[is_base].groupby(keys)["correct"].mean().rename("before")
    paired = records[~is_base].join(before, on=keys)
    if paired["before"].isna().any():
        lacking = paired[paired["before"].isna()].iloc[0]
        raise InputError(
            f"the base model has no record of {lacking['question']!r} at {lacking['shots']} shots; evaluate it like the others first"
        )
    return accuracy(paired.assign(correct=paired["correct"] - paired["before"])).rename(columns={"accuracy": "change"})


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
