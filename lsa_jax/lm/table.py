"""Accuracies as a table to print: a row a model, zero-shot and few-shot in every category."""

import pandas as pd
from rich.table import Table


def accuracy_table(accuracies: pd.DataFrame, shots: int) -> Table:
    """Lay out the accuracies of the base model and of the last checkpoint of every run.

    Args:
        accuracies: see `lsa_jax.lm.accuracy.accuracy`.
        shots: number of few-shot examples.

    Returns:
        The table; behind ± is the standard error over questions and seeds joined.
    """
    table = Table(title=f"accuracy, zero-shot and {shots}-shot", title_justify="left")
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
    return f"{row['accuracy']:.3f} ± {squares.sum() ** 0.5:.3f}"
