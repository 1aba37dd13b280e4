"""Evaluation of models: every part once, on disk, the base model always; sampling and what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from fakes import make_questions, write_tokenizer

from lsa_jax.errors import InputError
from lsa_jax.lm import evaluate, generation, prompts, records, scoring, snapshot, splits, tiny, tokenizer
from lsa_jax.lm.evaluate import Candidate
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.records import ModelLabel
from lsa_jax.lm.settings import Protocol
from lsa_jax.lm.tokenizer import Tokenizer

VOCABULARY = 512
TUNED = ModelLabel("v-0", "v", "zero_shot", 20)
PROTOCOL = Protocol(shots=(0, 1), seeds=(0, 1), format="plain", batch_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    path = write_tokenizer(root / "tokenizer")
    return tiny.write_snapshot(root / "model", 0, vocab_size=VOCABULARY, num_layers=1, scale=3.0, tokenizer=path)


@pytest.fixture(scope="module")
def model(folder: Path) -> Decoder:
    return snapshot.load(folder).model


@pytest.fixture(scope="module")
def numbers(folder: Path) -> Tokenizer:
    return tokenizer.load(folder, VOCABULARY)


@pytest.fixture(scope="module")
def made() -> splits.Splits:
    questions = make_questions(["philosophy", "astronomy"], 8)
    return splits.split(questions, 0, num_training=2, num_evaluation=4, evaluated=["humanities", "stem"])


def test_letters_end_to_end(model: Decoder, numbers: Tokenizer, made: splits.Splits, tmp_path: Path) -> None:
    pool, loaded, seen = splits.by_subject(made.rest), [], list[tuple[int, int]]()

    def load() -> Decoder:
        loaded.append(1)
        return model

    candidates = [Candidate(ModelLabel(), "a", load), Candidate(TUNED, "b", load)]
    arguments = numbers, made, pool, PROTOCOL, tmp_path
    found, diverged = evaluate.evaluate(candidates, *arguments, lambda done, total: seen.append((done, total)))
    assert diverged == []
    assert seen == [(done, 6) for done in range(1, 7)]
    assert len(loaded) == 2
    assert found.groupby(["run", "shots", "evaluation_seed"]).size().to_dict() == {
        (run, shots, seed): 8 for run in ("base", "v-0") for shots, seed in ((0, 0), (1, 0), (1, 1))
    }
    assert set(found["domain"] + found["category"]) == {"inhumanities", "outstem"}
    again, _ = evaluate.evaluate(candidates, *arguments)
    assert len(loaded) == 2
    columns = list(found.columns)
    assert records.load_records(tmp_path).sort_values(columns).to_numpy().tolist() == again.sort_values(columns).to_numpy().tolist()
    next(tmp_path.iterdir()).unlink()
    assert evaluate.evaluate(candidates, *arguments)[0].equals(found)
    assert len(loaded) == 3
    evaluate.evaluate([Candidate(ModelLabel(), "other weights", load)], *arguments)
    assert len(loaded) == 4


def test_records_are_the_scores_of_the_prompts(model: Decoder, numbers: Tokenizer, made: splits.Splits, tmp_path: Path) -> None:
    pool = splits.by_subject(made.rest)
    found, _ = evaluate.evaluate([Candidate(ModelLabel(), "a", lambda: model)], numbers, made, pool, PROTOCOL, tmp_path)
    rows = found[(found["shots"] == 1) & (found["evaluation_seed"] == 1)].set_index("question")
    texts = [prompts.evaluation_prompt(one, splits.draw_shots(one, pool, 1, 1), "plain") for one in made.evaluation]
    scores = scoring.choice_log_likelihoods(model, [numbers.encode(text) for text in texts], prompts.letter_tokens(numbers, "plain"), 8)
    stored = rows.loc[[one.identifier for one in made.evaluation]]
    np.testing.assert_allclose(stored[[f"log_likelihood_{letter}" for letter in "ABCD"]].to_numpy(), scores, atol=1e-4)
    assert stored["correct"].tolist() == [float(row.argmax() == one.answer) for row, one in zip(scores, made.evaluation, strict=True)]
    assert stored["answer"].tolist() == [one.letter for one in made.evaluation]


def test_what_cannot_be_evaluated_is_refused_before_a_model_is_loaded(numbers: Tokenizer, made: splits.Splits, tmp_path: Path) -> None:
    def load() -> Decoder:
        raise AssertionError("a model was loaded")

    pool = splits.by_subject(made.rest)
    with pytest.raises(InputError, match="base model is not among"):
        evaluate.evaluate([Candidate(TUNED, "a", load)], numbers, made, pool, PROTOCOL, tmp_path)
    with pytest.raises(InputError, match="questions as examples, 7 are asked for"):
        evaluate.evaluate([Candidate(ModelLabel(), "a", load)], numbers, made, pool, Protocol(shots=(7,)), tmp_path)
    with pytest.raises(InputError, match="shots is -1"):
        Protocol(shots=(-1,))


@pytest.fixture
def types_unchecked() -> Iterator[None]:
    """What users have, whose words no type checker reads first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def generator(model: Decoder, numbers: Tokenizer) -> generation.Generator:
    return generation.Generator(model, numbers, max_tokens=3, batch_size=4)


