"""The command line: thin, and quick to answer for help."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import cyclopts
from cyclopts import App, ArgumentCollection, Parameter, Token

from lsa_jax import exit_codes
from lsa_jax.errors import InputError
from lsa_jax.reproduce.settings import PRESETS, Preset, Settings, default_out


def apply_preset(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let a preset fill in the flags that were not given.

    Args:
        app: the application, not used.
        commands: the chain of commands, not used.
        arguments: the command's arguments; those without a value get the preset's.
    """
    by_name = {argument.name: argument for argument in arguments}
    preset = by_name.get("--preset")
    if preset is None or not preset.tokens:
        return
    for field, value in PRESETS.get(preset.tokens[-1].value, {}).items():
        argument = by_name["--" + field.replace("_", "-")]
        if not argument.tokens:
            argument.append(Token(keyword=argument.name, value=str(value), source="preset"))


app = App(
    name="lsa-jax",
    help="Exactly solvable in-context learning: theory, exact computation and simulation side by side.",
    config=apply_preset,
)


@app.command
def reproduce(
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
    *,
    preset: Preset = "default",
    out: Path | None = None,
    force: bool = False,
    figure: bool = True,
    quiet: bool = False,
) -> int:
    """Train the paper's four regimes and check its twelve claims.

    Pretrains linear attention on linear regression, fine-tunes it three ways on one target task, and prints the paper's limit, the exact
    value at the finite setting, and trained models over several seeds, side by side. Run it again to go on after an interruption.

    Args:
        settings: see below.
        preset: quick takes seconds; paper is the published batch of 5000 and constant learning rate. Flags override it.
        out: Folder for figure, numbers and parameters; by default results/reproduce-PRESET.
        force: Replace another run in the folder instead of refusing.
        figure: Draw the figure.
        quiet: Print the table only, no progress.

    Returns:
        The exit code.
    """
    from lsa_jax.reproduce import command

    return command.run(settings or Settings(), preset, out or default_out(preset), force=force, figure=figure, quiet=quiet)


def main() -> NoReturn:
    """Run the command line; bad input ends it with one line and exit code 2, a second interruption at once."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except (cyclopts.CycloptsError, InputError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"lsa-jax: {message}", file=sys.stderr)
        code = exit_codes.BAD_INPUT
    except KeyboardInterrupt:
        code = exit_codes.INTERRUPTED
    sys.stdout.flush()
    raise SystemExit(code or exit_codes.DONE)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Stop at the next safe point; a second signal stops at once."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(exit_codes.INTERRUPTED))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(exit_codes.INTERRUPTED))
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
