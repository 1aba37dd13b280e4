"""Log-likelihoods of choices: against plain forward passes, in any batch, one compile a bucket, and refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lsa_jax.errors import InputError
from lsa_jax.lm import scoring, snapshot, tiny
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.forward import DivergedError

VOCABULARY = 97
"""No other size of the model, so that it can be told in a compiled program."""
CHOICES = [[1], [2], [3, 4], [3, 5]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Decoder]:
    root = tmp_path_factory.mktemp("models")
    settings: dict[str, Any] = {"vocab_size": VOCABULARY, "num_layers": 1, "scale": 3.0}
    folders = {name: tiny.write_snapshot(root / name, 0, tied=name == "tied", **settings) for name in ("tied", "untied")}
    return {name: snapshot.load(folder).model for name, folder in folders.items()}


@pytest.fixture(scope="module")
def model(models: dict[str, Decoder]) -> Decoder:
    return models["tied"]


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, VOCABULARY, length).tolist() for length in (3, 20, 17, 5, 1)]


@nnx.jit
def all_logits(model: Decoder, tokens: jax.Array) -> jax.Array:
    """Logits at every position of one sequence, from the model itself."""
    length = len(tokens)
    return model(tokens[None], jnp.arange(length)[None], None, jnp.tril(jnp.ones((1, length, length), bool)))[0][0]


def by_hand(model: Decoder, prompt: list[int], choice: list[int]) -> tuple[float, bool]:
    """The log-likelihood, and whether it is what greedy decoding says, from a forward pass with all logits."""
    tokens = jnp.array([*prompt, *choice, *[0] * (24 - len(prompt) - len(choice))])
    rows = np.asarray(jax.nn.log_softmax(all_logits(model, tokens), axis=-1))[len(prompt) - 1 :][: len(choice)]
    return float(rows[np.arange(len(choice)), choice].sum()), bool((rows.argmax(-1) == choice).all())


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_scores_are_those_of_plain_forward_passes(models: dict[str, Decoder], name: str, prompts: list[list[int]]) -> None:
    model = models[name]
    scores = scoring.score_choices(model, prompts, CHOICES, batch_size=4)
    expected = [[by_hand(model, prompt, choice) for choice in CHOICES] for prompt in prompts]
    np.testing.assert_allclose(scores.log_likelihoods, [[one[0] for one in row] for row in expected], atol=1e-4)
    np.testing.assert_array_equal(scores.greedy, [[one[1] for one in row] for row in expected])
    assert np.ptp(scores.log_likelihoods, axis=0).min() > 0.1


def test_greedy_is_found(model: Decoder, prompts: list[list[int]]) -> None:
    every = [[token] for token in range(VOCABULARY)]
    scores = scoring.score_choices(model, prompts, every, batch_size=4)
    np.testing.assert_array_equal(scores.greedy.argmax(axis=1), scores.log_likelihoods.argmax(axis=1))
    assert (scores.greedy.sum(axis=1) == 1).all()
    np.testing.assert_allclose(np.exp(scores.log_likelihoods).sum(axis=1), 1, atol=1e-5)


def test_the_order_of_prompts_changes_nothing(model: Decoder, prompts: list[list[int]]) -> None:
    forwards, backwards = (scoring.choice_log_likelihoods(model, rows, CHOICES, batch_size=4) for rows in (prompts, prompts[::-1]))
    np.testing.assert_allclose(backwards[::-1], forwards, atol=1e-4)


def test_a_batch_is_no_larger_than_there_are_prompts(model: Decoder, prompts: list[list[int]]) -> None:
    small, large = (scoring.choice_log_likelihoods(model, prompts, CHOICES, batch_size=size) for size in (4, 10**12))
    np.testing.assert_allclose(large, small, atol=1e-5)


def test_one_forward_pass_a_question_and_one_program_a_bucket(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[int, ...]] = []
    rows: list[tuple[int, ...]] = []
    original, score = scoring.forward.hidden_states, scoring._score_batch
    monkeypatch.setattr(scoring.forward, "hidden_states", lambda *args: (compiled.append(args[1].shape), original(*args))[1])
    monkeypatch.setattr(scoring, "_score_batch", lambda *args: (rows.append(args[1].shape), score(*args))[1])
    prompts = [[1] * length for length in (2, 5, 16, 17, 24)]
    for _ in range(2):
        scoring.choice_log_likelihoods(model, prompts, [[1], [2], [3], [4]], batch_size=2)
    assert sorted(rows) == 4 * [(2, 16)] + 2 * [(2, 24)]
    assert sorted(compiled) == [(2, 16), (2, 24)]


def test_logits_are_computed_at_answer_positions_only(model: Decoder) -> None:
    graph, state = nnx.split(model)
    arguments = jnp.zeros((2, 48), jnp.int32), jnp.array([40, 30]), jnp.array([[1], [2]])
    program = jax.jit(lambda state: scoring._score_batch(nnx.merge(graph, state), *arguments)).lower(state).compile().as_text()
    assert program is not None
    assert f"[2,48,{VOCABULARY}]" not in program
    assert f"[96,{VOCABULARY}]" not in program


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_answer(model: Decoder, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    scores = np.full((3, 4), -1.0)
    scores[1] = wrong
    monkeypatch.setattr(scoring, "score_choices", lambda *_: scoring.Scores(scores, scores > 0))
    with pytest.raises(DivergedError, match="1 of 3 questions have log-likelihoods that are no finite numbers"):
        scoring.choice_log_likelihoods(model, prompts[:3], CHOICES, batch_size=2)


@pytest.mark.parametrize(
    ("prompts", "choices", "message"),
    [
        ([], [[1]], "prompts"),
        ([[1], []], [[1]], "prompts"),
        ([[1]], [[2], []], "choices"),
        ([[1]], [[VOCABULARY]], "choices hold the token number 97"),
        ([[-1]], [[2]], "prompts hold the token number -1"),
    ],
)
def test_what_cannot_be_scored_is_refused(model: Decoder, prompts: list[list[int]], choices: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scoring.choice_log_likelihoods(model, prompts, choices, batch_size=2)
