"""What `lsa-jax lm demo` prints, and the exit code it ends with."""

import dataclasses
import time
from pathlib import Path

import jax
from rich.console import Console

from lsa_jax import exit_codes, store
from lsa_jax.lm import demo
from lsa_jax.lm.demo_settings import PRESETS, DemoSettings
from lsa_jax.lm.divergence import DivergedError
from lsa_jax.lm.figures import figure
from lsa_jax.lm.progress import reporting
from lsa_jax.sweeps.watching import duration, stop_signals

FILES = (store.MANIFEST, store.PARTIAL, "figure*", "*/**/*")


def run(preset: str, first_seed: int, out: Path, *, quiet: bool) -> int:
    """Run the small experiment with progress on standard error, draw its figure and print its table.

    Programs are compiled once for all models and kept in the folder.

    Args:
        preset: its sizes.
        first_seed: seed of the first pretrained model.
        out: folder for everything.
        quiet: print the table only.

    Returns:
        The exit code.
    """
    settings, errors, begun = DemoSettings(first_seed=first_seed, **PRESETS[preset]), Console(stderr=True), time.monotonic()
    store.claim_folder(out, {name: str(value) for name, value in dataclasses.asdict(settings).items()}, files=FILES)
    jax.config.update("jax_compilation_cache_dir", str((out / "compiled").absolute()))
    try:
        with stop_signals() as stop, reporting(errors, quiet=quiet) as tell:
            demo.run(settings, out, lambda name, step, loss: tell(f"{name}, loss {loss:.3f}", step, _total(settings, name)), stop)
    except KeyboardInterrupt:
        told = f"interrupted; what is finished is in {out}: run the same command to resume"
        errors.print(told, markup=False, highlight=False, soft_wrap=True)
        return exit_codes.INTERRUPTED_RESUMABLE
    except DivergedError as error:
        errors.print(f"lsa-jax: {error}", markup=False, highlight=False, soft_wrap=True)
        return exit_codes.SOME_RUNS_FAILED
    figure(out / "records", out / "figure")
    told = f"{settings.seeds} seeds, {duration(time.monotonic() - begun)}; figure and numbers: {out}"
    Console(markup=False).print(told, highlight=False, soft_wrap=True)
    return exit_codes.DONE


def _total(settings: DemoSettings, name: str) -> int:
    """Steps of a run."""
    return settings.pretraining_steps if name.startswith("pretrained") else settings.epochs * settings.steps
