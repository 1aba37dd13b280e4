"""The commands `lsa-jax lm ...`: thin, and quick to answer for help, with or without the optional extra."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lsa_jax.errors import InputError
from lsa_jax.flags import Whole
from lsa_jax.lm import INSTALL, importing
from lsa_jax.lm.settings import CATEGORIES, DataSettings, FinetuneSettings, Local, Preset, Protocol, Several, local_path

app = App(
    name="lm",
    help=f"The paper's language-model experiment on local files; all but figure needs the extra: {INSTALL} in the checkout.",
)


Questions = Annotated[DataSettings | None, Parameter(name="*")]


@app.command
def finetune(
    *,
    model: Local,
    data: Local,
    out: Annotated[Path | None, Parameter(converter=local_path)] = None,
    settings: Annotated[FinetuneSettings | None, Parameter(name="*")] = None,
    questions: Questions = None,
    mesh: str = "",
    dry_run: bool = False,
    memory_gb: float = 80.0,
    quiet: bool = False,
) -> int:
    """Fine-tune adapters on Humanities questions; run it again to resume after an interruption.

    Args:
        model: Hugging Face snapshot of a Qwen2, Qwen2.5, Qwen3 or Llama model.
        data: MMLU, as cais/mmlu parquet or in the original CSV layout.
        out: Folder for checkpoints and metrics; only --dry-run needs none.
        settings: see below.
        questions: see below.
        mesh: fsdp=N, tp=N or both separated by a comma, to split model and batches over several devices as tunix does; by default one.
        dry_run: Check the files, print trained parameters, memory and steps, and train nothing.
        memory_gb: Memory of the device, for --dry-run, in units of 10⁹ bytes.
        quiet: Show no progress.

    Returns:
        The exit code; 3 if the run diverged.
    """
    with importing():
        from lsa_jax.lm import plan, running

    chosen, asked = settings or FinetuneSettings(), questions or DataSettings()
    if dry_run and mesh:
        raise InputError(f"the plan of --dry-run is for one device: leave --mesh {mesh} out")
    if dry_run:
        return plan.dry_run(model, data, chosen, asked, memory_gb)
    if out is None:
        raise InputError("--out is missing: give a folder for checkpoints and metrics, or --dry-run, which writes nothing")
    return running.finetune(model, data, out, chosen, asked, mesh, quiet=quiet)


@app.command
def evaluate(
    *runs: Local,
    model: Local,
    data: Local,
    out: Local,
    protocol: Annotated[Protocol | None, Parameter(name="*")] = None,
    questions: Questions = None,
    checkpoints: str = "all",
    peft: Annotated[tuple[Local, ...], Several] = (),
    categories: Annotated[tuple[str, ...], Several] = CATEGORIES,
    quiet: bool = False,
) -> int:
    """Evaluate the base model and the checkpoints of runs; run it again to resume after an interruption.

    Args:
        runs: Folders that lsa-jax lm finetune wrote.
        model: Snapshot that they began with.
        data: MMLU, the same that they were trained on.
        out: Folder for the records, one file a model, number of shots and seed.
        protocol: see below.
        questions: Which questions, where there are no runs; runs are evaluated on the questions that they left out.
        checkpoints: all planned ones, the last one, or steps separated by commas.
        peft: Adapter in PEFT's format to evaluate too, trained anywhere; may be given several times.
        categories: Whose questions are asked; may be given several times.
        quiet: Show no progress.

    Returns:
        The exit code; 3 if a model diverged.
    """
    with importing():
        from lsa_jax.lm import running

    return running.evaluate(runs, model, data, out, questions, protocol or Protocol(), checkpoints, peft, categories, quiet=quiet)


@app.command
def figure(
    records: Local,
    *,
    out: Annotated[Path | None, Parameter(converter=local_path)] = None,
    shots: Whole | None = None,
    categories: Annotated[tuple[str, ...], Several] = (),
    select: Annotated[tuple[str, ...], Several] = (),
) -> int:
    """Draw few-shot against zero-shot accuracy from stored records, and print accuracies, their changes, and what is answered.

    Args:
        records: Folder that lsa-jax lm evaluate wrote, or folder records of lsa-jax lm demo.
        out: Figure and numbers without a suffix; by default figure in the folder.
        shots: Number of few-shot examples; by default 5, for the demo 12.
        categories: A panel each; may be given several times; by default humanities and stem, for the demo its own.
        select: NAME=VALUE, which fine-tuned models, for example rank=8 or learning_rate=1e-5; may be given several times.

    Returns:
        The exit code.
    """
    from lsa_jax.lm import figures

    return figures.figure(records, out or records / "figure", shots, categories, select)


@app.command
def export(
    run: Local,
    *,
    model: Local,
    out: Local,
    step: Whole | None = None,
    dtype: Literal["bfloat16", "float32"] | None = None,
    peft: Annotated[bool, Several] = False,
) -> int:
    """Merge the adapters of a checkpoint into the model and write a Hugging Face snapshot, or write the adapters alone.

    Args:
        run: Folder that lsa-jax lm finetune wrote.
        model: Snapshot that it began with.
        out: Folder of the new snapshot, or of the adapters.
        step: Which checkpoint; by default the last one.
        dtype: What is stored; by default bfloat16 for a snapshot, float32 for adapters.
        peft: Write the adapters alone, in PEFT's format.

    Returns:
        The exit code; 3 if the checkpoint's weights are no finite numbers.
    """
    with importing():
        from lsa_jax.lm import running

    return running.export(run, model, out, step, dtype, peft=peft)


@app.command
def demo(
    *,
    preset: Preset = "default",
    first_seed: Whole = 0,
    out: Annotated[Path | None, Parameter(converter=local_path)] = None,
    quiet: bool = False,
) -> int:
    """Run a small version of the whole experiment, on a symbol-letter task: pretraining, fine-tuning, scoring and the figure, in minutes.

    Args:
        preset: quick shows that everything runs, and nothing else.
        first_seed: Seed of the first pretrained model; another one draws all of them anew.
        out: Folder for everything; by default results/lm-demo-PRESET. Run it again to resume after an interruption.
        quiet: Print the table only, no progress.

    Returns:
        The exit code.
    """
    with importing():
        from lsa_jax.lm import running

    return running.demo(preset, first_seed, out or Path("results") / f"lm-demo-{preset}", quiet=quiet)
