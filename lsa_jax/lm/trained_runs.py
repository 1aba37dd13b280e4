"""Runs on disk: what they were made of, the models of their checkpoints, and snapshots made of them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm import checkpoints, experiment, export, peft_adapter, reasoning, snapshot, splits
from lsa_jax.lm.config import read_config
from lsa_jax.lm.evaluate import Candidate
from lsa_jax.lm.experiment import Material
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.lora import adapter_of, with_adapter
from lsa_jax.lm.questions import Question, digest
from lsa_jax.lm.records import ModelLabel, Recipe
from lsa_jax.lm.settings import DataSettings, FinetuneSettings

ALL, LAST, PEFT = "all", "last", "peft"
"""Which checkpoints; and what records say of the loss of adapters that were trained elsewhere."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as it was recorded.

    Attributes:
        folder: where it is.
        model: fingerprint of the base model.
        questions: digest of all questions it was given.
        reasoning: digest of the chains of reasoning; empty if there were none.
        finetune: how it was fine-tuned.
        data: which questions; without the path of the reasoning.
        splits: identifiers of `training` and `evaluation` questions.
    """

    folder: Path
    model: str
    questions: str
    reasoning: str
    finetune: FinetuneSettings
    data: DataSettings
    splits: Mapping[str, Sequence[str]]

    def label(self, step: int) -> ModelLabel:
        """Return what records say of a checkpoint."""
        how = self.finetune
        recipe = Recipe.of(how, self.data.num_training, self.reasoning)
        return ModelLabel(self.folder.name, how.targets, how.loss, step, how.seed, self.data.data_seed, self.model, recipe)

    def steps(self, which: str) -> list[int]:
        """Return checkpoints: `all` planned ones, the `last` one, or those of steps separated by commas."""
        planned = checkpoints.planned(self.folder, self.finetune.total_steps, self.finetune.checkpoint_every)
        if not planned:
            raise InputError(f"{self.folder} has no checkpoints yet; finish lsa-jax lm finetune first")
        if which in {ALL, LAST}:
            return planned if which == ALL else planned[-1:]
        numbers = (checks.as_number("checkpoints", one) for one in which.split(","))
        chosen = sorted({checks.as_count("checkpoints", one) for one in numbers})
        for step in chosen:
            checkpoints.check_saved(self.folder, step)
        return chosen


def read_run(folder: Path) -> Run:
    """Read what a run was made of; a folder that holds none is refused."""
    try:
        told = store.load_json(folder / store.MANIFEST)["settings"]
        parts = {name: str(told[name]) for name in ("model", "questions", "reasoning")}
        settings, data = FinetuneSettings(**told["finetune"]), DataSettings(**told["data"])
        names = store.load_json(folder / experiment.SPLITS)
        asked = {part: [str(one) for one in names[part]] for part in ("training", "evaluation")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{folder} holds no run; pass a folder that lsa-jax lm finetune wrote") from None
    return Run(folder, **parts, finetune=settings, data=data, splits=asked)


def material_of(runs: Sequence[Run], model: Path, data: Path, asked: DataSettings | None) -> Material:
    """Read the tokenizer and the questions that runs were trained with, split as they were then.

    Args:
        runs: at least one.
        model: the snapshot they began with.
        data: the data they were trained on, wherever it lies now.
        asked: settings of the data that were given, if some were.

    Returns:
        The material, without reasoning, which evaluation does not need.

    Raises:
        InputError: if the runs were split differently, began with another model, or were trained on other data than is given or asked for.
    """
    numbers, questions, source = experiment.read_files(model, data)
    given, first = digest(questions), runs[0]
    for run in runs:
        if run.questions != given:
            raise InputError(f"{run.folder} was trained on other questions than those of {data}: pass the data that it was trained on")
        if run.splits != first.splits or run.data.category_map != first.data.category_map:
            raise InputError(
                f"{run.folder} and {first.folder} do not have the same training and evaluation questions: evaluate them one after the other"
            )
    check_base(runs, model)
    if asked is not None:
        _check_asked(asked, first, questions)
    return Material(numbers, splits.as_trained(questions, first.splits, first.data.category_map, source), {}, given)


def check_base(runs: Sequence[Run], model: Path) -> None:
    """Refuse a snapshot whose weights, configuration or tokenizer are not those that the runs began with; its files are read once."""
    base = snapshot.fingerprint(model)
    for run in (run for run in runs if run.model != base):
        raise InputError(f"{run.folder} was fine-tuned from another model than {model}: pass the snapshot that it began with")


def candidates(model: Path, runs: Sequence[Run], peft: Sequence[Path], dtype: str, which: str, data_seed: int) -> list[Candidate]:
    """Return the base model, checkpoints of runs, and models with adapters in PEFT's format, trained by whomever on whatever.

    Args:
        model: the snapshot.
        runs: the runs.
        peft: folders of adapters; as of runs, their names name the models.
        dtype: of the computation.
        which: checkpoints, see `Run.steps`.
        data_seed: of the questions, which the base model is named by too.

    Returns:
        What to evaluate, loaded only when it is needed.

    Raises:
        InputError: if a run has no such checkpoints, an adapter does not fit the model, or two folders have the same name.
    """
    names = [folder.name for folder in (*(run.folder for run in runs), *peft)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are called {name}; name the folders of runs and adapters that are evaluated together differently")
    base, config = snapshot.fingerprint(model), read_config(model, dtype=dtype)
    label = ModelLabel(data_seed=data_seed, model=base)
    found = [Candidate(label, base, lambda: snapshot.load(model, dtype=dtype).model)]
    for run in runs:
        adapted = functools.cache(functools.partial(_adapted, model, run.finetune, dtype))
        for step in run.steps(which):
            load = functools.partial(_restored, adapted, run.folder, step)
            found.append(Candidate(run.label(step), f"{base} {checkpoints.fingerprint(run.folder, step)}", load))
    for folder in peft:
        adapter, _ = peft_adapter.read(folder, config)
        told = {"run": folder.name, "targets": adapter.targets, "recipe": Recipe(rank=adapter.rank, alpha=adapter.alpha)}
        load = functools.partial(_with_peft, model, folder, dtype)
        found.append(Candidate(dataclasses.replace(label, loss=PEFT, **told), f"{base} {peft_adapter.fingerprint(folder)}", load))
    return found


def export_run(model: Path, folder: Path, step: int | None, out: Path, dtype: str | None, *, peft: bool = False) -> Path:
    """Write a checkpoint of a run as a snapshot, or its adapters alone in PEFT's format; arguments as of the command.

    Returns:
        The folder.

    Raises:
        InputError: if there is no such run or checkpoint, or it began with another model.
        DivergedError: if the checkpoint's weights are no finite numbers.
    """
    run = read_run(folder)
    check_base([run], model)
    export.check_free(out)
    chosen = checkpoints.last(folder) if step is None else step
    adapted = _restored(functools.partial(_adapted, model, run.finetune, "float32"), folder, chosen)
    adapter = adapter_of(run.finetune)
    if peft:
        return peft_adapter.save(adapted, adapter, model, out, dtype or "float32")
    return export.export(model, out, export.merged(adapted, adapter), dtype or "bfloat16")


def _check_asked(asked: DataSettings, run: Run, questions: Sequence[Question]) -> None:
    """Refuse settings of the data that are not those of a run."""
    supplied = reasoning.load(asked.reasoning, questions) if asked.reasoning else {}
    same = asked.reasoning is None or experiment.reasoning_digest(supplied) == run.reasoning
    if not same or dataclasses.replace(asked, reasoning=None) != run.data:
        raise InputError(
            f"{run.folder} was trained with {run.data}, asked for is {asked}: leave these settings out, they are read from the run"
        )


def _adapted(model: Path, settings: FinetuneSettings, dtype: str) -> Decoder:
    """A base model with the adapters of a run, not trained."""
    adapter = adapter_of(settings)
    return with_adapter(snapshot.load(model, dtype=dtype).model, adapter, settings.seed)


def _with_peft(model: Path, folder: Path, dtype: str) -> Decoder:
    """A base model with adapters in PEFT's format."""
    return peft_adapter.load(folder, snapshot.load(model, dtype=dtype).model)[0]


def _restored(adapted: Callable[[], Decoder], run: Path, step: int) -> Decoder:
    """The model with the adapters of a checkpoint; the same module every time."""
    model = adapted()
    checkpoints.restore(run, step, model)
    return model
