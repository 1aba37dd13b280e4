"""What the command `lsa-jax lm figure` draws and prints from stored records, without the optional extra."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from rich.console import Console

from lsa_jax import exit_codes, store
from lsa_jax.errors import InputError
from lsa_jax.lm import symbols
from lsa_jax.lm.accuracy import accuracy, answers, by_model, changes, changes_by_model, differences
from lsa_jax.lm.records import BASE, MODEL, load_records
from lsa_jax.lm.table import accuracy_table, answer_table
from lsa_jax.plotting.changes import plot_changes
from lsa_jax.plotting.language_model import plot_zero_against_few

PAIRS = (("v", "qkv"), ("v", "qk"), ("v", "q"), ("v", "k"))
"""Sets of targets that are compared directly, where both are there."""


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
