"""MMLU's test questions split anew: some to train on, some to evaluate, and the rest as examples in prompts."""

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.questions import CATEGORIES, Question, category, without_duplicates
from lsa_jax.lm.settings import check_seed

TRAINING_CATEGORY = "humanities"
TRAINING, EVALUATION, SHOTS = 1, 2, 3
"""Tags of the streams of randomness: training questions, evaluation questions, examples in prompts."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """Disjoint sets of questions.

    Attributes:
        training: of the training category.
        evaluation: the same number of every evaluated category.
        rest: all others; where examples in evaluation prompts come from.
        categories: category of every subject.
        source: which split of MMLU they are from, `test` or `dev`.
    """

    training: list[Question]
    evaluation: list[Question]
    rest: list[Question]
    categories: Mapping[str, str]
    source: str = "test"

    def table(self) -> pd.DataFrame:
        """Return what records say of the evaluation questions: domain, category, subject and question."""
        rows = [
            {
                "domain": "in" if self.categories[one.subject] == TRAINING_CATEGORY else "out",
                "category": self.categories[one.subject],
                "subject": one.subject,
                "question": one.identifier,
            }
            for one in self.evaluation
        ]
        return pd.DataFrame(rows)

    def only(self, chosen: Sequence[str]) -> "Splits":
        """Return the splits with the evaluation questions of some categories alone; refuses those of which there are none."""
        for name in chosen:
            checks.as_choice("category", name, CATEGORIES)
        asked = [one for one in self.evaluation if self.categories[one.subject] in chosen]
        if not asked:
            raise InputError(f"there are no evaluation questions of {', '.join(chosen) or 'no category'}: choose another category")
        return dataclasses.replace(self, evaluation=asked)


def split(
    questions: Sequence[Question],
    data_seed: int,
    *,
    num_training: int = 1000,
    num_evaluation: int = 250,
    category_map: str = "authors",
    evaluated: Sequence[str] = CATEGORIES,
    trainable: Container[str] | None = None,
    source: str = "test",
) -> Splits:
    """Draw training and evaluation questions, without duplicates.

    Which ones depends on the questions and the seed alone, not on the order or the layout of the files. Evaluation questions are drawn
    first and do not depend on the number of training questions.

    Args:
        questions: all there are.
        data_seed: seed of the draw.
        num_training: questions of the training category.
        num_evaluation: questions of every evaluated category.
        category_map: `authors` or `lm_eval`.
        evaluated: categories to evaluate.
        trainable: identifiers of questions that may be trained on, for example those with supplied reasoning; None for all.
        source: which split of MMLU the questions are from.

    Returns:
        The splits.

    Raises:
        InputError: if there are too few questions of a category, or a number cannot be used.
    """
    check_seed("data_seed", data_seed)
    for name, value in (("num_training", num_training), ("num_evaluation", num_evaluation)):
        checks.as_count(name, value)
    unique = sorted(without_duplicates(sorted(questions, key=lambda one: one.identifier)), key=lambda one: one.identifier)
    by_subject = {subject: category(subject, category_map) for subject in {one.subject for one in unique}}
    chosen: list[Question] = []
    for name in evaluated:
        members = [one for one in unique if by_subject[one.subject] == name]
        stream = [data_seed, EVALUATION, CATEGORIES.index(name)]
        chosen += _draw(members, num_evaluation, stream, f"{name} questions to evaluate")
    held = {one.identifier for one in chosen}
    left = [one for one in unique if one.identifier not in held]
    members = [one for one in left if by_subject[one.subject] == TRAINING_CATEGORY and (trainable is None or one.identifier in trainable)]
    training = _draw(members, num_training, [data_seed, TRAINING], f"{TRAINING_CATEGORY} questions to train on")
    held |= {one.identifier for one in training}
    return Splits(training, chosen, [one for one in left if one.identifier not in held], by_subject, source)


def as_trained(
    questions: Sequence[Question], recorded: Mapping[str, Sequence[str]], category_map: str = "authors", source: str = "test"
) -> Splits:
    """Return the splits that a run was trained with, whatever is drawn today.

    Args:
        questions: all there are.
        recorded: identifiers of `training` and `evaluation` questions.
        category_map: `authors` or `lm_eval`.
        source: which split of MMLU the questions are from.

    Returns:
        The splits; the rest are all other questions, without duplicates.

    Raises:
        InputError: if one of them is missing.
    """
    unique = {one.identifier: one for one in sorted(questions, key=lambda one: one.identifier)}
    for name in (*recorded["training"], *recorded["evaluation"]):
        if name not in unique:
            raise InputError(f"the question {name} of the run is not in the data: pass the data that it was trained on")
    training, evaluation = ([unique[name] for name in recorded[part]] for part in ("training", "evaluation"))
    held = {one.content for one in (*training, *evaluation)}
    rest = [one for one in without_duplicates(unique.values()) if one.content not in held]
    by_subject = {one.subject: category(one.subject, category_map) for one in unique.values()}
    return Splits(training, evaluation, rest, by_subject, source)


def check_unseen(evaluation: Sequence[Question], others: Iterable[Question], name: str) -> None:
    """Refuse evaluation questions that are among others (training questions or examples, called `name`), under whatever subject."""
    seen = {one.content for one in others}
    twice = [one for one in evaluation if one.content in seen]
    if twice:
        raise InputError(f"{len(twice)} evaluation questions are {name} too, such as {twice[0].identifier}: take them out of one of both")


def draw_shots(question: Question, pool: Mapping[str, Sequence[Question]], shots: int, seed: int) -> list[Question]:
    """Draw examples of the same subject for a prompt.

    The draw depends on the seed and the question alone, and the first of more shots are those of fewer.

    Args:
        question: the question of the prompt; it is never drawn itself.
        pool: candidates by subject, see `by_subject`.
        shots: how many.
        seed: evaluation seed or, in training, that of the prompt.

    Returns:
        The examples.

    Raises:
        InputError: if the subject has too few.
    """
    members = [one for one in pool.get(question.subject, []) if one.identifier != question.identifier]
    number = int(question.identifier.rsplit("-", 1)[1], 16)
    return _draw(members, shots, [seed, SHOTS, number], f"{question.subject} questions as examples")


def by_subject(questions: Sequence[Question]) -> dict[str, list[Question]]:
    """Group questions by subject, in order."""
    groups: dict[str, list[Question]] = {}
    for one in questions:
        groups.setdefault(one.subject, []).append(one)
    return groups


def _draw(members: Sequence[Question], count: int, stream: Sequence[int], name: str) -> list[Question]:
    """The first of a random order."""
    if len(members) < count:
        raise InputError(f"there are {len(members)} {name}, {count} are asked for: ask for fewer, or use more data")
    order = np.random.default_rng(np.random.SeedSequence(stream)).permutation(len(members))
    return [members[place] for place in order[:count]]
