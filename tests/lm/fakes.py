"""What a real snapshot and a real copy of MMLU look like, small: written by the tests."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from lsa_jax import store
from lsa_jax.lm.questions import Question
from lsa_jax.lm.settings import LETTERS

WORDS = ["law", "moral", "war", "king", "court", "duty", "atom", "cell", "force", "wave", "market", "mind", "norm", "truth", "claim", "act"]
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n' }}{%- endif %}\n"
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n{%- endif %}\n"
)
"""A chat template that writes what Qwen2.5's does without tools."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_tokenizer(folder: Path) -> Path:
    """A byte-level BPE as Qwen2.5 has, trained on a few lines, with the chat tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    lines = [f"The following are multiple choice questions (with answers) about {word}.\n\nA. {word}\nAnswer: {word}" for word in WORDS]
    backend.train_from_iterator(lines * 5, trainer)
    backend.save(str(folder / "tokenizer.json"))
    store.save_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>", "chat_template": TEMPLATE})
    return folder / "tokenizer.json"


def make_questions(subjects: Sequence[str], count: int, seed: int = 0) -> list[Question]:
    """Questions of random words, all different."""
    rng = np.random.default_rng([seed, *map(ord, "".join(subjects))])
    made = []
    for subject in subjects:
        for number in range(count):
            first, second, third, fourth = (" ".join(rng.choice(WORDS, 2)) + f" {letter}" for letter in "wxyz")
            text = f"Which {' '.join(rng.choice(WORDS, rng.integers(3, 12)))} is number {seed}-{number} of {subject}?"
            made.append(Question(subject, text, (first, second, third, fourth), int(rng.integers(4))))
    return made


def write_parquet(folder: Path, questions: Sequence[Question], split: str, *, together: bool = False) -> Path:
    """In the shape of cais/mmlu: a folder a subject, or all in one."""
    table = pd.DataFrame([
        {"question": one.question, "subject": one.subject, "choices": list(one.choices), "answer": one.answer} for one in questions
    ])
    for name, part in [("all", table)] if together else table.groupby("subject"):
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
        part.to_parquet(folder / str(name) / f"{split}-00000-of-00001.parquet", index=False)
    return folder


def write_csv(folder: Path, questions: Sequence[Question], split: str) -> Path:
    """In the shape of the original archive."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    for subject in {one.subject for one in questions}:
        with (folder / split / f"{subject}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([one.question, *one.choices, LETTERS[one.answer]] for one in questions if one.subject == subject)
    return folder