def test_greedy_generation_says_the_likeliest_tokens(model: Decoder, numbers: Tokenizer, generator: generation.Generator) -> None:
    texts = [numbers.encode(text) for text in ("Which law?", "A king, a court", "cell")]
    said = generator.sample(texts, seed=0, num_samples=1, temperature=0.0)
    every = [[token] for token in range(VOCABULARY)]
    for prompt, (text,) in zip(texts, said, strict=True):
        tokens: list[int] = []
        while len(tokens) < 3 and not {numbers.end_of_turn, numbers.end_of_text} & set(tokens):
            tokens.append(int(scoring.choice_log_likelihoods(model, [[*prompt, *tokens]], every, batch_size=8).argmax()))
        assert text == numbers.decode(tokens)


def test_samples_follow_the_seed(numbers: Tokenizer, generator: generation.Generator) -> None:
    texts = [numbers.encode(text) for text in ("Which law?", "A king")]
    hot, again, other = (generator.sample(texts, seed=seed, num_samples=5, temperature=3.0) for seed in (0, 0, 1))
    assert [len(row) for row in hot] == [5, 5]
    assert hot == again != other
    assert all(len(set(row)) > 1 for row in hot)


def test_generation_end_to_end(
    model: Decoder, numbers: Tokenizer, made: splits.Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"{one.letter}\n\nWhat else?\nAnswer: {'A' if one.letter != 'A' else 'B'}" for one in made.evaluation]
    monkeypatch.setattr(generation.Generator, "sample", lambda *_, num_samples, **__: [[text] * (num_samples - 1) + ["?"] for text in said])
    protocol = Protocol(method="generation", format="plain", shots=(0,), seeds=(0, 1), num_samples=4)
    pool = splits.by_subject(made.rest)
    found, _ = evaluate.evaluate([Candidate(ModelLabel(), "a", lambda: model)], numbers, made, pool, protocol, tmp_path)
    assert len(found) == 16
    assert set(found["correct"]) == {0.75}
    assert set(found["unparsed"]) == {0.25}
    stored = pd.concat(pd.read_parquet(path) for path in tmp_path.glob(f"*{records.TEXTS_SUFFIX}"))
    assert sorted(stored["text"]) == sorted(2 * [one for text in said for one in (*[text] * 3, "?")])
    assert stored[stored["text"] == "?"]["letter"].isna().all()
    answers = {one.identifier: one.letter for one in made.evaluation}
    assert (stored["letter"].dropna() == stored["question"].map(answers)[stored["letter"].notna()]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": 0.0}, r"0 \(greedy\) with 10 samples"),
        ({"temperature": float("nan")}, "temperature holds NaN or infinity"),
        ({"seeds": (0, 2**32)}, r"seeds is 4294967296; seeds must stay below 2\*\*32"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"shots": ()}, "there are no shots: give --shots at least once"),
        ({"seeds": (-1,)}, "seeds is -1"),
        ({"method": "letter"}, r"unknown method 'letter'.*'letters'"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ],
)
@pytest.mark.usefixtures("types_unchecked")
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Protocol(**settings)


def test_prompts_that_cannot_be_continued_are_refused(numbers: Tokenizer, generator: generation.Generator) -> None:
    for prompt in ([], [5, numbers.end_of_text]):
        with pytest.raises(InputError, match="a prompt is empty or has the end-of-text token"):
            generator.sample([[5], prompt], seed=0)
