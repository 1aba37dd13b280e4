"""Accuracies and answers as tables to print: a row a model, zero-shot and few-shot in every category."""

import pandas as pd
from rich.table import Table

from lsa_jax.lm.records import BASE, LETTERS, RECIPE


def varying(table: pd.DataFrame) -> list[str]:
    """Return what fine-tuned models of a table differ in, beside targets, loss and step.

    Args:
        table: one row a setting, see `lsa_jax.lm.accuracy`.

    Returns:
        Names of columns.
    """
    tuned = table[table["targets"] != BASE]
    return [name for name in ("model", *RECIPE) if name in table and tuned[name].nunique() > 1]


def accuracy_table(accuracies: pd.DataFrame, shots: int) -> Table:
    """Lay out the accuracies, or their changes, of the last checkpoint of every run, and of the base model where it is there.

    Args:
        accuracies: see `lsa_jax.lm.accuracy.accuracy` and `changes`.
        shots: number of few-shot examples.

    Returns:
        The table; behind ± is the standard error over questions and seeds joined.
    """
    told = "change from the base model on the same questions" if "change" in accuracies else "accuracy"
    more = varying(accuracies)
    table = Table(title=f"{told}, zero-shot and {shots}-shot", title_justify="left")
    for heading in ("targets", "loss", "step", *more):
        table.add_column(heading.replace("_", " "))
    places = [(category, number) for category in accuracies["category"].unique() for number in (0, shots)]
    for category, number in places:
        table.add_column(f"{category}, {number}-shot", justify="right")
    for _, group in accuracies.groupby(["targets", "loss", *more], sort=False):
        last = group[group["step"] == group["step"].max()]
        cells = last.set_index(["category", "shots"])
        table.add_row(*map(str, last.iloc[0][["targets", "loss", "step", *more]]), *(_cell(cells, place) for place in places))
    return table


def answer_table(answers: pd.DataFrame, shots: int) -> Table:
    """Lay out how often each letter is chosen, by the last checkpoint of every run and the base model.

    Args:
        answers: see `lsa_jax.lm.accuracy.answers`; categories are averaged.
        shots: number of few-shot examples.

    Returns:
        The table; its first row says how often each letter is right.
    """
    more, chosen = varying(answers), answers[answers["shots"].isin([0, shots])]
    table = Table(title="share of each letter, and probability of the four together", title_justify="left")
    for heading in ("targets", "loss", "step", *more, "shots", *LETTERS, "no answer", "probability"):
        table.add_column(heading.replace("_", " "))
    means = chosen.groupby(["targets", "loss", *more, "step", "shots"], sort=False)[_NUMBERS].mean().reset_index()
    right = [f"{means[f'right_{letter}'].mean():.2f}" for letter in LETTERS]
    table.add_row("right answers", *[""] * (3 + len(more)), *right, "", "")
    for _, group in means.groupby(["targets", "loss", *more, "shots"], sort=False):
        last = group.loc[group["step"].idxmax()]
        named = [str(last[name]) for name in ("targets", "loss", "step", *more, "shots")]
        numbers = [f"{last[f'share_{letter}']:.2f}" for letter in LETTERS]
        table.add_row(*named, *numbers, f"{last['unparsed']:.2f}", f"{last['mass']:.3f}")
    return table


_NUMBERS = [*(f"{name}_{letter}" for name in ("share", "right") for letter in LETTERS), "unparsed", "mass"]


def _cell(rows: pd.DataFrame, place: tuple[str, int]) -> str:
    """An accuracy with its error."""
    if place not in rows.index:
        return "-"
    row = rows.loc[place]
    squares = row[["question_error", "seed_error"]].fillna(0.0) ** 2
    value = f"{row['change']:+.3f}" if "change" in row else f"{row['accuracy']:.3f}"
    return f"{value} ± {squares.sum() ** 0.5:.3f}"
