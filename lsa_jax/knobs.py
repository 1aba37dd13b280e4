"""What a knob is: a number or a choice that a user sets, declared once with its default, its check and its words."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lsa_jax import checks
from lsa_jax.errors import InputError

Kind = Literal["static", "shared", "traced", "branch", "sweep"]
"""`static`: a size or a choice of a program. `shared`: an array that all runs of a program share. `traced`: a number that may differ from
one run to the next. `branch`: a number in which models differ that start from one pretrained model. `sweep`: of the whole sweep."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Turns one value of a knob into what is stored, or refuses it.

    Args:
        function: of (name, value).
        whole: whether values are whole numbers.
        depth: how deep one value is nested: 0 for a number or a text, 1 for a vector, 2 for a matrix.
        words: what a value must be.
    """

    function: Callable[[str, Any], Any]
    whole: bool = False
    depth: int = 0
    words: str = ""

    def __call__(self, name: str, value: Any) -> Any:
        """Return what is stored."""
        return self.function(name, value)


@dataclasses.dataclass(frozen=True)
class Knob:
    """A declared setting.

    Args:
        kind: how it enters a compiled program.
        default: its value where nothing is said.
        swept: its values in a sweep that says nothing; by default the default alone.
        check: turns one value into what is stored, or refuses it.
        label: what it is, in a few words, its unit included.
        symbol: its letter in formulas and figures, if it has one.
    """

    kind: Kind
    default: Any
    check: Check
    label: str
    symbol: str | None = None
    swept: Any = None


def knob(default: Any, check: Check, kind: Kind, label: str, *, symbol: str | None = None, swept: Any = None) -> Any:
    """Return a dataclass field that declares a knob.

    Args:
        default: its value where nothing is said.
        check: turns one value into what is stored, or refuses it.
        kind: how it enters a compiled program.
        label: what it is, in a few words.
        symbol: its letter, if it has one.
        swept: its values in a sweep that says nothing.

    Returns:
        The field.
    """
    declared = Knob(kind=kind, default=default, check=check, label=label, symbol=symbol, swept=swept)
    return dataclasses.field(default=default, metadata={"knob": declared})


def declared(owner: Any) -> Mapping[str, Knob]:
    """Return the knobs that a dataclass declares, by name.

    Args:
        owner: a dataclass whose fields come from `knob`.

    Returns:
        The knobs, in the order of the fields.

    Example:
        >>> @dataclasses.dataclass
        ... class Oven:
        ...     heat: float = knob(180.0, real(0.0), "traced", "temperature in °C")
        >>> declared(Oven)["heat"].label
        'temperature in °C'
    """
    return {field.name: field.metadata["knob"] for field in dataclasses.fields(owner)}


def choice(*choices: str) -> Check:
    """Return the check of a name."""
    return Check(lambda name, value: checks.as_choice(name, str(value), choices), words=f"one of {', '.join(choices)}")


def flag() -> Check:
    """Return the check of a yes or no, which a text such as `true` may say."""
    words = "true or false"

    def check(name: str, value: Any) -> bool:
        if str(value).lower() not in {"true", "false"}:
            raise InputError(f"{name} is {value!r}; it must be {words}")
        return str(value).lower() == "true"

    return Check(check, words=words)


def whole(minimum: int, maximum: int | float = math.inf) -> Check:
    """Return the check of a whole number."""
    limit = f"at least {minimum}" if math.isinf(maximum) else f"from {minimum} to {maximum:.0f}"
    words = f"a whole number, {limit}"

    def check(name: str, value: Any) -> int:
        if not _is_number(value) or not math.isfinite(value) or int(value) != value or not minimum <= value <= maximum:
            raise InputError(f"{name} is {value!r}; it must be {words}")
        return int(value)

    return Check(check, whole=True, words=words)


def shots(minimum: int) -> Check:
    """Return the check of a number of examples, infinity included."""
    finite = whole(minimum)

    def check(name: str, value: Any) -> float:
        return math.inf if value in (math.inf, "inf") else float(finite(name, value))

    return Check(check, whole=True, words=f"{finite.words}, or inf")


def real(minimum: float, *, above: bool = False, maximum: float = math.inf) -> Check:
    """Return the check of a finite real number."""
    limit = f"{'above' if above else 'at least'} {minimum:g}" + ("" if math.isinf(maximum) else f" and at most {maximum:g}")
    words = f"a finite number, {limit}"

    def check(name: str, value: Any) -> float:
        low = not _is_number(value) or value < minimum or (above and value == minimum)
        if low or not math.isfinite(value) or value > maximum:
            raise InputError(f"{name} is {value!r}; it must be {words}")
        return float(value)

    return Check(check, words=words)


def _is_number(value: Any) -> bool:
    """Whether a value is a real number, which a truth value is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
