"""The evaluation of models on MMLU: numbers of shots, questions and seeds to records."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.lm import generation, prompts, records, scoring
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.forward import DivergedError
from lsa_jax.lm.questions import Question
from lsa_jax.lm.records import ModelLabel
from lsa_jax.lm.settings import Protocol
from lsa_jax.lm.splits import Splits, check_unseen, draw_shots
from lsa_jax.lm.tokenizer import Tokenizer

MARK_OF_RECORDS = 3
"""Raised when the same settings give other records than before, so that old ones are not used again."""
END_OF_EXAMPLE = "\n\n"
"""What ends an answer in plain text, where the model may go on with another question."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model to evaluate.

    Attributes:
        label: what it is called in the records.
        fingerprint: what tells its weights from others', such as a digest; records of other weights are not used again.
        load: returns it; called only if something of it is not evaluated yet. Checkpoints should be restored into one module: programs
            are compiled anew for every module that qwix has adapted.
    """

    label: ModelLabel
    fingerprint: str
    load: Callable[[], Decoder]


def evaluate(
    candidates: Sequence[Candidate],
    tokenizer: Tokenizer,
    splits: Splits,
    pool: Mapping[str, Sequence[Question]],
    protocol: Protocol,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[pd.DataFrame, list[str]]:
    """Evaluate models on every question, with every number of shots and seed; what is on disk is used again.

    A model whose weights or log-likelihoods are no finite numbers has no records; the others are evaluated all the same.

    Args:
        candidates: the models, the base model among them.
        tokenizer: theirs.
        splits: its evaluation questions are asked.
        pool: where examples come from, by subject.
        protocol: how.
        folder: where each part (a model, a number of shots, a seed) is stored as soon as it is finished.
        report: called with the numbers of finished parts and of all.

    Returns:
        The records, see `lsa_jax.lm.records`, and a line for each model that has diverged.

    Raises:
        InputError: if the base model is missing, a subject has too few examples, or an evaluation question was trained on or is an example.
    """
    if not any(one.label.is_base for one in candidates):
        raise InputError("the base model is not among the models to evaluate; without it nothing can be compared: add it")
    check_unseen(splits.evaluation, splits.training, "training questions")
    check_unseen(splits.evaluation, (one for examples in pool.values() for one in examples), "examples in prompts")
    parts = list(protocol.parts())
    for shots, seed in parts:  # all that can be refused is refused before anything is computed
        for tokens in _prompts(tokenizer, splits, pool, protocol, shots, seed)[1]:
            tokenizer.check_length(len(tokens) + (protocol.max_tokens if protocol.method == "generation" else 0))
    common = {**protocol.settings(), "data": _digest(splits, pool), "mark": MARK_OF_RECORDS}
    tables, diverged = [], []
    for number, candidate in enumerate(candidates):
        loaded, told = _Loaded(candidate, tokenizer, protocol), candidate.label
        of_model = {**told.columns(), **common, "fingerprint": candidate.fingerprint}
        try:
            for place, (shots, seed) in enumerate(parts):
                settings = {**of_model, "shots": shots, "evaluation_seed": seed}
                compute = functools.partial(_evaluate_part, loaded, splits, pool, folder, settings)
                tables.append(records.save_part(folder, settings, compute))
                report(number * len(parts) + place + 1, len(candidates) * len(parts))
        except DivergedError as error:
            diverged.append(f"no records of run {told.run}, step {told.step}: {error}")
    return records.join(tables) if tables else pd.DataFrame(), diverged


@dataclasses.dataclass
class _Loaded:
    """A model that is loaded when it is first needed, and what samples from it."""

    candidate: Candidate
    tokenizer: Tokenizer
    protocol: Protocol

    @functools.cached_property
    def model(self) -> Decoder:
        """The model."""
        return self.candidate.load()

    @functools.cached_property
    def generator(self) -> generation.Generator:
        """What samples from the model."""
        return generation.Generator(self.model, self.tokenizer, max_tokens=self.protocol.max_tokens, batch_size=self.protocol.batch_size)


def _evaluate_part(
    loaded: _Loaded, splits: Splits, pool: Mapping[str, Sequence[Question]], folder: Path, settings: Mapping[str, Any]
) -> pd.DataFrame:
    """Records of one model at one number of shots and seed; what it said, where it is sampled, is stored beside them."""
    protocol, label, shots, seed = loaded.protocol, loaded.candidate.label, settings["shots"], settings["evaluation_seed"]
    texts, tokens = _prompts(loaded.tokenizer, splits, pool, protocol, shots, seed)
    answers = [one.answer for one in splits.evaluation]
    choices = prompts.letter_tokens(loaded.tokenizer, protocol.format)
    scores = scoring.choice_log_likelihoods(loaded.model, tokens, choices, protocol.batch_size)
    laid_out = functools.partial(
        records.score_records, label, splits.table(), scores, answers, shots=shots, format=protocol.format, evaluation_seed=seed
    )
    if protocol.method == "letters":
        return laid_out()
    drawn = loaded.generator.sample(tokens, seed=seed, num_samples=protocol.num_samples, temperature=protocol.temperature)
    samples = [[_letter(text, one, protocol.format) for one in row] for text, row in zip(texts, drawn, strict=True)]
    rows = [
        {"question": question.identifier, "sample": place, "letter": letter, "text": text}
        for question, said, letters in zip(splits.evaluation, drawn, samples, strict=True)
        for place, (text, letter) in enumerate(zip(said, letters, strict=True))
    ]
    records.save_rows(records.part_path(folder, settings, records.TEXTS_SUFFIX), pd.DataFrame(rows))
    return laid_out(samples=samples)


def _prompts(
    tokenizer: Tokenizer, splits: Splits, pool: Mapping[str, Sequence[Question]], protocol: Protocol, shots: int, seed: int
) -> tuple[list[str], list[tuple[int, ...]]]:
    """Texts of the prompts of a part, and their tokens."""
    drawn = [(one, draw_shots(one, pool, shots, seed)) for one in splits.evaluation]
    texts = [prompts.evaluation_prompt(one, before, protocol.format, tokenizer.chat) for one, before in drawn]
    return texts, [tokenizer.encode(text) for text in texts]


def _letter(prompt: str, completion: str, format: str) -> str | None:
    """The answer of a completion; in plain text a bare letter ends it, whatever question the model makes up after it."""
    if format == "plain":
        first = prompts.parse_answer(prompt, completion.split(END_OF_EXAMPLE)[0])
        return first or prompts.parse_answer(prompt, completion)
    return prompts.parse_answer(prompt, completion)


def _digest(splits: Splits, pool: Mapping[str, Sequence[Question]]) -> str:
    """What tells the questions, their answers and the examples from others."""
    asked = [*splits.evaluation, *(one for subject in sorted(pool) for one in pool[subject])]
    lines = [f"{one.identifier} {one.letter}" for one in asked]
    lines += sorted(f"{key}={value}" for key, value in splits.categories.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20]
