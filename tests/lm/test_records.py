"""Records and accuracies: columns, files that are whole or not there, and errors over questions, subjects and seeds."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lsa_jax.errors import InputError
from lsa_jax.lm import records
from lsa_jax.lm.accuracy import accuracy, answers, changes, clustered_error
from lsa_jax.lm.records import ModelLabel, Recipe

TUNED = ModelLabel("v-0", "v", "zero_shot", 20, 0, 0)
COLUMNS = (
    "run targets loss step seed data_seed model rank alpha learning_rate training_shots batch_size epochs epoch_steps num_training "
    "training_dtype reasoning evaluation_seed domain category subject question shots method format correct unparsed "
    "share_A share_B share_C share_D mass log_likelihood_A log_likelihood_B log_likelihood_C log_likelihood_D answer"
)


def questions(count: int, subjects: int = 2) -> pd.DataFrame:
    rows = [
        {"domain": "in", "category": "humanities", "subject": f"s{place % subjects}", "question": f"q{place}"} for place in range(count)
    ]
    return pd.DataFrame(rows)


def scored(label: ModelLabel, right: list[bool], shots: int = 0, evaluation_seed: int = 0, subjects: int = 2) -> pd.DataFrame:
    """Records in which the given questions are answered right."""
    answers = [place % 4 for place in range(len(right))]
    scores = np.full((len(right), 4), -9.0)
    scores[np.arange(len(right)), [answer if ok else (answer + 1) % 4 for answer, ok in zip(answers, right, strict=True)]] = -0.1
    table = questions(len(right), subjects)
    return records.score_records(label, table, scores, answers, shots=shots, format="chat", evaluation_seed=evaluation_seed)


def test_records_have_the_agreed_columns() -> None:
    table = scored(TUNED, [True, False, True])
    assert list(table.columns) == COLUMNS.split()
    assert table["correct"].tolist() == [1.0, 0.0, 1.0]
    assert table["answer"].tolist() == ["A", "B", "C"]
    assert table.loc[1, ["run", "targets", "step", "method", "log_likelihood_C"]].tolist() == ["v-0", "v", 20, "letters", -0.1]


def test_two_choices_leave_the_other_columns_empty() -> None:
    table = records.score_records(TUNED, questions(1), np.array([[-2.0, -1.0]]), [1], shots=3, format="symbols")
    assert table["correct"].tolist() == [1.0]
    assert table[["log_likelihood_C", "log_likelihood_D"]].isna().all(axis=None)


def test_equal_likelihoods_are_shared() -> None:
    scores = np.log([[0.2, 0.2, 0.2, 0.2], [0.3, 0.1, 0.3, 0.1], [0.4, 0.1, 0.3, 0.1]])
    table = records.score_records(TUNED, questions(3), scores, [0, 2, 1], shots=0, format="chat")
    assert table["correct"].tolist() == [0.25, 0.5, 0.0]
    assert table["share_A"].tolist() == [0.25, 0.5, 1.0]
    assert table["unparsed"].tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(table["mass"], [0.8, 0.8, 0.9])


def test_models_of_another_recipe_are_another_accuracy() -> None:
    labels = [dataclasses.replace(TUNED, recipe=Recipe(learning_rate=rate)) for rate in (1e-5, 1e-3)]
    found = accuracy(records.join([scored(label, [True, ok]) for label, ok in zip(labels, (True, False), strict=True)]))
    assert found.set_index("learning_rate")["accuracy"].to_dict() == {1e-5: 1.0, 1e-3: 0.5}


def test_shares_of_letters_and_mass() -> None:
    table = records.join([scored(TUNED, [True, True, True, False]), scored(TUNED, [True] * 4, shots=5)])
    said = answers(table).set_index("shots")
    assert said.loc[0, [f"share_{letter}" for letter in "ABCD"]].tolist() == [0.5, 0.25, 0.25, 0.0]
    assert said.loc[0, [f"right_{letter}" for letter in "ABCD"]].tolist() == [0.25] * 4
    assert said["mass"].to_dict() == pytest.approx(dict.fromkeys((0, 5), np.exp(-0.1) + 3 * np.exp(-9.0)))


def test_one_flipped_bit_is_damage(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> pd.DataFrame:
        calls.append(1)
        return scored(TUNED, [True, False] * 50)

    records.save_part(tmp_path, {"part": 1}, compute)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    place = content.find(b"humanities")
    content[place] ^= 1
    path.write_bytes(content)
    records.save_part(tmp_path, {"part": 1}, compute)
    assert len(calls) == 2


def test_samples_count_by_their_share() -> None:
    samples = [["A", "A", "B", None], [None, None, None, None]]
    scores = np.log([[0.2] * 4, [0.1] * 4])
    table = records.score_records(TUNED, questions(2), scores, [0, 1], shots=5, format="plain", samples=samples)
    assert list(table.columns) == COLUMNS.split()
    assert table["correct"].tolist() == [0.5, 0.0]
    assert table["unparsed"].tolist() == [0.25, 1.0]
    np.testing.assert_allclose(table["mass"], [0.8, 0.4])


def test_finished_parts_are_used_again_and_damaged_ones_are_not(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> pd.DataFrame:
        calls.append(1)
        return scored(TUNED, [True, False])

    settings: dict[str, Any] = {"step": 20, "shots": 0}
    first = records.save_part(tmp_path, settings, compute)
    pd.testing.assert_frame_equal(records.save_part(tmp_path, dict(reversed(settings.items())), compute), first)
    assert len(calls) == 1
    (path,) = tmp_path.iterdir()
    assert pd.read_parquet(path).attrs["settings"] == settings
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="is damaged or of another version: delete it"):
        records.load_records(tmp_path)
    records.save_part(tmp_path, settings, compute)
    assert len(calls) == 2
    pd.testing.assert_frame_equal(records.load_records(tmp_path), first)


def test_a_part_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> pd.DataFrame:
        raise KeyboardInterrupt

    records.save_part(tmp_path, {"part": 1}, lambda: scored(TUNED, [True]))
    with pytest.raises(KeyboardInterrupt):
        records.save_part(tmp_path, {"part": 2}, interrupt)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_without_records_or_with_two_of_the_same_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no records"):
        records.load_records(tmp_path)
    for number in range(2):
        records.save_part(tmp_path, {"batch": number}, lambda: scored(TUNED, [True]))
    names = sorted(path.name for path in tmp_path.iterdir())
    records.save_part(tmp_path, {"batch": 2}, lambda: scored(ModelLabel(), [True]))
    with pytest.raises(InputError, match=rf"two evaluations of run 'v-0', step 20, 0 shots, .* \({names[0]}, {names[1]}\): use a folder"):
        records.load_records(tmp_path)


def test_accuracy_and_its_errors_by_hand() -> None:
    right = np.array([[1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 1, 0], [1, 0, 0, 0, 1, 1]], dtype=bool)
    table = records.join([scored(ModelLabel(f"v-{seed}", "v", "zero_shot", 20, seed), row.tolist()) for seed, row in enumerate(right)])
    (row,) = accuracy(table).to_dict("records")
    by_question, by_seed = right.mean(axis=0), right.mean(axis=1)
    assert row["accuracy"] == pytest.approx(right.mean())
    assert row["question_error"] == pytest.approx(by_question.std(ddof=1) / 6**0.5)
    assert row["seed_error"] == pytest.approx(by_seed.std(ddof=1) / 3**0.5)
    assert row["standard_error"] == pytest.approx(np.hypot(row["question_error"], row["seed_error"]))
    totals = [(by_question - by_question.mean())[place::2].sum() for place in range(2)]
    assert row["subject_error"] == pytest.approx(np.sqrt(2 * np.square(totals).sum()) / 6)
    assert [row[name] for name in ("num_questions", "num_subjects", "num_seeds")] == [6, 2, 3]


def test_changes_are_those_of_the_same_questions() -> None:
    before, after = np.array([1, 1, 0, 0, 1, 0], dtype=bool), np.array([[1, 1, 0, 1, 1, 0], [0, 1, 0, 1, 1, 0]], dtype=bool)
    tables = [scored(ModelLabel(f"v-{seed}", "v", "zero_shot", 20, seed), row.tolist()) for seed, row in enumerate(after)]
    (row,) = changes(records.join([scored(ModelLabel(), before.tolist()), *tables])).to_dict("records")
    by_question, by_seed = after.mean(axis=0) - before, after.mean(axis=1) - before.mean()
    assert row["change"] == pytest.approx(by_question.mean())
    assert row["question_error"] == pytest.approx(by_question.std(ddof=1) / 6**0.5)
    assert row["seed_error"] == pytest.approx(by_seed.std(ddof=1) / 2**0.5)


def test_each_seed_is_compared_with_its_own_base() -> None:
    tables = [scored(ModelLabel(seed=seed), right) for seed, right in enumerate([[True, False], [False, False]])]
    tables += [
        scored(ModelLabel(f"v-{seed}", "v", "zero_shot", 20, seed), right) for seed, right in enumerate([[True, True], [True, False]])
    ]
    (row,) = changes(records.join(tables)).to_dict("records")
    assert row["change"] == 0.5
    assert row["seed_error"] == 0


def test_changes_need_the_base_model_on_the_same_questions() -> None:
    tables = [scored(ModelLabel(), [True, False]), scored(TUNED, [True, False], shots=5)]
    with pytest.raises(InputError, match=r"the base model has no record of .* at 5 shots"):
        changes(records.join(tables))


def test_evaluation_seeds_are_no_fine_tuning_seeds() -> None:
    table = records.join([scored(TUNED, right, shots=5, evaluation_seed=seed) for seed, right in enumerate([[True, False], [True, True]])])
    (row,) = accuracy(table).to_dict("records")
    assert row["accuracy"] == 0.75
    assert row["num_seeds"] == 1
    assert np.isnan(row["seed_error"])
    assert row["standard_error"] == row["question_error"]


def test_settings_are_kept_apart() -> None:
    tables = [scored(ModelLabel(), [True] * 4), scored(TUNED, [False] * 4), scored(TUNED, [True, False] * 2, shots=5)]
    found = accuracy(records.join(tables)).set_index(["targets", "shots"])["accuracy"]
    assert found.to_dict() == {("base", 0): 1.0, ("v", 0): 0.0, ("v", 5): 0.5}


def test_the_clustered_error_covers_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(0)
    clusters = pd.Series(np.repeat(np.arange(40), 10))
    draws = [pd.Series((rng.normal(size=(40, 1)) + 0.3 * rng.normal(size=(40, 10))).ravel()) for _ in range(200)]
    spread = np.std([draw.mean() for draw in draws])
    assert np.mean([clustered_error(draw, clusters) for draw in draws]) == pytest.approx(spread, rel=0.15)
    assert np.mean([draw.sem() for draw in draws]) < 0.5 * spread
    assert np.isnan(clustered_error(draws[0], pd.Series(np.zeros(400))))
