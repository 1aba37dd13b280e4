"""Sampled completions of prompts, through tunix's sampler."""

from collections.abc import Sequence

import numpy as np
from tunix.generate.sampler import CacheConfig, Sampler
from tunix.models.qwen2.model import Qwen2

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.scoring import batches
from lsa_jax.lm.tokenizer import Tokenizer

GENERATION = 4
"""Tag of the stream of randomness of samples."""


def sample(
    model: Qwen2,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    num_samples: int = 10,
    temperature: float = 0.05,
    max_tokens: int = 512,
    batch_size: int = 8,
) -> list[list[str]]:
    """Sample completions of every prompt.

    A completion ends at the end of a chat turn or of a text, or when it is `max_tokens` long. The same arguments give the same samples;
    another batch size gives others.

    Args:
        model: the model.
        tokenizer: the model's.
        prompts: token numbers of each prompt.
        seed: evaluation seed.
        num_samples: completions a prompt; 1 for greedy decoding.
        temperature: of the softmax; 0 for greedy decoding.
        max_tokens: tokens of a completion at most.
        batch_size: completions sampled at once.

    Returns:
        `num_samples` texts for each prompt.

    Raises:
        InputError: if a number is out of range, several greedy samples are asked for, or a prompt is empty or has an end of text in it.
    """
    for name, count in (("num_samples", num_samples), ("max_tokens", max_tokens), ("batch_size", batch_size)):
        checks.as_count(name, count)
    if temperature < 0 or (temperature == 0 and num_samples > 1):
        raise InputError(f"temperature is {temperature:g} with {num_samples} samples; it must be above 0, or 0 (greedy) with one sample")
    if not all(prompt and tokenizer.end_of_text not in prompt for prompt in prompts):
        raise InputError("a prompt is empty or has the end-of-text token in it; every prompt needs a token, and none that pads")
    rows = [(place, tuple(prompt)) for place, prompt in enumerate(prompts) for _ in range(num_samples)]
    samples: list[list[str]] = [[] for _ in prompts]
    samplers: dict[int, Sampler] = {}
    for number, (length, places) in enumerate(batches([len(prompt) for _, prompt in rows], batch_size)):
        if length not in samplers:
            samplers[length] = _sampler(model, tokenizer, length + max_tokens)
        full = [rows[place][1] for place in (*places, *[places[-1]] * (batch_size - len(places)))]
        state = np.random.SeedSequence([seed, GENERATION, number]).generate_state(1)
        drawn = samplers[length](
            full,
            max_generation_steps=max_tokens,
            max_prompt_length=length,
            temperature=temperature,
            top_p=None if temperature == 0 else 1.0,
            seed=int(state[0] >> 1),
            eos_tokens=(tokenizer.end_of_turn, tokenizer.end_of_text),
        )
        for place, text in zip(places, drawn.text, strict=False):
            samples[rows[place][0]].append(text)
    return samples


def _sampler(model: Qwen2, tokenizer: Tokenizer, cache_size: int) -> Sampler:
    """The sampler with room for so many tokens."""
    config = model.config
    cache = CacheConfig(padded_length(cache_size), config.num_layers, config.num_kv_heads, config.head_dim)
    return Sampler(model, _TokenNumbers(tokenizer), cache)


class _TokenNumbers:
    """What tunix's sampler takes for a tokenizer, where prompts are token numbers already."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, prompt: Sequence[int]) -> list[int]:
        return list(prompt)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def bos_id(self) -> None:
        return None

    def eos_id(self) -> int:
        return self._tokenizer.end_of_turn

    def pad_id(self) -> int:
        return self._tokenizer.end_of_text
