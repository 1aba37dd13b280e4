"""The scorer against lm-eval: its stock MMLU templates, its answers, and its own Hugging Face model on the same snapshot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import make_questions, write_parquet, write_tokenizer

lm_eval = pytest.importorskip("lm_eval")

import harness  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from lsa_jax.errors import InputError  # noqa: E402
from lsa_jax.lm import mmlu, prompts, scoring, snapshot, tiny, tokenizer  # noqa: E402

SUBJECTS = ["high_school_physics", "philosophy"]
VOCABULARY = 512
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("harness")
    write_parquet(root / "mmlu", make_questions(SUBJECTS, 7), "test")
    write_parquet(root / "mmlu", make_questions(SUBJECTS, 5, seed=1), "dev")
    path = write_tokenizer(root / "tokenizer")
    tiny.write_snapshot(root / "model", 0, vocab_size=VOCABULARY, num_layers=1, scale=3.0, tokenizer=path)
    return root


def evaluate(model: Any, folder: Path, shots: int) -> dict[str, tuple[np.ndarray, float]]:
    """Log-likelihoods (questions, choices) and accuracy of each task, from lm-eval."""
    tasks = harness.mmlu_tasks(folder / "mmlu", SUBJECTS, folder / "cache")
    manager = TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(model=model, tasks=tasks, num_fewshot=shots, bootstrap_iters=0, task_manager=manager)
    assert found is not None
    scores = {}
    for name, samples in found["samples"].items():
        ordered = sorted(samples, key=lambda sample: sample["doc_id"])
        rows = [[float(choice[0][0]) for choice in sample["resps"]] for sample in ordered]
        scores[name] = np.array(rows), found["results"][name]["acc,none"]
    return scores


@pytest.mark.parametrize("shots", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_our_prompts_and_scores_are_lm_evals(folder: Path, shots: int) -> None:
    model = snapshot.load(folder / "model").model
    numbers = tokenizer.load(folder / "model", VOCABULARY)
    scores = evaluate(harness.HarnessModel(model, numbers), folder, shots)
    examples = mmlu.load(folder / "mmlu", "dev")
    for subject in SUBJECTS:
        questions = [one for one in mmlu.load(folder / "mmlu") if one.subject == subject]
        first = [one for one in examples if one.subject == subject][:shots]
        texts = [numbers.encode(prompts.evaluation_prompt(one, first, "plain")) for one in questions]
        ours = scoring.choice_log_likelihoods(model, texts, prompts.letter_tokens(numbers, "plain"), batch_size=8)
        theirs, accuracy = scores[f"mmlu_{subject}"]
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert np.mean(ours.argmax(axis=1) == [one.answer for one in questions]) == pytest.approx(accuracy)
        assert np.ptp(ours, axis=0).min() > 1e-2


@pytest.mark.slow
def test_scores_are_those_of_lm_evals_own_model(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from lm_eval.models.huggingface import HFLM

    numbers = tokenizer.load(folder / "model", VOCABULARY)
    theirs_tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=numbers.backend, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    theirs_model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model")
    ours = evaluate(harness.HarnessModel(snapshot.load(folder / "model").model, numbers), folder, 2)
    theirs = evaluate(HFLM(pretrained=theirs_model, tokenizer=theirs_tokenizer, batch_size=4, device="cpu"), folder, 2)
    for name in ours:
        np.testing.assert_allclose(ours[name][0], theirs[name][0], atol=1e-4)
        assert ours[name][1] == theirs[name][1]


def test_what_it_does_not_offer_is_refused(folder: Path) -> None:
    model = harness.HarnessModel(snapshot.load(folder / "model").model, tokenizer.load(folder / "model", VOCABULARY))
    with pytest.raises(NotImplementedError, match="generation"):
        model.generate_until([])
    with pytest.raises(NotImplementedError, match="choices"):
        model.loglikelihood_rolling([])
    with pytest.raises(InputError, match="no MMLU subject"):
        harness.mmlu_tasks(folder / "mmlu", ["alchemy"], folder)
    with pytest.raises(InputError, match="lacks test"):
        harness.mmlu_tasks(folder / "mmlu", ["anatomy"], folder)
