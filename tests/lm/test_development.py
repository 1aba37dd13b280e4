"""lm-eval's development questions: all that the package ships, damage, and what a run says of its questions."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from fakes import make_questions

from lsa_jax.errors import InputError
from lsa_jax.lm import mmlu, reasoning, splits
from lsa_jax.lm.questions import Question, category


def write(folder: Path, *samples: dict[str, str]) -> Path:
    (folder / "mmlu_sociology.yaml").write_text(yaml.safe_dump({"fewshot_config": {"samples": list(samples)}}))
    return folder


def test_a_question_is_read_with_its_reasoning(tmp_path: Path) -> None:
    five = "How many?\n(A) 1 (B) 2 (C) 3 (D) 4 (E) 5"
    samples = [("Which one?\n\n(A) this\n(B) that\n(C) both (D) none", "D"), (five, "E")]
    target = "Let's think step by step. It is\nso. The answer is ({}).\n\n"
    write(tmp_path, *({"question": text, "target": target.format(letter)} for text, letter in samples))
    (question,) = mmlu.load_development(tmp_path)
    assert question == Question("sociology", "Which one?", ("this", "that", "both", "none"), 3)
    assert mmlu.load_development(tmp_path)[question] == "It is\nso.\nAnswer: D"
    assert mmlu.read_questions(tmp_path) == ([question], "dev")
    assert reasoning.load(tmp_path, [question]) == {question.identifier: "It is\nso.\nAnswer: D"}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"question": "Which? (A) this (B) that", "target": "The answer is (A)."}, "sample 0 is no question with choices"),
        ({"question": "Which? (A) 1 (B) 2 (C) 3 (D) 4", "target": "Who knows."}, "sample 0 is no question with choices"),
        ({"question": "Which? (A) 1 (B) 2 (C) 3 (D) 4"}, "holds no questions"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, sample: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        mmlu.load_development(write(tmp_path, sample))
    assert "\n" not in str(caught.value)
    (tmp_path / "mmlu_sociology.yaml").write_text("a: [")
    with pytest.raises(InputError, match="holds no questions"):
        mmlu.load_development(tmp_path)
    with pytest.raises(InputError, match="wanted is the folder tasks/mmlu/flan_cot_fewshot"):
        mmlu.load_development(tmp_path / "nowhere")


def test_all_that_lm_eval_ships(tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "flan_cot_fewshot"
    found = mmlu.load_development(folder)
    counts = Counter(one.subject for one in found)
    assert len(counts) == 57
    assert len(found) == 280
    assert set(counts.values()) == {3, 4, 5}
    for question, text in found.items():
        assert all(choice.strip() for choice in question.choices)
        assert not any(f"({letter})" in question.choices[3] for letter in "ABCDE")
        assert text.endswith(f"\nAnswer: {question.letter}")
    made = splits.split(list(found), 0, num_training=8, num_evaluation=4, source="dev")
    assert made.source == "dev"
    assert {category(one.subject) for one in made.training} == {"humanities"}


def test_questions_that_were_shown_are_not_asked() -> None:
    made = make_questions(["anatomy"], 4)
    again = Question("virology", f" {made[0].question}", made[0].choices, 0)
    splits.check_unseen(made[:2], made[2:], "examples in prompts")
    with pytest.raises(InputError, match="1 evaluation questions are examples in prompts too, such as anatomy-"):
        splits.check_unseen(made[:2], [made[2], again], "examples in prompts")
