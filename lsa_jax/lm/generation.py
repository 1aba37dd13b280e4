"""Sampled completions of prompts, through tunix's sampler."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tunix.generate.sampler import CacheConfig, Sampler

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.batches import padded_length
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.scoring import batches
from lsa_jax.lm.settings import check_sampling
from lsa_jax.lm.tokenizer import Tokenizer

GENERATION = 4
"""Tag of the stream of randomness of samples."""


class Generator:
    """Samples completions of prompts from one model; programs are compiled once a length of prompts."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, *, max_tokens: int = 512, batch_size: int = 8) -> None:
        """Prepare to sample.

        Args:
            model: the model.
            tokenizer: the model's.
            max_tokens: tokens of a completion at most.
            batch_size: completions sampled at once.

        Raises:
            InputError: if a number is not positive.
        """
        self._model, self._tokenizer = model, tokenizer
        self._max_tokens = checks.as_count("max_tokens", max_tokens)
        self._batch_size = checks.as_count("batch_size", batch_size)
        self._samplers: dict[int, Sampler] = {}

    def sample(self, prompts: Sequence[Sequence[int]], *, seed: int, num_samples: int = 10, temperature: float = 0.05) -> list[list[str]]:
        """Sample completions of every prompt.

        A completion ends at the end of a chat turn or of a text, or when it is as long as it may be. The same arguments give the same
        samples; another batch size gives others.

        Args:
            prompts: token numbers of each prompt.
            seed: evaluation seed.
            num_samples: completions a prompt; 1 for greedy decoding.
            temperature: of the softmax; 0 for greedy decoding.

        Returns:
            `num_samples` texts for each prompt.

        Raises:
            InputError: if a number is out of range, or a prompt is empty or has an end of text in it.
        """
        check_sampling(num_samples, temperature)
        if not all(prompt and self._tokenizer.end_of_text not in prompt for prompt in prompts):
            raise InputError("a prompt is empty or has the end-of-text token in it; every prompt needs a token, and none that pads")
        rows = [(place, tuple(prompt)) for place, prompt in enumerate(prompts) for _ in range(num_samples)]
        samples: list[list[str]] = [[] for _ in prompts]
        batch_size = min(self._batch_size, len(rows))
        for number, (length, places) in enumerate(batches([len(prompt) for _, prompt in rows], batch_size)):
            full: Any = [rows[place][1] for place in (*places, *[places[-1]] * (batch_size - len(places)))]
            state = np.random.SeedSequence([seed, GENERATION, number]).generate_state(1)
            drawn = self._sampler(length)(
                full,
                max_generation_steps=self._max_tokens,
                max_prompt_length=length,
                temperature=temperature,
                top_p=None if temperature == 0 else 1.0,
                seed=int(state[0] >> 1),
                eos_tokens=(self._tokenizer.end_of_turn, self._tokenizer.end_of_text),
            )
            for place, text in zip(places, drawn.text, strict=False):
                samples[rows[place][0]].append(text)
        return samples

    def _sampler(self, length: int) -> Sampler:
        """The sampler for prompts of a padded length."""
        if length not in self._samplers:
            config = self._model.config
            cache = CacheConfig(padded_length(length + self._max_tokens), config.num_layers, config.num_kv_heads, config.head_dim)
            self._samplers[length] = Sampler(self._model, _TokenNumbers(self._tokenizer), cache)
        return self._samplers[length]


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
