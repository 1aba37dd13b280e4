"""MMLU's development questions with their reasoning, as the package lm-eval ships them: about five a subject, without a download."""

import re
from pathlib import Path
from typing import Any

import yaml

from lsa_jax.errors import InputError
from lsa_jax.lm import mmlu
from lsa_jax.lm.mmlu import LETTERS, Question

FILES = "mmlu_*.yaml"
CHOICES = re.compile(r"(.*?)" + "".join(rf"\s+\({letter}\)\s+(.*?)" for letter in LETTERS) + r"(\s+\(E\)\s.*)?", re.DOTALL)
"""A question with its choices: (A) to (D), and perhaps more."""
REASONING = re.compile(r"(?:Let's think step by step\.)?(.*?)\s*The answer is \(([A-Z])\)\.?\s*", re.DOTALL)


def read_questions(folder: Path) -> tuple[list[Question], str]:
    """Read the questions of a folder, whichever of the layouts it has.

    Args:
        folder: MMLU, see `lsa_jax.lm.mmlu.load`, or what `load` reads.

    Returns:
        The questions and the name of their split: `test`, or `dev` for those of lm-eval.

    Raises:
        InputError: if there are none, or a file is damaged.
    """
    if folder.is_dir() and any(folder.glob(FILES)):
        return list(load(folder)), "dev"
    return mmlu.load(folder), "test"


def load(folder: Path) -> dict[Question, str]:
    """Read lm-eval's development questions, each once; those with a fifth choice are left out.

    lm-eval 0.4.13 has 282, of which 280 are read: one has five choices, and one is there twice.

    Args:
        folder: `tasks/mmlu/flan_cot_fewshot` of the package lm-eval.

    Returns:
        The reasoning to each question, which ends in "Answer: X".

    Raises:
        InputError: if there is no such file, or one is laid out in another way.
    """
    paths = sorted(folder.glob(FILES))
    if not paths:
        raise InputError(f"{folder} has no {FILES}: wanted is the folder tasks/mmlu/flan_cot_fewshot of the package lm-eval")
    found: dict[Question, str] = {}
    for path in paths:
        for number, (question, target) in enumerate(_samples(path)):
            place, subject = f"{path}, sample {number}", path.stem.removeprefix("mmlu_")
            asked, answered = CHOICES.fullmatch(question.strip()), REASONING.fullmatch(target)
            if asked is None or answered is None:
                raise InputError(f"{place} is no question with choices (A) to (D) and an answer: copy the folder again")
            text, *choices, more = asked.groups()
            if more is not None:
                continue
            reasoning, letter = answered.groups()
            row = {"subject": subject, "question": text.strip(), "choices": choices, "answer": letter}
            found[mmlu.question_of(place, row)] = f"{reasoning.strip()}\nAnswer: {letter}"
    return found


def _samples(path: Path) -> list[tuple[str, str]]:
    """Questions and what is answered to them, of one subject."""
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        pairs = [(one["question"], one["target"]) for one in content["fewshot_config"]["samples"]]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds no questions ({' '.join(str(error).split())}): copy it again from lm-eval") from None
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise InputError(f"{path} holds no questions: copy it again from lm-eval")
    return pairs
