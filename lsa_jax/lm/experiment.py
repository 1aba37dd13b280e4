"""A fine-tuning run on MMLU: local files in, checkpoints and metrics out, and a manifest of what it was made of."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm import batches, checkpoints, devices, mmlu, prompts, reasoning, snapshot, splits, tokenizer
from lsa_jax.lm.batches import Example
from lsa_jax.lm.config import max_positions, read_config
from lsa_jax.lm.finetune import DIVERGED, check_not_diverged, finetune
from lsa_jax.lm.lora import adapter_of, with_adapter
from lsa_jax.lm.questions import Question, digest
from lsa_jax.lm.settings import DataSettings, FinetuneSettings
from lsa_jax.lm.tokenizer import Tokenizer

SPLITS = "splits.json"
"""Where a run keeps which questions it was trained on and which are to be evaluated."""
FILES = (store.MANIFEST, SPLITS, DIVERGED, checkpoints.METRICS, store.PARTIAL, f"{checkpoints.FOLDER}/**/*")
"""What a run writes in its folder."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a run reads: tokenizer, questions with a digest of all that were given, and reasoning by identifier of the question."""

    tokenizer: Tokenizer
    splits: splits.Splits
    reasoning: Mapping[str, str]
    digest: str

    def steps(self, settings: FinetuneSettings, data_seed: int) -> Iterator[list[Example]]:
        """Return the examples of every training step, see `lsa_jax.lm.prompts.training_steps`."""
        chances, questions = batches.probabilities(settings.loss), self.splits.training
        size = {"epochs": settings.epochs, "steps": settings.steps, "batch_size": settings.batch_size, "shots": settings.shots}
        draws = batches.draws(chances, len(questions), **size, seed=data_seed)
        shots = settings.shots if min(chances) < 1 else 0
        return prompts.training_steps(self.tokenizer, questions, self.reasoning, draws, shots)

    def longest(self, settings: FinetuneSettings, data_seed: int) -> tuple[int, int]:
        """Return the numbers of tokens of the longest example and of the longest response; raises `InputError` if one is too long."""
        sizes = [
            (batches.longest_of(step, settings.max_length), max(len(one.response) for one in step))
            for step in self.steps(settings, data_seed)
        ]
        longest, answer = max(size for size, _ in sizes), max(size for _, size in sizes)
        self.tokenizer.check_length(longest)
        return longest, answer


def read(model: Path, data: Path, settings: DataSettings) -> Material:
    """Read and check everything but the weights.

    Args:
        model: the snapshot.
        data: MMLU, or lm-eval's development questions.
        settings: which questions.

    Returns:
        The material.

    Raises:
        InputError: if something is missing or does not fit.
    """
    numbers, questions, source = read_files(model, data)
    supplied = reasoning.load(settings.reasoning, questions) if settings.reasoning else {}
    for name, text in supplied.items():
        _check_text(numbers, f"the reasoning to {name}", text)
    chosen = splits.split(
        questions,
        settings.data_seed,
        num_training=settings.num_training,
        num_evaluation=settings.num_evaluation,
        category_map=settings.category_map,
        trainable=supplied or None,
        source=source,
    )
    return Material(numbers, chosen, supplied, digest(questions))


def read_files(model: Path, data: Path) -> tuple[Tokenizer, list[Question], str]:
    """Read the tokenizer of a snapshot and the questions, and check the headers of the weights.

    Args:
        model: the snapshot.
        data: MMLU.

    Returns:
        The tokenizer, all questions, and the split of MMLU that they are.

    Raises:
        InputError: if something is missing or does not fit, or a question holds a control token, which would become a turn of its own.
    """
    config = read_config(model)
    snapshot.check_weights(model, config)
    numbers, (questions, source) = tokenizer.load(model, config.vocab_size, max_positions(model)), mmlu.read_questions(data)
    for one in questions:
        _check_text(numbers, f"the question {one.identifier}", "\n".join([one.question, *one.choices]))
    return numbers, questions, source


def train(
    model: Path,
    material: Material,
    settings: FinetuneSettings,
    data: DataSettings,
    out: Path,
    report: checkpoints.Report,
    stop: Callable[[], bool],
    mesh: Mesh | None = None,
) -> int:
    """Fine-tune a model, or go on with the same run in the folder.

    Args:
        model: the snapshot.
        material: what `read` returned.
        settings: how.
        data: which questions.
        out: folder of the run.
        report: told of every step.
        stop: asked before every step whether to stop.
        mesh: devices that model and batches are split over; None for one.

    Returns:
        The number of steps made so far.

    Raises:
        InputError: if the settings cannot be used, an example is too long, or the folder holds another run.
        DivergedError: if the run diverges, or has diverged.
    """
    adapter, config = adapter_of(settings), read_config(model)
    adapter.projections(config)
    if mesh is not None:
        devices.check_split(mesh, config, settings.batch_size // settings.accumulation)
    material.longest(settings, data.data_seed)
    store.claim_folder(out, _manifest(model, material, settings, data), files=FILES)
    store.save_json(out / SPLITS, {"training": _names(material.splits.training), "evaluation": _names(material.splits.evaluation)})
    check_not_diverged(out)
    if checkpoints.last(out) >= settings.total_steps:
        return settings.total_steps
    loaded = snapshot.load(model, dtype=settings.dtype, remat=settings.remat, mesh=mesh).model
    with mesh or contextlib.nullcontext():
        adapted = with_adapter(loaded, adapter, settings.seed)
        if mesh is not None:
            devices.shard(adapted, mesh)
        return finetune(adapted, material.steps(settings, data.data_seed), settings, out, report=report, stop=stop)


def reasoning_digest(reasoning: Mapping[str, str]) -> str:
    """Return what tells chains of reasoning from others; empty if there are none."""
    text = "\x1f".join(f"{name}\x1e{reasoning[name]}" for name in sorted(reasoning))
    return hashlib.sha256(text.encode()).hexdigest()[:20] if reasoning else ""


def _manifest(model: Path, material: Material, settings: FinetuneSettings, data: DataSettings) -> dict[str, Any]:
    """What determines a run's numbers, wherever its files lie."""
    chosen = {name: value for name, value in dataclasses.asdict(data).items() if name != "reasoning"}
    return {
        "model": snapshot.fingerprint(model),
        "questions": material.digest,
        "split": material.splits.source,
        "reasoning": reasoning_digest(material.reasoning),
        "finetune": dataclasses.asdict(settings),
        "data": chosen,
    }


def _names(questions: Sequence[Question]) -> list[str]:
    """Identifiers of questions."""
    return [one.identifier for one in questions]


def _check_text(numbers: Tokenizer, name: str, text: str) -> None:
    """Refuse a text with control tokens in it."""
    token = numbers.control_token(text)
    if token is not None:
        raise InputError(f"{name} holds the control token {token}, which the model would read as a mark: take it out of the text")
