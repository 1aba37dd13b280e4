"""Where tables are printed."""

from typing import Any

from rich.console import Console


def wide_console(width: int, **settings: Any) -> Console:
    """Return a console on standard output, wide enough for a table where it is no terminal.

    Args:
        width: columns of the table.
        settings: what `rich.console.Console` takes beside its width.

    Returns:
        The console.
    """
    console = Console(**settings)
    return console if console.is_terminal else Console(width=width, **settings)
