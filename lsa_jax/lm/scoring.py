"""Log-likelihoods of a few fixed answers to many prompts: one forward pass a prompt where every answer is one token."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.families import Decoder

SHORTEST = 16
"""Padded length of the shortest prompts."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """Log-likelihoods of choices, and whether each is what greedy decoding would say; both (prompts, choices)."""

    log_likelihoods: np.ndarray
    greedy: np.ndarray


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[tuple[int, list[int]]]:
    """Group sequences of about the same length, so that a batch is padded little.

    Args:
        lengths: numbers of tokens.
        batch_size: sequences a batch at most.

    Yields:
        Padded length and places of the sequences of each batch, shortest first.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for padded, group in itertools.groupby(order, key=lambda place: padded_length(lengths[place], least=SHORTEST)):
        places = list(group)
        for start in range(0, len(places), batch_size):
            yield padded, places[start : start + batch_size]


def choice_log_likelihoods(
    model: Decoder, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], batch_size: int
) -> Float[np.ndarray, "prompts choices"]:
    """Compute log p(choice | prompt) of every choice after every prompt.

    Args:
        model: the model.
        prompts: token numbers of each prompt.
        choices: token numbers of each answer, the same for all prompts.
        batch_size: prompts a forward pass.

    Returns:
        Natural logarithms, summed over the tokens of a choice.

    Raises:
        InputError: if a prompt or a choice has no token, there is none of them, or a token is not in the vocabulary.
        DivergedError: if one is NaN or infinite, so that nothing is answered.
    """
    found = score_choices(model, prompts, choices, batch_size).log_likelihoods
    wrong = int((~np.isfinite(found).all(axis=1)).sum())
    if wrong:
        raise forward.DivergedError(f"{wrong} of {len(prompts)} questions have log-likelihoods that are no finite numbers")
    return found


def score_choices(model: Decoder, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], batch_size: int) -> Scores:
    """Score every choice after every prompt; arguments and errors as of `choice_log_likelihoods`.

    Choices that agree in all but their last token are scored by the same forward pass.

    Args:
        model: the model.
        prompts: token numbers of each prompt.
        choices: token numbers of each answer, the same for all prompts.
        batch_size: prompts a forward pass.

    Returns:
        The scores.
    """
    _check("prompts", prompts, model.config.vocab_size)
    _check("choices", choices, model.config.vocab_size)
    batch_size = min(batch_size, len(prompts))
    log_likelihoods, greedy = np.empty((len(prompts), len(choices)), dtype=np.float32), np.empty((len(prompts), len(choices)), dtype=bool)
    for stem in dict.fromkeys(tuple(choice[:-1]) for choice in choices):
        members = [place for place, choice in enumerate(choices) if tuple(choice[:-1]) == stem]
        answers = jnp.array([choices[place] for place in members], dtype=jnp.int32)
        rows = [(*prompt, *stem) for prompt in prompts]
        for padded, places in batches([len(row) for row in rows], batch_size):
            tokens, lengths = pad([rows[place] for place in places], padded, batch_size)
            found = _score_batch(model, tokens, lengths, answers)
            log_likelihoods[np.ix_(places, members)], greedy[np.ix_(places, members)] = (np.asarray(one)[: len(places)] for one in found)
    return Scores(log_likelihoods, greedy)


def pad(rows: Sequence[Sequence[int]], length: int, num_rows: int) -> tuple[Int[Array, "rows length"], Int[Array, " rows"]]:
    """Pad sequences on the right, and repeat the last one to a full batch.

    Args:
        rows: the sequences.
        length: tokens of a padded one.
        num_rows: rows of a full batch.

    Returns:
        Tokens (num_rows, length) and numbers of tokens (num_rows,).
    """
    filled = [*rows, *[rows[-1]] * (num_rows - len(rows))]
    tokens = np.zeros((num_rows, length), dtype=np.int32)
    for place, row in enumerate(filled):
        tokens[place, : len(row)] = row
    return jnp.asarray(tokens), jnp.array([len(row) for row in filled], dtype=jnp.int32)


@nnx.jit
def _score_batch(
    model: Decoder,
    tokens: Int[Array, "batch length"],
    lengths: Int[Array, " batch"],
    answers: Int[Array, "choices answer"],
) -> tuple[Float[Array, "batch choices"], Bool[Array, "batch choices"]]:
    """Scores of answers (choices, k) whose first k - 1 tokens end each sequence, from the logits at its last k positions."""
    span = jnp.arange(answers.shape[1], dtype=jnp.int32) - answers.shape[1]
    places = lengths[:, None] + span[None, :]
    mask = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None, :] < lengths[:, None]
    states = jnp.take_along_axis(forward.hidden_states(model, tokens, mask), places[:, :, None], axis=1)
    log_probabilities = jax.nn.log_softmax(forward.logits(model, states), axis=-1)
    chosen = log_probabilities[:, jnp.arange(answers.shape[1], dtype=jnp.int32), answers]
    said = log_probabilities.argmax(axis=-1)[:, None, :] == answers[None]
    return chosen.sum(axis=-1), said.all(axis=-1)


def _check(name: str, sequences: Sequence[Sequence[int]], vocabulary: int) -> None:
    """Refuse what cannot be scored."""
    if not len(sequences) or not all(len(sequence) for sequence in sequences):
        raise InputError(f"{name}: there must be at least one, each of at least one token")
    largest, smallest = max(map(max, sequences)), min(map(min, sequences))
    if smallest < 0 or largest >= vocabulary:
        wrong = smallest if smallest < 0 else largest
        raise InputError(f"{name} hold the token number {wrong}; the model has {vocabulary}: use the tokenizer of this model")
