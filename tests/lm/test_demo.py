"""The small experiment: its task, a run through all its parts, and, slowly, what it robustly shows."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from lsa_jax import exit_codes
from lsa_jax.lm import checkpoints, demo, figures, forward, running, snapshot, symbols, tiny
from lsa_jax.lm.accuracy import accuracy
from lsa_jax.lm.demo import DemoSettings
from lsa_jax.lm.finetune import finetune, train
from lsa_jax.lm.forward import DivergedError
from lsa_jax.lm.lora import Adapter, with_adapter
from lsa_jax.lm.records import load_records
from lsa_jax.lm.settings import FinetuneSettings

SMALL = DemoSettings(1, 0, ("v",), ("mixture",), pretraining_steps=4, pretraining_batch=4, epochs=2, steps=2, batch_size=4, questions=8)


@contextlib.contextmanager
def never() -> Generator[object]:
    """A stand-in for signals."""
    yield lambda: False


def test_the_new_mapping_contradicts_the_known_one() -> None:
    for seed in range(20):
        place = symbols.world(seed)
        assert (place.new != place.known[0]).all()
        assert {*place.new.tolist()} <= set(range(symbols.LETTERS))


def test_texts_follow_their_mappings() -> None:
    place = symbols.world(0)
    for number, one in enumerate(next(symbols.pretraining(place, 1, 64))):
        ids = (*one.prompt, *one.response)
        category = (ids[1] - symbols.FIRST_SYMBOL) // symbols.SYMBOLS
        pairs = {
            (token - symbols.FIRST_SYMBOL - category * symbols.SYMBOLS, letter) for token, letter in zip(ids[1::2], ids[2::2], strict=True)
        }
        assert len({symbol for symbol, _ in pairs}) == len(pairs)
        known = {(symbol, symbols.FIRST_LETTER + int(letter)) for symbol, letter in enumerate(place.known[category])}
        assert (pairs <= known) == bool(number % 2)
        assert one.num_learned == symbols.SHOTS + 1
    for step in symbols.finetuning(place, "0.5", epochs=1, steps=4, batch_size=16, seed=0):
        assert {len(one.prompt) for one in step} == {2, 2 + 2 * symbols.SHOTS}
        for one in step:
            symbol = one.prompt[-1] - symbols.FIRST_SYMBOL
            assert one.response == (symbols.FIRST_LETTER + place.new[symbol],)


def test_few_shot_questions_are_answered_by_their_prompts() -> None:
    questions = symbols.few_shot_questions(symbols.world(0), 50, 0)
    for prompt, answer in zip(questions.prompts, questions.answers, strict=True):
        shown = dict(zip(prompt[1:-1:2], prompt[2::2], strict=True))
        assert shown[prompt[-1]] == symbols.FIRST_LETTER + answer
    assert questions.table["domain"].tolist() == ["in"] * 50 + ["out"] * 50
    assert np.bincount(questions.answers, minlength=4).min() > 10


def test_a_run_through_all_parts_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, int]] = []
    first = demo.run(SMALL, tmp_path, lambda name, step, loss: seen.append((name, step)), lambda: False)
    assert seen == [("pretrained-0", 4), ("v-mixture-0", 2), ("v-mixture-0", 4)]
    assert set(zip(first["targets"], first["step"], first["shots"], first["domain"], strict=True)) == {
        (targets, step, shots, domain)
        for targets, step in (("base", 0), ("v", 2), ("v", 4))
        for shots in (0, symbols.SHOTS)
        for domain in ("in", "out")
    }
    again = demo.run(SMALL, tmp_path, lambda *_: pytest.fail("trained again"), lambda: False)
    assert again.equals(first)
    with pytest.raises(KeyboardInterrupt):
        demo.run(SMALL, tmp_path / "other", lambda *_: None, lambda: True)


@pytest.mark.parametrize("adapter", [None, Adapter("qk", 4, 8.0)])
def test_many_steps_a_program_train_as_the_large_experiment_does(tmp_path: Path, adapter: Adapter | None) -> None:
    source = tiny.write_snapshot(tmp_path / "model", 0, vocab_size=symbols.VOCABULARY, **demo.SHAPE)
    training = FinetuneSettings(epochs=1, steps=5, learning_rate=1e-3, checkpoint_every=2, max_length=symbols.LONGEST)
    examples = list(symbols.finetuning(symbols.world(0), "0.5", epochs=1, steps=5, batch_size=8, seed=0))
    models = [snapshot.load(source).model for _ in range(3)]
    if adapter is not None:
        models = [with_adapter(model, adapter, 0) for model in models]
    told: list[tuple[int, float]] = []
    finetune(models[0], examples, training, tmp_path / "run")
    assert list(train(models[1], iter(examples), training, report=lambda *one: told.append(one), stop=lambda: False)) == [2, 4, 5]
    losses = [line["loss"] for line in checkpoints.read_metrics(tmp_path / "run" / checkpoints.METRICS)]
    assert [step for step, _ in told] == [2, 4, 5]
    np.testing.assert_allclose([loss for _, loss in told], [losses[step - 1] for step in (2, 4, 5)], rtol=1e-5)
    kind = nnx.Param if adapter is None else nnx.LoRAParam
    wanted, found, start = (forward.tensors(model, kind) for model in models)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    assert any(float(abs(found[name] - start[name]).max()) > 1e-3 for name in found)


def test_a_diverged_training_is_told(tmp_path: Path) -> None:
    source = tiny.write_snapshot(tmp_path, 0, vocab_size=symbols.VOCABULARY, **demo.SHAPE)
    examples = symbols.finetuning(symbols.world(0), "zero_shot", epochs=1, steps=3, batch_size=4, seed=0)
    training = FinetuneSettings(epochs=1, steps=3, learning_rate=1e30, max_length=symbols.LONGEST)
    with pytest.raises(DivergedError, match="a loss before step 3"):
        list(train(snapshot.load(source).model, examples, training, report=lambda *_: None, stop=lambda: False))


@pytest.mark.slow
def test_the_quick_preset_draws_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(running, "stop_signals", never)
    assert running.demo("quick", 3, tmp_path, quiet=True) == exit_codes.DONE
    assert "accuracy, zero-shot and 12-shot" in capsys.readouterr().out
    (tmp_path / "figure.csv").unlink()
    assert b"/FontType 42" in (tmp_path / "figure.pdf").read_bytes()
    assert set(load_records(tmp_path / "records")["seed"]) == {3}
    assert figures.figure(tmp_path / "records", tmp_path / "figure") == exit_codes.DONE
    written = {"figure.csv", "figure_models.csv", "figure.pdf", "figure_paths.png", "figure.parquet", "figure_changes.csv", "run.json"}
    assert {path.name for path in tmp_path.iterdir()} >= written


@pytest.mark.slow
def test_what_fine_tuning_on_everything_robustly_does(tmp_path: Path) -> None:
    settings = DemoSettings(seeds=1, targets=("qkv",), losses=("zero_shot",))
    numbers = accuracy(demo.run(settings, tmp_path, lambda *_: None, lambda: False))
    inside = numbers[numbers["domain"] == "in"].set_index(["targets", "step", "shots"])["accuracy"]
    last = settings.epochs * settings.steps
    assert inside["base", 0, 0] < 0.3
    assert inside["base", 0, symbols.SHOTS] > 0.8
    assert inside["qkv", last, 0] > 0.9
    assert inside["qkv", last, symbols.SHOTS] < inside["base", 0, symbols.SHOTS] - 0.2
