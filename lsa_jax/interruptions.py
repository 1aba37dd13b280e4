"""Signals that ask a command to stop: the first one is heard wherever it comes, and the second one at once."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, NoReturn

from lsa_jax import exit_codes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN_SECONDS = 0.05


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

    Python drops what is raised in a garbage collection, where JAX has code of its own: such an interruption comes again a moment later.

    Yields:
        The function that tells whether there was a signal, whatever has become of what was raised.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> NoReturn:
        heard.append(number)
        leave_at_once()
        raise KeyboardInterrupt

    def dropped(what: Any) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            before(what)
            return
        signal.signal(signal.SIGINT, hear)
        threading.Thread(target=again, daemon=True).start()

    def again() -> None:
        waiting = True
        while waiting:  # a signal that comes just before a sleep does not end the sleep
            time.sleep(AGAIN_SECONDS)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(AGAIN_SECONDS)
            waiting = signal.getsignal(signal.SIGINT) is hear

    before, sys.unraisablehook = sys.unraisablehook, dropped
    for number in SIGNALS:
        signal.signal(number, hear)
    try:
        yield lambda: bool(heard)
    finally:
        sys.unraisablehook = before
