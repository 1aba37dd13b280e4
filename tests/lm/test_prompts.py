"""Tokenizer, chat format and prompts: the texts letter by letter, training examples, parsing, and refusals."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from fakes import make_questions, write_tokenizer

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import batches, prompts, reasoning, tokenizer
from lsa_jax.lm.questions import Question

SPRING = Question("high_school_physics", " What pulls? ", ("mass", "time", "both", "none"), 0)
COIN = Question("high_school_physics", "What is round?", ("a coin", "a box", "a rod", "a wedge"), 3)
VOCABULARY = 512

PLAIN = """The following are multiple choice questions (with answers) about high school physics.

What is round?
A. a coin
B. a box
C. a rod
D. a wedge
Answer: D

What pulls?
A. mass
B. time
C. both
D. none
Answer:"""

CHAT = """<|im_start|>system
You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>
<|im_start|>user
The following are multiple choice questions (with answers) about high school physics.

What is round?
A. a coin
B. a box
C. a rod
D. a wedge
Answer:<|im_end|>
<|im_start|>assistant
D<|im_end|>
<|im_start|>user
What pulls?
A. mass
B. time
C. both
D. none
Answer:<|im_end|>
<|im_start|>assistant
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer")).parent


@pytest.fixture(scope="module")
def numbers(folder: Path) -> tokenizer.Tokenizer:
    return tokenizer.load(folder, VOCABULARY)


def test_both_formats() -> None:
    assert prompts.evaluation_prompt(SPRING, [COIN], "plain") == PLAIN
    assert prompts.evaluation_prompt(SPRING, [COIN], "chat") == CHAT
    assert prompts.evaluation_prompt(SPRING, [], "chat").startswith(CHAT.split("What is round?")[0])
    with pytest.raises(InputError, match=r"unknown format 'plane'.*'plain'"):
        prompts.evaluation_prompt(SPRING, [COIN], "plane")


def test_the_chat_format_is_the_one_a_template_gives() -> None:
    jinja2 = pytest.importorskip("jinja2")
    written = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\n' }}"
    )
    turns = [("user", "a"), ("assistant", "b"), ("user", "c\n")]
    messages = [{"role": role, "content": text} for role, text in [("system", tokenizer.SYSTEM_MESSAGE), *turns]]
    assert tokenizer.qwen_chat(turns) == jinja2.Template(written, keep_trailing_newline=True).render(messages=messages)


def test_special_tokens_are_one_number_each_and_nothing_is_added(numbers: tokenizer.Tokenizer) -> None:
    tokens = numbers.encode(CHAT)
    assert tokens.count(numbers.end_of_turn) == CHAT.count("<|im_end|>")
    assert numbers.end_of_text not in tokens
    assert numbers.decode(numbers.encode(PLAIN)) == PLAIN
    assert numbers.backend.decode(list(tokens), skip_special_tokens=False) == CHAT


@pytest.mark.parametrize("format", prompts.FORMATS)
def test_letters_are_what_follows_the_prompt(numbers: tokenizer.Tokenizer, format: str) -> None:
    prompt = prompts.evaluation_prompt(SPRING, [COIN], format)
    for letter, tokens in zip("ABCD", prompts.letter_tokens(numbers, format), strict=True):
        lead = " " if format == "plain" else ""
        assert numbers.encode(prompt) + tokens == numbers.encode(f"{prompt}{lead}{letter}")
        assert numbers.decode(tokens) == f"{lead}{letter}"


