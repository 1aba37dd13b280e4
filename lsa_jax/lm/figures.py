"""What the command `lsa-jax lm figure` draws and prints from stored records, without the optional extra."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from rich.console import Console
from rich.table import Table

from lsa_jax import exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.lm import symbols
from lsa_jax.lm.accuracy import accuracy, answers, by_model, changes, changes_by_model, differences
from lsa_jax.lm.records import BASE, MODEL, RECIPE, load_records
from lsa_jax.lm.settings import LETTERS
from lsa_jax.plotting.changes import plot_changes
from lsa_jax.plotting.language_model import plot_zero_against_few

PAIRS = (("v", "qkv"), ("v", "qk"), ("v", "q"), ("v", "k"))
"""Sets of targets that are compared directly, where both are there."""
ANSWERED = [*(f"{name}_{letter}" for name in ("share", "right") for letter in LETTERS), "unparsed", "mass"]


def figure(folder: Path, out: Path, shots: int | None = None, categories: Sequence[str] = (), chosen: Sequence[str] = ()) -> int:
    """Draw the figure of stored records, and print and write their numbers.

    Args:
        folder: of the records.
        out: figure and numbers, without a suffix.
        shots: number of few-shot examples; by default 5, and for the small experiment its own number.
        categories: a panel each; by default Humanities and STEM, and for the small experiment both of its own.
        chosen: NAME=VALUE, which fine-tuned models, by columns of the records.

    Returns:
        The exit code.

    Raises:
        InputError: if there are no records of a category or of what was chosen.
    """
    found = select(load_records(folder), chosen)
    small = set(found["format"]) == {symbols.FORMAT}
    categories = categories or (tuple(symbols.ASKED) if small else ("humanities", "stem"))
    missing = set(categories) - set(found["category"])
    if missing:
        raise InputError(f"{folder} has no records of {sorted(missing)[0]!r}; it has {', '.join(sorted(set(found['category'])))}")
    store.writable_folder(out.parent)
    found = found[found["category"].isin(categories)]
    if small:
        draw(found, out, shots or symbols.SHOTS, exhaustive=(0,), asked=symbols.ASKED)
    else:
        draw(found, out, shots or 5)
    return exit_codes.DONE


def draw(records: pd.DataFrame, out: Path, shots: int, *, exhaustive: Sequence[int] = (), asked: Mapping[str, str] | None = None) -> None:
    """Draw both figures of records, write their numbers, and print them.

    Args:
        records: see `lsa_jax.lm.records`.
        out: figure and numbers, without a suffix; `_paths`, `_changes`, `_models` and `_answers` are added for the others.
        shots: number of few-shot examples.
        exhaustive: numbers of shots at which all questions there are were asked, so that the draw of questions makes no error.
        asked: what is asked without shots in each category, where that is something else than with them.
    """
    pairs = [pair for pair in PAIRS if set(pair) <= set(records["targets"])]
    numbers, effects = (
        _without_question_error(table, exhaustive)
        for table in (accuracy(records), pd.concat([changes(records), *(differences(records, *pair) for pair in pairs)]))
    )
    said, models = answers(records), changes_by_model(records, pairs)
    for name, table in (("", numbers), ("_changes", effects), ("_models", models), ("_answers", said)):
        store.save_table(out.with_name(f"{out.name}{name}"), table)
    console = Console(width=150, highlight=False, markup=False)
    for table in (accuracy_table(numbers, shots), accuracy_table(effects, shots), answer_table(said, shots)):
        console.print(table)
    with mpl.rc_context({"pdf.fonttype": 42}):
        store.save_figure(out, plot_changes(effects, models, numbers[numbers["targets"] == BASE], shots, asked))
        store.save_figure(out.with_name(f"{out.name}_paths"), plot_zero_against_few(by_model(records), shots, asked))
    console.print(f"written: {out}.pdf, .png, {out.name}_paths.*; numbers: {out.name}, _changes, _models, _answers, each .csv and .parquet")


def select(records: pd.DataFrame, chosen: Sequence[str]) -> pd.DataFrame:
    """Return the records of some fine-tuned models, and of the base model.

    Args:
        records: see `lsa_jax.lm.records`.
        chosen: NAME=VALUE, by columns of a model.

    Returns:
        Their rows.

    Raises:
        InputError: if a column does not exist, or has no such value.
    """
    for one in chosen:
        name, _, value = one.partition("=")
        if name not in MODEL:
            raise InputError(f"{one!r} chooses nothing; wanted is NAME=VALUE with a NAME of {', '.join(MODEL)}")
        tuned = records["targets"] != BASE
        values = records.loc[tuned, name].unique()
        same = [known for known in values if str(known) == value or _equal(known, value)]
        if not same:
            raise InputError(f"no fine-tuned model has {name} {value!r}; there are {', '.join(sorted(map(str, values)))}")
        records = records[~tuned | records[name].isin(same)]
    return records


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
    means = chosen.groupby(["targets", "loss", *more, "step", "shots"], sort=False)[ANSWERED].mean().reset_index()
    right = [f"{means[f'right_{letter}'].mean():.2f}" for letter in LETTERS]
    table.add_row("right answers", *[""] * (3 + len(more)), *right, "", "")
    for _, group in means.groupby(["targets", "loss", *more, "shots"], sort=False):
        last = group.loc[group["step"].idxmax()]
        named = [str(last[name]) for name in ("targets", "loss", "step", *more, "shots")]
        numbers = [f"{last[f'share_{letter}']:.2f}" for letter in LETTERS]
        table.add_row(*named, *numbers, f"{last['unparsed']:.2f}", f"{last['mass']:.3f}")
    return table


def _without_question_error(table: pd.DataFrame, exhaustive: Sequence[int]) -> pd.DataFrame:
    """Averages whose questions are all there are have no error over questions."""
    asked = table["shots"].isin(exhaustive)
    return table.assign(**{name: table[name].mask(asked, 0.0) for name in ("question_error", "subject_error")})


def _equal(known: object, value: str) -> bool:
    """Whether a text is the number."""
    try:
        return bool(known == float(value))
    except ValueError:
        return False


def _cell(rows: pd.DataFrame, place: tuple[str, int]) -> str:
    """An accuracy with its error."""
    if place not in rows.index:
        return "-"
    row = rows.loc[place]
    squares = row[["question_error", "seed_error"]].fillna(0.0) ** 2
    value = f"{row['change']:+.3f}" if "change" in row else f"{row['accuracy']:.3f}"
    return f"{value} ± {squares.sum() ** 0.5:.3f}"
