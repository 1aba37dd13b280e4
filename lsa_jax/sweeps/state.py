"""How far the sweep in a folder has come, told once or again and again."""

import contextlib
import dataclasses
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lsa_jax import exit_codes
from lsa_jax.sweeps import chunks, watching
from lsa_jax.sweeps.folder import Folder

WATCH_SECONDS, WATCH_SHARE = 3.0, 4.0
"""Least time between two looks at a folder, and its least multiple of the time that a look takes: one reads every chunk."""

MOST_FAILURES = 3


@dataclasses.dataclass(frozen=True)
class State:
    """How far the sweep in a folder has come.

    Args:
        done: finished cells.
        total: all cells.
        lines: what is told of it.
        exit_code: what `lsa-jax status` ends with.
    """

    done: int
    total: int
    lines: list[str]
    exit_code: int


def of(folder: Folder) -> State:
    """Look at the folder of a sweep.

    Args:
        folder: the folder.

    Returns:
        How far it has come.

    Raises:
        ValueError: if it is not a sweep's.
    """
    total, failures = folder.manifest()["cells"], folder.failures()
    finished, damaged = folder.finished()
    done, diverged, missed = chunks.total(finished).values()
    makers = chunks.makers(folder.chunks.glob("*.parquet"))
    lines = [
        f"cells done        {done} of {total} ({done / total:.1%})",
        f"diverged          {diverged}",
        f"above the minimum {missed} (pretraining ended in a local minimum)",
        f"damaged files     {len(damaged)}{' (computed again by the next run)' * bool(damaged)}",
        *(f"computed by       {maker}" for maker in makers if len(makers) > 1),
        f"failed chunks     {len(failures)}",
        *(f"  {chunk.name}: {error.splitlines()[0][:200]}" for chunk, error in list(failures.items())[:MOST_FAILURES]),
    ]
    ended = exit_codes.SOME_RUNS_FAILED if failures or diverged else exit_codes.DONE
    return State(done, total, lines, ended if done >= total or failures else exit_codes.INTERRUPTED_RESUMABLE)


def watch(console: Console, look: Callable[[], State]) -> State:
    """Show how far a sweep has come, again and again, until it is complete or the user interrupts.

    Args:
        console: where to show it; what is no terminal gets the last state alone.
        look: returns how far it has come now.

    Returns:
        The last state seen.
    """
    begun, state, pause = time.monotonic(), look(), WATCH_SECONDS
    before = state.done
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            rate = (state.done - before) / (time.monotonic() - begun)
            left = f"\n{rate:.1f} cells/s, {watching.duration((state.total - state.done) / rate)} left" if rate > 0 else ""
            live.update(Text("\n".join(state.lines) + left), refresh=True)
            if state.done >= state.total:
                break
            time.sleep(pause)
            asked = time.monotonic()
            state = look()
            pause = max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - asked))
    if not console.is_terminal:  # there the last state is written without an end of line
        console.print()
    return state
