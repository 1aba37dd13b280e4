"""The command line: thin, and quick to answer for help."""

import io
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import cyclopts
from cyclopts import App, ArgumentCollection, Parameter, Token

from lsa_jax import exit_codes, interruptions
from lsa_jax.claims.settings import Settings as VerifySettings
from lsa_jax.errors import InputError
from lsa_jax.flags import Whole
from lsa_jax.lab.settings import Settings as LabSettings
from lsa_jax.lm import command as language_model
from lsa_jax.reproduce.settings import PRESETS, Experiment, Preset, Settings, default_out

TRACEBACK = "--traceback"


def apply_preset(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let a preset fill in the flags that were not given.

    Args:
        app: the application, not used.
        commands: the chain of commands; only reproduce has these presets.
        arguments: the command's arguments; those without a value get the preset's.
    """
    if commands != ("reproduce",):
        return
    by_name = {argument.name: argument for argument in arguments}

    def said(name: str, default: str) -> str:
        tokens = by_name[name].tokens
        return tokens[-1].value if tokens else default

    presets = PRESETS.get(said("--experiment", "regimes"), {})
    for field, value in presets.get(said("--preset", "default"), {}).items():
        argument = by_name["--" + field.replace("_", "-")]
        if not argument.tokens:
            argument.append(Token(keyword=argument.name, value=str(value), source="preset"))


app = App(
    name="lsa-jax",
    help="Exactly solvable in-context learning: theory, exact computation and simulation side by side.",
    config=apply_preset,
)


app.command(language_model.app)
app.register_install_completion_command()


@app.command
def reproduce(
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
    *,
    experiment: Experiment = "regimes",
    preset: Preset = "default",
    out: Path | None = None,
    force: bool = False,
    figure: bool = True,
    quiet: bool = False,
) -> int:
    """Train the paper's four regimes and check its twelve claims, or compare transformers of several layers and heads.

    Pretrains linear attention on linear regression, fine-tunes it three ways on one target task, and prints the paper's limit, the exact
    value at the finite setting, and trained models over several seeds, side by side. After an interruption, run it again to resume.

    Args:
        settings: see below.
        experiment: regimes is one layer with theory; comparison fine-tunes all, query, key or value of deeper transformers.
        preset: quick takes seconds; paper uses the published batch size of 5000 and constant learning rate. Flags override it.
        out: Folder for figure, numbers and parameters; by default results/reproduce-PRESET or results/comparison-PRESET.
        force: Replace another run in the folder instead of refusing.
        figure: Draw the figure.
        quiet: Print only the table, no progress.

    Returns:
        The exit code.
    """
    if experiment == "regimes":
        from lsa_jax.reproduce import command
    else:
        from lsa_jax.comparison import command

    folder = out or default_out(preset, experiment)
    return command.run(settings or Settings(), preset, folder, force=force, figure=figure, quiet=quiet)


@app.command
def verify(
    settings: Annotated[VerifySettings | None, Parameter(name="*")] = None,
    *,
    thorough: bool = False,
    out: Path | None = None,
    quiet: bool = False,
) -> int:
    """Check every claim of the theory at finite size, exactly and by simulation.

    Prints what each claim states, the exact number at the finite setting, a simulation with its standard error, and a verdict with its
    reason; then the slips of the published code and what changes when an assumption is dropped. Exits with 1 if a claim does not hold.

    Args:
        settings: see below.
        thorough: Check nine more settings and print the worst case of each claim; takes half an hour.
        out: Folder for verify.json and verify.md.
        quiet: Print only the tables, no progress.

    Returns:
        The exit code.
    """
    from lsa_jax.claims import command

    return command.run(settings or VerifySettings(), grid=thorough, out=out, quiet=quiet)


@app.command
def lab(
    settings: Annotated[LabSettings | None, Parameter(name="*")] = None,
    *,
    out: Path = Path("results/lab"),
    best: bool = False,
) -> int:
    """Follow every remedy against forgetting along its knob, exactly.

    Prints how much in-context learning each costs once half, three quarters and nearly all of the zero-shot excess are gone, and draws the
    fronts. Less than two minutes on 2 cores.

    Args:
        settings: see below.
        out: Folder for figure and numbers.
        best: Also search for the best front of any parameters, with one head and with two; takes a quarter of an hour.

    Returns:
        The exit code.
    """
    from lsa_jax.lab.command import command

    return command(settings or LabSettings(), out, best=best)


@app.command
def bench(*, out: Path | None = None) -> int:
    """Measure the engine's throughput on this device, in about a minute.

    Args:
        out: JSON file for every round and the environment.

    Returns:
        The exit code.
    """
    from lsa_jax import bench

    return bench.run(out)


@app.command
def gallery(*names: str, out: Path = Path("results/gallery"), prompts: Whole = 100_000) -> int:
    """Draw the figures of the gallery: exact curves, simulated points on them, and their numbers.

    Args:
        names: pretrained, full, value, tradeoff, phases, cosine, paths, directions, annealed, forgetting, gauge, hovering, clipping;
            all by default.
        out: Folder for figures and numbers.
        prompts: Prompts drawn for each simulated point.

    Returns:
        The exit code.
    """
    from lsa_jax.studies import command

    return command.run(names, out, prompts)


@app.command
def sweep(
    spec: Path | None = None,
    *,
    out: Path | None = None,
    set: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    dry_run: bool = False,
    target: str | None = None,
    keys: bool = False,
    resume: bool = True,
    extend: bool = False,
    seed_batch: str = "auto",
    shard: str | None = None,
    scheduler: str | None = None,
    save_params: bool = False,
    trained: Path | None = None,
    device: str = "default",
) -> int:
    """Train and measure a whole grid on every device; after an interruption, run it again to resume.

    Args:
        spec: TOML file, or Python file that defines `spec`: axes, points and evaluation; see the folder experiments.
        out: Folder for the results.
        set: NAME=VALUE, overrides the spec; may be given several times.
        keys: Print every key that a spec may have (given a spec, also those of its own regimes), and run nothing.
        dry_run: Print cells, compiled programs, memory and a time estimate, and run nothing.
        target: With --dry-run, compile for v5e, v5p or v6e (extra tpu-target), or for a100, h100 or h200 (extra gpu-target), whether
            present or not, and print what each program takes; a larger slice is given as v5e:4x4.
        resume: Resume the same sweep in the folder.
        extend: Add to the sweep in the folder whatever the spec has that it lacks; what it already holds is kept.
        seed_batch: Lineages (a pretrained model and those fine-tuned from it) to train at once, or auto.
        shard: I/N, the part to work on; by default from the SLURM job array or the rank in srun, mpirun or a TPU pod, else all.
        scheduler: tcp://HOST:PORT of a Dask scheduler, whose workers train instead of this process (extra cluster).
        save_params: Also keep the trained parameters and training losses.
        trained: Folder of a sweep that kept its parameters, with these lineages and perhaps more: measure its models, and train none.
        device: Platform to run on: default, cpu, gpu or tpu.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    if keys:
        return commands.keys(spec)
    if spec is None or (out is None and not dry_run):
        raise InputError("sweep needs a spec and --out FOLDER; --keys lists what a spec may say")
    if target is not None and not dry_run:
        raise InputError(f"--target {target} is compiled for, not run on: add --dry-run")
    if out is None or dry_run:
        from lsa_jax.targets.command import dry_run as tell

        return tell(spec, set, device, target)
    return commands.sweep(
        spec,
        out,
        overrides=set,
        resume=resume,
        extend=extend,
        seed_batch=seed_batch,
        shard=shard,
        scheduler=scheduler,
        save_params=save_params,
        device=device,
        trained=trained,
    )


@app.command
def merge(*folders: Path, out: Path) -> int:
    """Merge the folders of several sweeps into one, each cell once: 0 if nothing is missing, 75 if there is more to do.

    Args:
        folders: Folders of sweeps with the same measurements; where several hold a cell, the first one's is taken.
        out: Folder to create.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    return commands.merge(folders, out)


@app.command
def status(out: Path, *, watch: bool = False) -> int:
    """Show the progress of a sweep: 0 complete, 75 more to do, 3 some failed or diverged.

    Args:
        out: Folder of the sweep.
        watch: Show it again every few seconds until the sweep is complete; Ctrl-C ends the watching, not the sweep.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    return commands.status(out, watch=watch)


@app.command
def export(out: Path, *, format: str = "parquet", to: Path | None = None) -> int:
    """Write the records of a sweep to one file.

    Args:
        out: Folder of the sweep.
        format: csv, parquet or netcdf.
        to: The file; by default records.SUFFIX in the folder.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    return commands.export(out, format, to)


@app.command
def report(out: Path, *, to: Path | None = None) -> int:
    """Write one self-contained HTML page about a sweep: progress, figures and their numbers, spec, environment.

    Args:
        out: Folder of the sweep.
        to: The file; by default report.html in the folder.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    return commands.report(out, to)


@app.command
def plot(out: Path, *, against: str | None = None, quantiles: tuple[float, float] | None = None, to: Path | None = None) -> int:
    """Draw the figures of a sweep from its records, theory as lines and trained models as points.

    Args:
        out: Folder of the sweep.
        against: evaluation_shots, dim, noise_std, pretraining_shots, cosine or another axis; zero_shot for the front of few-shot errors on
            unseen tasks, one line per regime along its weight or rate; step for the training losses of a sweep run with --save-params;
            by default every figure that the axes allow, except step.
        quantiles: LOW HIGH, such as 0.25 0.75: medians and a band between these quantiles over seeds, instead of means and their
            95 % intervals.
        to: Folder for the figures; by default `figures` in the sweep's folder.

    Returns:
        The exit code.
    """
    from lsa_jax import commands

    return commands.plot(out, against, to, quantiles)


def main() -> NoReturn:
    """Run the command line; bad input ends it with one line and exit code 2, a second interruption at once.

    What fails that should not ends it with one line too, or with `--traceback` anywhere on the line, with the traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.showwarning = _warn  # ty: ignore[invalid-assignment]
    arguments = [argument for argument in sys.argv[1:] if argument != TRACEBACK]
    with interruptions.raised() as interrupted:
        try:
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or exit_codes.DONE
        except (cyclopts.CycloptsError, InputError, OSError) as error:
            print(f"lsa-jax: {_one_line(error)}", file=sys.stderr)
            code = exit_codes.BAD_INPUT
        except KeyboardInterrupt:
            code = exit_codes.INTERRUPTED
        except Exception as error:
            code = exit_codes.INTERRUPTED if interrupted() else _internal_error(error)
    sys.stdout.flush()
    interruptions.leave_at_once(code)
    raise SystemExit(code)


def _internal_error(error: Exception) -> int:
    """Say what failed that should not, or raise it where the traceback was asked for; the exit code."""
    if TRACEBACK in sys.argv:
        raise error
    print(f"lsa-jax: {type(error).__name__}: {_one_line(error)} (a fault of lsa-jax: {TRACEBACK} shows where)", file=sys.stderr)
    return exit_codes.INTERNAL_ERROR


def _one_line(error: BaseException) -> str:
    """What an error says, on one line of bearable length."""
    return " ".join(str(error).split())[:1000]


def _warn(message: Warning | str, *_: object) -> None:
    """Show a warning on one line."""
    print(f"lsa-jax: warning: {' '.join(str(message).split())}", file=sys.stderr)