@pytest.mark.parametrize(
    ("prompt", "completion", "letter"),
    [
        (PLAIN, " B", "B"),
        (PLAIN, " C. both", "C"),
        (PLAIN, " Because of mass.\nAnswer: A", "A"),
        (CHAT, "B", "B"),
        (CHAT, "Mass pulls. Answer: A. No: Answer: (C)", "C"),
        (CHAT, "As a rule, mass.", None),
        (CHAT, "Answer: E", None),
        ("Say something.", "B", None),
        (CHAT, "The answer is (B).", "B"),
        (CHAT, "The correct answer is: **C. both**", "C"),
        (CHAT, "**C**", "C"),
        (CHAT, "Mass pulls.\n\n**C. both**\n\nTime does not.", "C"),
        (CHAT, "so $\\boxed{D}$", "D"),
        (CHAT, "The answer is not A, the answer is B", "B"),
        (CHAT, "A man pulls.", None),
        (PLAIN, " A mass", None),
        (PLAIN, " A", "A"),
        (CHAT, "The answer is A matter of taste", None),
        (CHAT, "The answer is Because", None),
        (CHAT, "The correct option is (D).", "D"),
        (CHAT, "So the answer is option C, time.", "C"),
        (CHAT, "ANSWER: **B**", "B"),
        (CHAT, "Therefore $\\boxed{\\text{B}}$.", "B"),
        (CHAT, "The correct answer is $C$.", "C"),
        (CHAT, "The answer is:\n\n**(D) none**", "D"),
        (CHAT, "Options A and B are wrong.", None),
        (CHAT, "The answer is not B.", None),
    ],
)
def test_answers_are_read(prompt: str, completion: str, letter: str | None) -> None:
    assert prompts.parse_answer(prompt, completion) == letter


def test_training_examples(numbers: tokenizer.Tokenizer) -> None:
    zero, few = (prompts.training_example(numbers, SPRING, shots, {}) for shots in ([], [COIN]))
    assert few.prompt == numbers.encode(CHAT)
    assert zero.prompt == numbers.encode(prompts.evaluation_prompt(SPRING, [], "chat"))
    assert few.response == zero.response == (*numbers.encode("A"), numbers.end_of_turn)
    supplied = {SPRING.identifier: "Mass pulls. Answer: A", COIN.identifier: "A wedge is not. Answer: D"}
    reasoned = prompts.training_example(numbers, SPRING, [COIN], supplied)
    assert reasoned.response == numbers.encode("Mass pulls. Answer: A<|im_end|>")
    assert numbers.backend.decode(list(reasoned.prompt), skip_special_tokens=False) == CHAT.replace(
        "assistant\nD<", "assistant\nA wedge is not. Answer: D<"
    )


def test_steps_follow_the_schedule(numbers: tokenizer.Tokenizer) -> None:
    questions = make_questions(["philosophy", "anatomy"], 6)
    settings = {"epochs": 2, "steps": 2, "batch_size": 6, "shots": 2}
    draws = list(batches.draws((0.0, 1.0), len(questions), **settings, seed=0))
    made = list(prompts.training_steps(numbers, questions, {}, draws, 2))
    assert [len(step) for step in made] == [6] * 4
    for step, drawn in zip(made, draws, strict=True):
        for example, draw in zip(step, drawn, strict=True):
            question = questions[draw.question]
            text = numbers.backend.decode(list(example.prompt), skip_special_tokens=False)
            assert text.count("<|im_start|>user") == 1 + draw.shots
            assert text.count(question.question) == 1
            assert text.split("<|im_start|>user")[-1].strip().startswith(question.question if draw.shots else "The following")
            assert example.response == (*numbers.encode(question.letter), numbers.end_of_turn)
            assert all(part.rstrip().count(f"of {question.subject}?") for part in text.split("<|im_start|>user")[1:])
    assert {draw.shots for step in draws[:2] for draw in step} == {2}
    assert made == list(prompts.training_steps(numbers, questions, {}, draws, 2))
    with pytest.raises(InputError, match="there are 5 philosophy questions as examples, 6 are asked for"):
        prompts.training_steps(numbers, questions, {}, draws, 6)


