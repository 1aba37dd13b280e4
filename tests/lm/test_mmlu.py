"""MMLU from local folders: every layout, both category maps, seeded splits, and refusals of what is missing or corrupt."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fakes import make_questions, write_csv, write_parquet

from lsa_jax.errors import InputError
from lsa_jax.lm import mmlu, splits
from lsa_jax.lm.questions import LM_EVAL, MAPS, Question, category, digest, without_duplicates
from lsa_jax.lm.settings import CATEGORIES

SUBJECTS = ["anatomy", "philosophy", "professional_law"]
LAYOUTS: dict[str, Callable[[Path, list[Question]], Path]] = {
    "parquet by subject": lambda folder, questions: write_parquet(folder, questions, "test"),
    "parquet together": lambda folder, questions: write_parquet(folder, questions, "test", together=True),
    "parquet in data": lambda folder, questions: write_parquet(folder / "data", questions, "test").parent,
    "csv": lambda folder, questions: write_csv(folder, questions, "test"),
    "csv in data": lambda folder, questions: write_csv(folder / "data", questions, "test").parent,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_questions(tmp_path: Path, layout: str) -> None:
    odd = Question("philosophy", 'He said "None",\nthen?', ("None", "NA", "", " 3"), 1)
    questions = [*make_questions(SUBJECTS, 4), odd]
    assert set(mmlu.load(LAYOUTS[layout](tmp_path, questions))) == set(questions)


def test_all_subjects_together_are_read_once(tmp_path: Path) -> None:
    questions = make_questions(SUBJECTS, 3)
    write_parquet(tmp_path, questions, "test")
    write_parquet(tmp_path, questions, "test", together=True)
    (tmp_path / "auxiliary_train").mkdir()
    pd.DataFrame({"question": ["?"]}).to_parquet(tmp_path / "auxiliary_train" / "test-00000-of-00001.parquet")
    assert len(mmlu.load(tmp_path)) == len(questions)


def test_splits_of_the_data_are_told_apart(tmp_path: Path) -> None:
    for number, split in enumerate(("test", "validation", "dev")):
        write_parquet(tmp_path, make_questions(["anatomy"], 2 + number), split)
    assert [len(mmlu.load(tmp_path, split)) for split in ("test", "validation", "dev")] == [2, 3, 4]
    write_csv(tmp_path / "csv", make_questions(["anatomy"], 6), "val")
    assert len(mmlu.load(tmp_path / "csv", "validation")) == 6


def break_parquet(folder: Path) -> None:
    (folder / "anatomy" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 cut short")


def rename_column(folder: Path) -> None:
    path = folder / "anatomy" / "test-00000-of-00001.parquet"
    pd.read_parquet(path).rename(columns={"choices": "options"}).to_parquet(path)


def change(column: str, value: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "anatomy" / "test-00000-of-00001.parquet"
        table = pd.read_parquet(path)
        table[column] = [value] * len(table)
        table.to_parquet(path)

    return write


def drop_rows(folder: Path) -> None:
    path = folder / "anatomy" / "test-00000-of-00001.parquet"
    pd.read_parquet(path).iloc[:0].to_parquet(path)


def write_text(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "anatomy" / "test-00000-of-00001.parquet").unlink()
        (folder / "test").mkdir()
        (folder / "test" / "anatomy_test.csv").write_text(text)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_parquet, "no readable parquet file.*copy it again"),
        (rename_column, "no column 'choices'"),
        (change("choices", ["a", "b", "c"]), "row 0 has 3 choices"),
        (change("answer", 4), "row 0 has the answer 4"),
        (write_text("question,A,B,C,D\n"), "row 0 has 5 columns"),
        (write_text("question,a,b,c,d,E\n"), "row 0 has the answer"),
        (write_text('"question,a,b,c,d,A\n'), "no readable CSV file"),
        (write_text(""), "anatomy_test.csv is empty"),
        (write_text("question,a,b,c,d,AB\n"), "row 0 has the answer 'AB'"),
        (write_text("question,a,b,c,d,BCD\n"), "row 0 has the answer 'BCD'"),
        (write_text(" ,a,b,c,d,A\n"), "row 0 has an empty question"),
        (write_text("que\x00stion,a,b,c,d,A\n"), r"row 0 has the character '\\x00'"),
        (change("choices", "ABCD"), "row 0 has the choices 'ABCD'; an MMLU question has a list of four texts"),
        (change("choices", None), "row 0 has the choices None"),
        (change("choices", ["a", None, "c", "d"]), "row 0 has None where a text is wanted"),
        (change("question", None), "row 0 has None where a text is wanted"),
        (change("question", ""), "row 0 has an empty question"),
        (change("subject", "virology"), "row 0 has the subject 'virology' in the folder of anatomy"),
        (change("answer", True), "row 0 has the answer True"),
        (change("answer", None), "row 0 has the answer None"),
        (change("answer", 1.0), "row 0 has the answer 1.0"),
        (change("question", "\ufeffWhich?"), "row 0 has the character"),
        (drop_rows, "test-00000-of-00001.parquet is empty"),
    ],
)
def test_damaged_data_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    write_parquet(tmp_path, make_questions(["anatomy"], 2), "test")
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        mmlu.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_first_question(tmp_path: Path) -> None:
    questions = make_questions(["anatomy"], 2)
    path = write_csv(tmp_path, questions, "test") / "test" / "anatomy_test.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert set(mmlu.load(tmp_path)) == set(questions)


def test_the_digest_sees_answers_and_no_order() -> None:
    first, second = make_questions(["anatomy"], 2)
    other = Question(first.subject, first.question, first.choices, (first.answer + 1) % 4)
    assert digest([first, second]) == digest([second, first, first]) != digest([other, second])


def test_missing_data_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        mmlu.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no questions of the split dev: wanted is"):
        mmlu.load(tmp_path, "dev")
    with pytest.raises(InputError, match=r"unknown split 'tset'.*'test'"):
        mmlu.load(tmp_path, "tset")


def test_duplicates_are_dropped_whatever_their_subject() -> None:
    first, second = make_questions(["anatomy"], 2)
    again = Question("virology", f" {first.question} ", first.choices, first.answer)
    other = Question("anatomy", first.question, (*second.choices[:3], "else"), 0)
    assert without_duplicates([first, second, again, other]) == [first, second, other]


def test_category_maps() -> None:
    subjects = [subject for names in LM_EVAL.values() for subject in names]
    assert len(subjects) == len(set(subjects)) == 57
    counts = {map: [sum(category(one, map) == name for one in subjects) for name in CATEGORIES] for map in MAPS}
    assert counts == {"authors": [18, 13, 12, 14], "lm_eval": [19, 13, 12, 13]}
    with pytest.raises(InputError, match=r"unknown subject 'anatomi'.*'anatomy'"):
        category("anatomi")


def test_the_category_map_is_lm_evals() -> None:
    lm_eval = pytest.importorskip("lm_eval")
    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    found = {}
    for path in folder.glob("mmlu_*.yaml"):
        match = re.search(r'"tag": "mmlu_(\w+)_tasks"', path.read_text())
        assert match
        found[path.stem.removeprefix("mmlu_")] = match.group(1)
    assert found == {subject: category(subject, "lm_eval") for subject in found}
    assert len(found) == 57


ALL = make_questions(["philosophy", "professional_law", "anatomy", "virology", "sociology", "astronomy"], 30)


def test_splits_are_disjoint_and_of_the_right_sizes() -> None:
    made = splits.split(ALL, 0, num_training=20, num_evaluation=10)
    parts = [made.training, made.evaluation, made.rest]
    assert [len(part) for part in parts] == [20, 40, len(ALL) - 60]
    assert len({one.identifier for part in parts for one in part}) == len(ALL)
    assert {made.categories[one.subject] for one in made.training} == {"humanities"}
    table = made.table()
    assert dict(table.value_counts(["domain", "category"])) == {
        ("in", "humanities"): 10,
        ("out", "stem"): 10,
        ("out", "social_sciences"): 10,
        ("out", "other"): 10,
    }
    assert set(table.loc[table["subject"] == "anatomy", "category"]) == {"other"}
    assert len(made.rest) == len({one.identifier for one in made.rest})


def test_splits_depend_on_the_seed_alone() -> None:
    made, again = (splits.split(order, 3, num_training=20, num_evaluation=10) for order in (ALL, ALL[::-1] + ALL[:5]))
    other = splits.split(ALL, 4, num_training=20, num_evaluation=10)
    fewer = splits.split(ALL, 3, num_training=5, num_evaluation=10)
    assert made == again
    assert made.evaluation == fewer.evaluation
    assert made.training[:5] == fewer.training
    assert {one.identifier for one in made.evaluation} != {one.identifier for one in other.evaluation}
    first, second = (splits.split(ALL, seed, num_training=20, num_evaluation=5, evaluated=["stem"]).training for seed in (3, 4))
    assert {one.identifier for one in first} != {one.identifier for one in second}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_seed": -1}, "data_seed is -1; it must be a whole number, at least 0"),
        ({"num_training": 0}, "num_training is 0; it must be a whole number, at least 1"),
        ({"num_evaluation": -3}, "num_evaluation is -3"),
    ],
)
def test_counts_that_make_no_split_are_refused(settings: dict[str, int], message: str) -> None:
    given: dict[str, Any] = {"data_seed": 0, **settings}
    with pytest.raises(InputError, match=message):
        splits.split(ALL, **given)


def test_splits_as_trained_do_not_ask_what_was_trained_on() -> None:
    made = splits.split(ALL, 0, num_training=20, num_evaluation=10)
    recorded = {"training": [one.identifier for one in made.training], "evaluation": [one.identifier for one in made.evaluation]}
    assert splits.as_trained(ALL[::-1], recorded) == made
    again = Question("anatomy", made.training[0].question, made.training[0].choices, 0)
    assert splits.as_trained([*ALL, again], recorded).rest == made.rest
    with pytest.raises(InputError, match="of the run is not in the data: pass the data that it was trained on"):
        splits.as_trained([one for one in ALL if one != made.training[3]], recorded)


def test_training_questions_are_among_the_trainable() -> None:
    trainable = {one.identifier for one in ALL[:40]}
    made = splits.split(ALL, 0, num_training=15, num_evaluation=10, trainable=trainable)
    assert {one.identifier for one in made.training} <= trainable
    with pytest.raises(InputError, match="humanities questions to train on, 45 are asked for"):
        splits.split(ALL, 0, num_training=45, num_evaluation=10, trainable=trainable)
    with pytest.raises(InputError, match="there are 30 stem questions to evaluate, 31 are asked for"):
        splits.split(ALL, 0, num_training=1, num_evaluation=31, evaluated=["stem"])


def test_shots_are_of_the_same_subject_seeded_and_nested() -> None:
    pool = splits.by_subject(ALL)
    for question in ALL[:40]:
        seven, three, other = (splits.draw_shots(question, pool, shots, seed) for shots, seed in ((7, 0), (3, 0), (7, 1)))
        assert seven[:3] == three
        assert len({one.identifier for one in seven}) == 7
        assert {one.subject for one in seven} == {question.subject}
        assert question not in seven
        assert seven != other
    assert splits.draw_shots(ALL[0], pool, 7, 0) != splits.draw_shots(ALL[1], pool, 7, 0)
    with pytest.raises(InputError, match="there are 29 philosophy questions as examples, 30 are asked for"):
        splits.draw_shots(ALL[0], pool, 30, 0)
