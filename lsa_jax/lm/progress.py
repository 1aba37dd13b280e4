"""Progress of training: a bar on a terminal, else a line now and then."""

import contextlib
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0
"""Time between two lines where the output is no terminal."""

Told = Callable[[str, int, int], None]
"""What is told: a few words, how much is done, and of how much."""


@contextlib.contextmanager
def reporting(console: Console, *, quiet: bool) -> Generator[Told]:
    """Show progress.

    Args:
        console: where.
        quiet: show none.

    Yields:
        The function to tell of progress.
    """
    last = [-LINE_SECONDS]

    def line(words: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] >= LINE_SECONDS:
            last[0] = now
            console.print(f"{done} of {total}: {words}", highlight=False, soft_wrap=True)

    if quiet or not console.is_terminal:
        yield (lambda *_: None) if quiet else line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("compiling", total=None)
        yield lambda words, done, total: bar.update(task, description=words, completed=done, total=total)
