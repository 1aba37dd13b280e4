"""Accuracies as a table to print: a row a model, zero-shot and few-shot in every category."""

import pandas as pd
from rich.table import Table


def accuracy_table(accuracies: pd.DataFrame, shots: int) -> Table:
    """Lay out the accuracies, or their changes, of the last checkpoint of every run, and of the base model where it is there.

    Args:
        accuracies: see `lsa_jax.lm.accuracy.accuracy` and `changes`.
        shots: number of few-shot examples.

    Returns:
        The table; behind ± is the standard error over questions and seeds joined.
    """
    told = "change from the base model on the same questions" if "change" in accuracies else "accuracy"
    table = Table(title=f"{told}, zero-shot and {shots}-shot", title_justify="left")
    for heading in ("targets", "loss", "step"):
        table.add_column(heading)
    places = [(category, number) for category in accuracies["category"].unique() for number in (0, shots)]
    for category, number in places:
        table.add_column(f"{category}, {number}-shot", justify="right")
    for _, group in accuracies.groupby(["targets", "loss"], sort=False):
        last = group[group["step"] == group["step"].max()]
        cells = last.set_index(["category", "shots"])
        table.add_row(*map(str, last.iloc[0][["targets", "loss", "step"]]), *(_cell(cells, place) for place in places))
    return table


def _cell(rows: pd.DataFrame, place: tuple[str, int]) -> str:
    """An accuracy with its error."""
    if place not in rows.index:
        return "-"
    row = rows.loc[place]
    squares = row[["question_error", "seed_error"]].fillna(0.0) ** 2
    value = f"{row['change']:+.3f}" if "change" in row else f"{row['accuracy']:.3f}"
    return f"{value} ± {squares.sum() ** 0.5:.3f}"
