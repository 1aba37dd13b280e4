"""Signals that ask a command to stop: the first one is heard wherever it comes, and the second one at once."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

from lsa_jax import exit_codes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LATER_SECONDS = 0.05
IMPORT = "<frozen importlib._bootstrap>"
"""What Python calls the file of its own code that imports."""

COMMANDS = "lsa_jax.cli"
"""The module whose functions import what they run: nothing is begun then."""


def leave_at_once(code: int = exit_codes.INTERRUPTED) -> None:
    """Let the next signal end the process without a word, as is right where nothing is begun or everything is done.

    Args:
        code: the exit code.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))


@contextlib.contextmanager
def raised() -> Generator[Callable[[], bool]]:
    """Raise the first signal as a `KeyboardInterrupt`; a second one ends the process.

    What is raised in a garbage collection, where JAX has code of its own, is dropped by Python, and what is raised in the import of a
    compiled module may crash it: there an alarm raises it again, or a first time, a moment later. While a command is imported it just ends.

    Yields:
        The function that tells whether there was a signal, whatever has become of what was raised.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        leave_at_once()
        importer = _importer(frame)
        if importer == COMMANDS:
            os._exit(exit_codes.INTERRUPTED)
        _alarm(LATER_SECONDS if importer else 0.0)
        if not importer:
            raise KeyboardInterrupt

    def dropped(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            _alarm(LATER_SECONDS)
        else:
            before(what)

    before, sys.unraisablehook = sys.unraisablehook, dropped
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, hear)
    try:
        yield lambda: bool(heard)
    finally:
        _alarm(0.0)
        sys.unraisablehook = before


def _alarm(seconds: float) -> None:
    """Send an alarm every so many seconds, or none: one that comes just before a sleep does not end it."""
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _importer(frame: FrameType | None) -> str | None:
    """The module that asked for the import, of several inside each other the outermost, in which a frame is."""
    found, inside = None, False
    while frame is not None:
        if inside and frame.f_code.co_filename != IMPORT:
            found = str(frame.f_globals.get("__name__"))
        inside = frame.f_code.co_filename == IMPORT
        frame = frame.f_back
    return found
