"""The small experiment: its task, a run through all its parts, and, slowly, what it robustly shows."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from lsa_jax import exit_codes
from lsa_jax.lm import demo, demo_command, symbols
from lsa_jax.lm.accuracy import accuracy
from lsa_jax.lm.demo_settings import DemoSettings

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
            (token - symbols.FIRST_SYMBOL - category * symbols.SYMBOLS, letter) for token, letter in zip(ids[1::3], ids[3::3], strict=True)
        }
        assert len({symbol for symbol, _ in pairs}) == len(pairs)
        known = {(symbol, symbols.FIRST_LETTER + int(letter)) for symbol, letter in enumerate(place.known[category])}
        assert (pairs <= known) == bool(number % 2)
        assert one.num_learned == symbols.SHOTS + 1
    for step in symbols.finetuning(place, "0.5", epochs=1, steps=4, batch_size=16, seed=0):
        assert {len(one.prompt) for one in step} == {3, 3 + 3 * symbols.SHOTS}
        for one in step:
            symbol = one.prompt[-2] - symbols.FIRST_SYMBOL
            assert one.response == (symbols.FIRST_LETTER + place.new[symbol],)


def test_few_shot_questions_are_answered_by_their_prompts() -> None:
    questions = symbols.few_shot_questions(symbols.world(0), 50, 0)
    for prompt, answer in zip(questions.prompts, questions.answers, strict=True):
        shown = dict(zip(prompt[1:-2:3], prompt[3::3], strict=True))
        assert shown[prompt[-2]] == symbols.FIRST_LETTER + answer
    assert questions.table["domain"].tolist() == ["in"] * 50 + ["out"] * 50
    assert np.bincount(questions.answers, minlength=4).min() > 10


def test_a_run_through_all_parts_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    first = demo.run(SMALL, tmp_path, lambda name, step, loss: seen.append(name), lambda: False)
    assert set(seen) == {"pretrained-0", "v-mixture-0"}
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


@pytest.mark.slow
def test_the_quick_preset_draws_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo_command, "stop_signals", never)
    assert demo_command.run("quick", tmp_path, quiet=True) == exit_codes.DONE
    assert "accuracy, zero-shot and 12-shot" in capsys.readouterr().out
    written = {"figure.pdf", "figure_paths.png", "figure.parquet", "figure_changes.csv", "run.json"}
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
