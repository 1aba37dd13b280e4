"""Types of flags that say more than Python's own; imports nothing heavy, so that help answers at once."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token


def whole_number(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number, and nothing that would have to be rounded to one."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'Invalid value for {tokens[0].keyword}: unable to convert "{text}" into int.') from None


Whole = Annotated[int, Parameter(converter=whole_number)]