def test_reasoning_is_found_by_text_or_identifier(tmp_path: Path) -> None:
    lines = [{"question": "What pulls?", "reasoning": "Mass. Answer: A"}, {"question": COIN.identifier, "reasoning": "Not it. Answer: D\n"}]
    path, expected = tmp_path / "reasoning.jsonl", {SPRING.identifier: "Mass. Answer: A", COIN.identifier: "Not it. Answer: D"}
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert reasoning.load(path, [SPRING, COIN]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not"),
        ("[" * 10**5, "line 1 is not"),
        ('{"question": "What pulls?"}', "line 1 is not"),
        ('{"question": 3, "reasoning": "Answer: A"}', "line 1 is not"),
        ('\n{"question": "Who?", "reasoning": "Answer: A"}', "line 2 is about no question of the data: 'Who\\?'"),
        ('{"question": "What pulls?", "reasoning": "Answer: B"}', "line 1 does not end in 'Answer: A'"),
        ('{"question": "What pulls?", "reasoning": "Mass."}', "line 1 does not end in 'Answer: A'"),
        ('{"question": "What pulls?", "reasoning": "M\\u0000ass. Answer: A"}', r"line 1 has the character '\\x00'"),
        ('{"question": "What pulls?", "reasoning": "Answer: A"}\n' * 2, "line 2 is about a question that had its reasoning before"),
        ("\n", "holds no reasoning to any question of the data"),
    ],
)
def test_bad_reasoning_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "reasoning.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        reasoning.load(tmp_path / "reasoning.jsonl", [SPRING, COIN])
    with pytest.raises(InputError, match="cannot be read"):
        reasoning.load(tmp_path / "nowhere.jsonl", [SPRING])


def test_reasoning_to_a_text_that_several_questions_share(tmp_path: Path) -> None:
    path = tmp_path / "reasoning.jsonl"
    path.write_text(json.dumps({"question": "What pulls?", "reasoning": "Answer: A"}))
    same = dataclasses.replace(SPRING, subject="astronomy")
    assert set(reasoning.load(path, [SPRING, same])) == {SPRING.identifier, same.identifier}
    other = dataclasses.replace(SPRING, choices=("w", "x", "y", "z"))
    with pytest.raises(InputError, match=rf"2 questions have the text 'What pulls\?'; name yours by .* \({SPRING.identifier}, "):
        reasoning.load(path, [SPRING, other])


def test_reasoning_of_other_questions_is_not_taken_for_none(tmp_path: Path) -> None:
    samples = [{"question": "Who? (A) a (B) b (C) c (D) d", "target": "Let's think step by step. So. The answer is (B)."}]
    (tmp_path / "mmlu_anatomy.yaml").write_text(json.dumps({"fewshot_config": {"samples": samples}}))
    with pytest.raises(InputError, match="holds no reasoning to any question of the data"):
        reasoning.load(tmp_path, [SPRING, COIN])


def without_marks(folder: Path) -> None:
    store.save_json(folder / "tokenizer.json", {**store.load_json(folder / "tokenizer.json"), "added_tokens": []})


def without_chat(folder: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{number}": number for number in range(400)}, unk_token="w0"))
    backend.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"model": '), "is no JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is no tokenizer"),
        (without_chat, r"has no token <\|im_start\|>"),
        (without_marks, r"does not read <\|im_start\|> as one token, but as text"),
        (lambda folder: store.save_json(folder / "tokenizer_config.json", {"chat_template": "[INST]"}), "a chat format without"),
    ],
)
def test_a_damaged_or_foreign_tokenizer_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    write_tokenizer(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        tokenizer.load(tmp_path, VOCABULARY)


@pytest.mark.parametrize("vocabulary", [100, 10_000])
def test_a_tokenizer_that_does_not_fit_is_refused(folder: Path, vocabulary: int) -> None:
    with pytest.raises(InputError, match=f"the model has {vocabulary}: take the tokenizer of the same snapshot"):
        tokenizer.load(folder, vocabulary)


def test_questions_have_names_that_last() -> None:
    assert SPRING.identifier == "high_school_physics-2bbc7cc03e1a"
    assert len({one.identifier for one in make_questions(["anatomy"], 50)}) == 50
