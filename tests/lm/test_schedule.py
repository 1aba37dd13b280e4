"""The mixture of zero-shot and few-shot prompts."""

import numpy as np
import pytest

from lsa_jax.errors import InputError
from lsa_jax.lm import batches

SIZE = {"epochs": 5, "steps": 100, "batch_size": 10, "shots": 5}


def test_every_epoch_has_its_share_of_zero_shot_prompts() -> None:
    steps = list(batches.draws(batches.probabilities("mixture"), 1000, **SIZE, seed=0))
    assert len(steps) == 500
    for epoch, probability in enumerate((0.5, 0.625, 0.75, 0.875, 1.0)):
        drawn = [one for step in steps[100 * epoch : 100 * (epoch + 1)] for one in step]
        assert sorted(one.question for one in drawn) == list(range(1000))
        assert {one.shots for one in drawn} <= {0, 5}
        share = np.mean([one.shots == 0 for one in drawn])
        assert abs(share - probability) <= 4 * (probability * (1 - probability) / 1000) ** 0.5


def test_questions_and_seeds_do_not_depend_on_the_schedule() -> None:
    zero, mixed = (list(batches.draws(batches.probabilities(loss), 30, **SIZE, seed=3)) for loss in ("zero_shot", "0.5,0"))
    assert {one.shots for step in zero for one in step} == {0}
    assert {one.shots for step in mixed[100:] for one in step} == {5}
    assert [[(one.question, one.seed) for one in step] for step in zero] == [[(one.question, one.seed) for one in step] for step in mixed]
    other = next(batches.draws((1.0,), 30, **SIZE, seed=4))
    assert [one.question for one in other] != [one.question for one in zero[0]]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mixtur", r"unknown loss 'mixtur'; .*Did you mean 'mixture'\?"),
        ("0.5,1.5", "probabilities of a zero-shot prompt must be between 0 and 1"),
        ("0.5,x", "loss is 'x'; it must be a number"),
    ],
)
def test_wrong_schedules_are_one_clear_line(loss: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        batches.probabilities(loss)
