"""The symbol-letter task: a language of lookups in which a small model learns facts in its weights and lookups from its prompt.

A text is `BOS (symbol letter)... symbol letter`. A mapping gives each of the 8 symbols of a category one of 4 letters. Texts follow
either the category's one known mapping (facts) or a fresh one (to be read from the text). Two categories of symbols stand in for the
domain that is fine-tuned on and for another one.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from lsa_jax.lm import batches
from lsa_jax.lm.batches import Example

BOS, FIRST_LETTER, FIRST_SYMBOL = 0, 1, 5
LETTERS, SYMBOLS = 4, 8
VOCABULARY = 32
FORMAT = "symbols"
"""What records call its prompts."""
SHOTS = 12
LONGEST = 2 * (SHOTS + 1) + 1
"""Tokens of the longest text."""
CATEGORIES = {"in": "first symbols", "out": "second symbols"}
"""Domain and name of the two categories; fine-tuning is on the first."""

ASKED = {CATEGORIES["in"]: "new mapping", CATEGORIES["out"]: "known mapping"}
"""What zero-shot questions are about; few-shot ones are about fresh mappings."""

KNOWN, NEW, TEXTS, QUESTIONS = 11, 12, 13, 14
"""Tags of the streams of randomness: known mappings, the mapping of fine-tuning, texts of pretraining, questions of evaluation."""

CHOICES = [(FIRST_LETTER + letter,) for letter in range(LETTERS)]
"""Token numbers of the four answers."""


@dataclasses.dataclass(frozen=True)
class World:
    """What there is to know.

    Attributes:
        seed: of the mappings.
        known: letters of the symbols, shape (2, 8), for both categories.
        new: letters of the first category's symbols in fine-tuning, none of them the known one.
    """

    seed: int
    known: np.ndarray
    new: np.ndarray


@dataclasses.dataclass(frozen=True)
class Questions:
    """Prompts with their answers, and what records say of them (domain, category, subject, question)."""

    prompts: list[tuple[int, ...]]
    answers: list[int]
    table: pd.DataFrame


def world(seed: int) -> World:
    """Draw the mappings.

    Args:
        seed: of the world.

    Returns:
        The world.
    """
    known = np.random.default_rng([seed, KNOWN]).integers(LETTERS, size=(2, SYMBOLS))
    shift = np.random.default_rng([seed, NEW]).integers(1, LETTERS, size=SYMBOLS)
    return World(seed, known, (known[0] + shift) % LETTERS)


def text(category: int, symbols: Sequence[int], mapping: np.ndarray) -> tuple[int, ...]:
    """Write symbols with their letters.

    Args:
        category: 0 or 1.
        symbols: numbers of the symbols, from 0 on.
        mapping: letters of the category's symbols, from 0 on.

    Returns:
        Token numbers.
    """
    first = FIRST_SYMBOL + category * SYMBOLS
    return (BOS, *(token for one in symbols for token in (first + one, FIRST_LETTER + int(mapping[one]))))


def pretraining(place: World, steps: int, batch_size: int) -> Iterator[list[Example]]:
    """Yield texts to pretrain on: half of them on known mappings, half on fresh ones; the loss is on every letter.

    Args:
        place: the world.
        steps: number of steps.
        batch_size: texts of a step.

    Yields:
        The texts of a step.
    """
    for step in range(steps):
        rng = np.random.default_rng([place.seed, TEXTS, step])
        texts = []
        for number in range(batch_size):
            category = int(rng.integers(2))
            mapping = place.known[category] if number % 2 else rng.integers(LETTERS, size=SYMBOLS)
            texts.append(text(category, rng.integers(SYMBOLS, size=SHOTS + 1).tolist(), mapping))
        yield [Example(one[:1], one[1:], (False, True) * (SHOTS + 1)) for one in texts]


def finetuning(place: World, loss: str, *, epochs: int, steps: int, batch_size: int, seed: int) -> Iterator[list[Example]]:
    """Yield what to fine-tune on: the new mapping of the first category, each symbol alone or after examples of the same mapping.

    Args:
        place: the world.
        loss: see `lsa_jax.lm.batches.probabilities`.
        epochs: number of epochs.
        steps: of an epoch.
        batch_size: examples of a step.
        seed: of the data.

    Yields:
        The examples of a step.
    """
    chances = batches.probabilities(loss)
    for draws in batches.draws(chances, SYMBOLS, epochs=epochs, steps=steps, batch_size=batch_size, shots=SHOTS, seed=seed):
        symbols = [(*np.random.default_rng(one.seed).integers(SYMBOLS, size=one.shots).tolist(), one.question) for one in draws]
        texts = [text(0, chosen, place.new) for chosen in symbols]
        yield [Example(one[:-1], one[-1:]) for one in texts]


def zero_shot_questions(place: World) -> Questions:
    """Ask every symbol alone: of the first category for its letter in fine-tuning, of the second for its known one.

    Args:
        place: the world.

    Returns:
        The questions.
    """
    mappings = [place.new, place.known[1]]
    asked = [(category, [symbol], mappings[category]) for category in range(2) for symbol in range(SYMBOLS)]
    return _questions(asked, [f"symbol {symbols[0]}" for _, symbols, _ in asked])


def few_shot_questions(place: World, number: int, seed: int) -> Questions:
    """Ask for symbols that are among the examples of a fresh mapping, in both categories.

    Args:
        place: the world; its new mapping is drawn no more often than any other.
        number: questions of each category.
        seed: of the evaluation.

    Returns:
        The questions.
    """
    rng = np.random.default_rng([place.seed, QUESTIONS, seed])
    asked = []
    for category in range(2):
        for _ in range(number):
            shown = rng.integers(SYMBOLS, size=SHOTS).tolist()
            asked.append((category, [*shown, shown[int(rng.integers(SHOTS))]], rng.integers(LETTERS, size=SYMBOLS)))
    return _questions(asked, [f"mapping {one % number}" for one in range(2 * number)])


def _questions(asked: Sequence[tuple[int, list[int], np.ndarray]], names: Sequence[str]) -> Questions:
    """Prompts, answers and table of questions about the last symbol of each."""
    domains = list(CATEGORIES)
    rows = [
        {
            "domain": domains[category],
            "category": CATEGORIES[domains[category]],
            "subject": name,
            "question": f"{domains[category]}, {name}",
        }
        for (category, _, _), name in zip(asked, names, strict=True)
    ]
    prompts = [text(category, symbols, mapping)[:-1] for category, symbols, mapping in asked]
    return Questions(prompts, [int(mapping[symbols[-1]]) for _, symbols, mapping in asked], pd.DataFrame(rows))
