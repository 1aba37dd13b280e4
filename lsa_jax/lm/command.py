"""The commands `lsa-jax lm ...`: thin, and quick to answer for help, with or without the optional extra."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lsa_jax.lm import extra
from lsa_jax.lm.demo_settings import Preset
from lsa_jax.lm.settings import DataSettings, FinetuneSettings

app = App(name="lm", help="The paper's language-model experiment on local files; needs the extra: pip install 'lsa_jax[lm]'.")

Questions = Annotated[DataSettings | None, Parameter(name="*")]


@app.command
def finetune(
    *,
    model: Path,
    data: Path,
    out: Path,
    settings: Annotated[FinetuneSettings | None, Parameter(name="*")] = None,
    questions: Questions = None,
    dry_run: bool = False,
    memory_gb: float = 80.0,
    quiet: bool = False,
) -> int:
    """Fine-tune adapters on Humanities questions; run it again to go on after an interruption.

    Args:
        model: Hugging Face snapshot of a Qwen2 or Qwen2.5 model.
        data: MMLU, as cais/mmlu parquet or in the original CSV layout.
        out: Folder for checkpoints and metrics.
        settings: see below.
        questions: see below.
        dry_run: Check the files, print trained parameters, memory and steps, and train nothing.
        memory_gb: Memory of the device, for --dry-run, in units of 10⁹ bytes.
        quiet: Show no progress.

    Returns:
        The exit code.
    """
    extra.require()
    from lsa_jax.lm import running

    chosen, asked = settings or FinetuneSettings(), questions or DataSettings()
    if dry_run:
        return running.dry_run(model, data, chosen, asked, memory_gb)
    return running.finetune(model, data, out, chosen, asked, quiet=quiet)


@app.command
def evaluate(
    *runs: Path,
    model: Path,
    data: Path,
    out: Path,
    questions: Questions = None,
    method: Literal["letters", "generation"] = "letters",
    format: Literal["chat", "plain"] = "chat",
    shots: tuple[int, ...] = (0, 1, 3, 5, 7),
    seeds: tuple[int, ...] = (0, 1, 2),
    batch_size: int = 8,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    quiet: bool = False,
) -> int:
    """Evaluate the base model and every checkpoint of runs; run it again to go on after an interruption.

    Args:
        runs: Folders that lsa-jax lm finetune wrote.
        model: Snapshot that they began with.
        data: MMLU.
        out: Folder for the records, one file a model, number of shots and seed.
        questions: see below; the data seed and the numbers of questions of the runs.
        method: letters compares log-likelihoods of the four letters; generation samples answers, as published.
        format: Of the prompts: chat, or plain as lm-eval has them and as published for generation.
        shots: Examples in the prompts; may be given several times.
        seeds: Evaluation seeds; may be given several times.
        batch_size: Prompts of a forward pass.
        dtype: Type of the weights and of the computation.
        quiet: Show no progress.

    Returns:
        The exit code.
    """
    extra.require()
    from lsa_jax.lm import running
    from lsa_jax.lm.evaluate import Protocol

    protocol = Protocol(method, format, shots, seeds, batch_size)
    return running.evaluate(runs, model, data, out, questions or DataSettings(), protocol, dtype, quiet=quiet)


@app.command
def figure(records: Path, *, out: Path | None = None, shots: int = 5, categories: tuple[str, ...] = ("humanities", "stem")) -> int:
    """Draw few-shot against zero-shot accuracy from stored records, and print the accuracies of the last checkpoints.

    Args:
        records: Folder that lsa-jax lm evaluate wrote.
        out: Figure and numbers without a suffix; by default figure in the folder.
        shots: Number of shots on the vertical axis.
        categories: A panel each; may be given several times.

    Returns:
        The exit code.
    """
    extra.require()
    from lsa_jax.lm import running

    return running.figure(records, out or records / "figure", shots, categories)


@app.command
def export(run: Path, *, model: Path, out: Path, step: int | None = None, dtype: Literal["bfloat16", "float32"] = "bfloat16") -> int:
    """Merge the adapters of a checkpoint into the model and write a Hugging Face snapshot.

    Args:
        run: Folder that lsa-jax lm finetune wrote.
        model: Snapshot that it began with.
        out: Folder of the new snapshot.
        step: Which checkpoint; by default the last one.
        dtype: What the weights are stored in.

    Returns:
        The exit code.
    """
    extra.require()
    from lsa_jax.lm import running

    return running.export(run, model, out, step, dtype)


@app.command
def demo(*, preset: Preset = "default", out: Path | None = None, quiet: bool = False) -> int:
    """Run the whole experiment in small, on a symbol-letter task: pretraining, fine-tuning, scoring and the figure, in minutes.

    Args:
        preset: quick shows that everything runs, and nothing else.
        out: Folder for everything; by default results/lm-demo-PRESET. Run it again to go on after an interruption.
        quiet: Print the table only, no progress.

    Returns:
        The exit code.
    """
    extra.require()
    from lsa_jax.lm import demo_command

    return demo_command.run(preset, out or Path("results") / f"lm-demo-{preset}", quiet=quiet)
