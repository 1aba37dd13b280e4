"""The evaluation of models on MMLU: numbers of shots, questions and seeds to records."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tunix.models.qwen2.model import Qwen2

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm import generation, prompts, records, scoring
from lsa_jax.lm.config import DTYPES
from lsa_jax.lm.divergence import DivergedError
from lsa_jax.lm.mmlu import Question
from lsa_jax.lm.records import ModelLabel
from lsa_jax.lm.splits import Splits, check_unseen, draw_shots
from lsa_jax.lm.tokenizer import Tokenizer

MARK_OF_RECORDS = 2
"""Raised when the same settings give other records than before, so that old ones are not used again."""
METHODS = ("letters", "generation")
SAMPLING = ("num_samples", "temperature", "max_tokens", "batch_size")
"""Settings of a protocol that samples depend on."""
END_OF_EXAMPLE = "\n\n"
"""What ends an answer in plain text, where the model may go on with another question."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How models are evaluated.

    Attributes:
        method: `letters` compares log-likelihoods of the four letters, one forward pass a question; `generation` samples answers and
            parses them, as published.
        format: of the prompts, `chat` (the authors' tool) or `plain` (lm-eval; the published generations).
        shots: numbers of examples in the prompts, of the same subject.
        seeds: evaluation seeds, of the examples and the samples.
        batch_size: prompts a forward pass.
        num_samples: generations a question.
        temperature: of generations; 0 with one sample for greedy decoding.
        max_tokens: of a generation.
        dtype: of the weights and of the computation.
    """

    method: str = "letters"
    format: str = "chat"
    shots: tuple[int, ...] = (0, 1, 3, 5, 7)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 8
    num_samples: int = 10
    temperature: float = 0.05
    max_tokens: int = 512
    dtype: str = "bfloat16"

    def __post_init__(self) -> None:
        checks.as_choice("method", self.method, METHODS)
        checks.as_choice("format", self.format, prompts.FORMATS)
        checks.as_count("batch_size", self.batch_size)
        checks.as_count("max_tokens", self.max_tokens)
        generation.check_sampling(self.num_samples, self.temperature)
        checks.as_choice("dtype", self.dtype, tuple(DTYPES))
        for name in ("shots", "seeds"):
            if not getattr(self, name):
                raise InputError(f"there are no {name}: give --{name} at least once, or leave it out for the published ones")
            for one in getattr(self, name):
                checks.as_count(name, one, minimum=0)

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield numbers of shots and evaluation seeds; letters without shots need no seed, so they are scored once."""
        for shots in self.shots:
            yield from ((shots, seed) for seed in (self.seeds[:1] if shots == 0 and self.method == "letters" else self.seeds))

    def settings(self) -> dict[str, Any]:
        """Return what determines the numbers of a part, but for its shots and seed."""
        names = ("method", "format", "dtype", *(SAMPLING if self.method == "generation" else ()))
        return {name: getattr(self, name) for name in names}


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
    load: Callable[[], Qwen2]


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
        for question in splits.evaluation:
            draw_shots(question, pool, shots, seed)
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
    def model(self) -> Qwen2:
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
    condition = {"shots": shots, "format": protocol.format, "evaluation_seed": seed}
    chat = loaded.tokenizer.chat
    texts = [prompts.evaluation_prompt(one, draw_shots(one, pool, shots, seed), protocol.format, chat) for one in splits.evaluation]
    tokens = [loaded.tokenizer.encode(text) for text in texts]
    answers = [one.answer for one in splits.evaluation]
    if protocol.method == "letters":
        choices = prompts.letter_tokens(loaded.tokenizer, protocol.format)
        scores = scoring.choice_log_likelihoods(loaded.model, tokens, choices, protocol.batch_size)
        return records.score_records(label, splits.table(), scores, answers, **condition)
    drawn = loaded.generator.sample(tokens, seed=seed, num_samples=protocol.num_samples, temperature=protocol.temperature)
    samples = [[_letter(text, one, protocol.format) for one in row] for text, row in zip(texts, drawn, strict=True)]
    rows = [
        {"question": question.identifier, "sample": place, "letter": letter, "text": text}
        for question, said, letters in zip(splits.evaluation, drawn, samples, strict=True)
        for place, (text, letter) in enumerate(zip(said, letters, strict=True))
    ]
    records.save_rows(records.part_path(folder, settings, records.TEXTS_SUFFIX), pd.DataFrame(rows))
    return records.sample_records(label, splits.table(), samples, answers, **condition)


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
