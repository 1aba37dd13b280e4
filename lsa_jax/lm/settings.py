"""Settings of a run, of its data and of an evaluation, each said once; nothing heavy is imported here, so that help is quick."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import Parameter, Token

from lsa_jax.errors import InputError
from lsa_jax.flags import Whole


def local_path(type_: Any, tokens: Sequence[Token]) -> Path:
    """Return the whole path that a flag names, `~` being the home; so that no name is taken for an address or for markup."""
    return Path(tokens[0].value).expanduser().absolute()


Local = Annotated[Path, Parameter(converter=local_path)]
Dtype = Literal["bfloat16", "float32"]
Method = Literal["letters", "generation"]
Format = Literal["chat", "plain"]
Preset = Literal["quick", "default"]
LETTERS = "ABCD"
CATEGORIES = ("stem", "humanities", "social_sciences", "other")
Several = Parameter(negative=())
"""Of a flag that may be given several times, and not in the negative."""
SAMPLING = ("num_samples", "temperature", "max_tokens", "batch_size")
"""What samples depend on, and scored letters do not."""
MOST_EXAMPLES = 10**7
"""What a run may ask for; all are built before it begins, and the published ones have 5000."""


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which questions.

    Attributes:
        data_seed: Seed of the split into training and evaluation questions, and of the order of training.
        num_training: Training questions, of Humanities.
        num_evaluation: Evaluation questions of each category.
        category_map: authors (anatomy in Other) or lm_eval (anatomy in STEM).
        reasoning: JSON lines with chains of reasoning that end in "Answer: X"; only questions with one are trained on then.
    """

    data_seed: Whole = 0
    num_training: Whole = 1000
    num_evaluation: Whole = 250
    category_map: Literal["authors", "lm_eval"] = "authors"
    reasoning: Local | None = None


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """How a model is fine-tuned; the defaults are the published settings.

    Attributes:
        targets: What gets adapters: qkv, qk, q, k, v, or a regular expression over paths such as layers/0/attn/q_proj.
        loss: zero_shot, mixture (the published schedule of zero-shot and few-shot prompts), or the probability of a zero-shot prompt in
            each epoch, separated by commas.
        shots: Examples in a few-shot prompt.
        rank: Inner size of the adapters.
        alpha: Their outputs are multiplied with alpha / rank.
        learning_rate: At the first step; it falls linearly to zero.
        epochs: Number of epochs.
        steps: Updates of an epoch.
        batch_size: Examples of an update.
        accumulation: Parts that an update's examples are split into, to save memory.
        checkpoint_every: Updates from one checkpoint to the next.
        max_length: Longest example in tokens.
        dtype: Type of the frozen weights and of the computation, bfloat16 or float32; adapters are float32.
        remat: Compute the activations of a layer again in the backward pass instead of keeping them.
        seed: Of the adapters' initial values.
    """

    targets: str = "qkv"
    loss: str = "zero_shot"
    shots: Whole = 5
    rank: Whole = 128
    alpha: float = 256.0
    learning_rate: float = 1e-5
    epochs: Whole = 5
    steps: Whole = 100
    batch_size: Whole = 10
    accumulation: Whole = 1
    checkpoint_every: Whole = 20
    max_length: Whole = 4096
    dtype: Dtype = "bfloat16"
    remat: bool = True
    seed: Whole = 0

    def __post_init__(self) -> None:
        from lsa_jax import checks

        for name in ("rank", "epochs", "steps", "batch_size", "accumulation", "checkpoint_every", "max_length"):
            checks.as_count(name, getattr(self, name))
        for name in ("alpha", "learning_rate"):
            checks.as_scale(name, getattr(self, name), minimum=0.0, zero_allowed=False)
        checks.as_choice("dtype", self.dtype, get_args(Dtype))
        checks.as_count("shots", self.shots, minimum=0)
        check_seed("seed", self.seed)
        asked = self.total_steps * self.batch_size
        if asked > MOST_EXAMPLES:
            raise InputError(f"{asked} training examples are asked for, {MOST_EXAMPLES} are allowed: take fewer steps or smaller batches")
        if self.batch_size % self.accumulation:
            raise InputError(f"batch_size {self.batch_size} is no multiple of accumulation {self.accumulation}; choose one that is")

    @property
    def total_steps(self) -> int:
        """Number of updates."""
        return self.epochs * self.steps


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How models are evaluated.

    Attributes:
        method: letters compares log-likelihoods of the four letters, one forward pass a question; generation samples answers, as published.
        format: Of the prompts: chat (the authors' tool), or plain as lm-eval has them and as published for generation.
        shots: Examples in the prompts, of the same subject; may be given several times.
        seeds: Evaluation seeds, of the examples and the samples; may be given several times.
        batch_size: Prompts of a forward pass.
        num_samples: Samples a question, where answers are sampled.
        temperature: Of the samples; 0 with one sample for greedy decoding.
        max_tokens: Longest sample.
        dtype: Type of the weights and of the computation.
    """

    method: Method = "letters"
    format: Format = "chat"
    shots: Annotated[tuple[Whole, ...], Several] = (0, 1, 3, 5, 7)
    seeds: Annotated[tuple[Whole, ...], Several] = (0, 1, 2)
    batch_size: Whole = 8
    num_samples: Whole = 10
    temperature: float = 0.05
    max_tokens: Whole = 512
    dtype: Dtype = "bfloat16"

    def __post_init__(self) -> None:
        from lsa_jax import checks

        for name, kind in (("method", Method), ("format", Format), ("dtype", Dtype)):
            checks.as_choice(name, getattr(self, name), get_args(kind))
        for name in ("batch_size", "max_tokens"):
            checks.as_count(name, getattr(self, name))
        check_sampling(self.num_samples, self.temperature)
        for name in ("shots", "seeds"):
            if not getattr(self, name):
                raise InputError(f"there are no {name}: give --{name} at least once, or leave it out for the published ones")
        for one in self.shots:
            checks.as_count("shots", one, minimum=0)
        for one in self.seeds:
            check_seed("seeds", one)

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield numbers of shots and evaluation seeds; letters without shots need no seed, so they are scored once."""
        for shots in self.shots:
            yield from ((shots, seed) for seed in (self.seeds[:1] if shots == 0 and self.method == "letters" else self.seeds))

    def settings(self) -> dict[str, Any]:
        """Return what determines the numbers of a part, but for its shots and seed."""
        names = ("method", "format", "dtype", *(SAMPLING if self.method == "generation" else ()))
        return {name: getattr(self, name) for name in names}


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that keys of random numbers and records cannot hold: all but whole numbers from 0 to 2³² - 1."""
    from lsa_jax import checks

    if checks.as_count(name, seed, minimum=0) >= 2**32:
        raise InputError(f"{name} is {seed}; seeds must stay below 2**32: choose a smaller one")


def check_sampling(num_samples: int, temperature: float) -> None:
    """Refuse numbers of samples and temperatures that are out of range, and several greedy samples."""
    from lsa_jax import checks

    checks.as_count("num_samples", num_samples)
    checks.as_scale("temperature", temperature, minimum=0.0)
    if temperature == 0 and num_samples > 1:
        raise InputError(f"temperature is 0 (greedy) with {num_samples} samples, all alike; take --num-samples 1, or a temperature above 0")
