"""The text of a compiled program, read: its computations, instructions, and how often its loops run."""

import dataclasses
import math
import re
from collections.abc import Mapping

SIZES: Mapping[str, int] = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s64": 8, "u64": 8, "f64": 8, "c64": 8}
"""Bytes of a number by type; of those that are not named, 4."""

NO_NUMBERS = ("token", "opaque")

HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
ASSIGNMENT = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
TILE = re.compile(r"T\(([\d,]+)\)")
NAME = re.compile(r"%([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction: its name, the text of its result's shape, what it does, the text of its operands, and the rest of its line."""

    name: str
    shape: str
    opcode: str
    inside: str
    attributes: str
    root: bool

    @property
    def operands(self) -> list[str]:
        """The names of its operands."""
        return NAME.findall(self.inside)

    def called(self, attribute: str) -> list[str]:
        """Return the computations that an attribute such as `body` names."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
        return re.findall(r"[\w.\-]+", found[1]) if found else []


Computation = Mapping[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: its computations by name, each its instructions by name, and the name of the one that it begins with."""

    computations: Mapping[str, Computation]
    entry: str

    def trips(self, loop: Instruction) -> float:
        """Return how often a loop runs; 1 for one that ends when it has converged.

        A scan counts from 0 to a constant, which the compiler tells or the condition compares with.

        Args:
            loop: the `while` instruction.

        Returns:
            The number of times.
        """
        if told := TRIPS.search(loop.attributes):
            return float(told[1])
        condition = self.computations[loop.called("condition")[0]]
        for one in condition.values():
            constants = [condition[name] for name in one.operands if name in condition and condition[name].opcode == "constant"]
            if one.root and one.opcode == "compare" and "direction=LT" in one.attributes and constants:
                return float(constants[0].inside)
        return 1.0


def parse(text: str) -> Module:
    r"""Read the text of a compiled program.

    Args:
        text: what `as_text()` of a compiled program returns.

    Returns:
        The program.

    Example:
        >>> text = "ENTRY %main (x: f32[3]) -> f32[3] {\n  ROOT %y = f32[3]{0} negate(%x), metadata={}\n}"
        >>> module = parse(text)
        >>> module.entry, module.computations["main"]["y"].operands
        ('main', ['x'])
    """
    computations, entry, current = dict[str, dict[str, Instruction]](), "", dict[str, Instruction]()
    for line in text.splitlines():
        if header := HEADER.match(line):
            current = computations.setdefault(header[2], {})
            entry = header[2] if header[1] else entry
        elif assignment := ASSIGNMENT.match(line):
            shape, rest = _shape_and_rest(line[assignment.end() :])
            opcode, _, tail = rest.partition("(")
            inside = tail[: _closing(tail)]
            root, name = bool(assignment[1]), assignment[2]
            current[name] = Instruction(name, shape, opcode.strip(), inside, tail[len(inside) + 1 :], root)
    return Module(computations, entry)


def arrays(shape: str) -> list[tuple[float, bool]]:
    """Return the bytes of each array of a shape as it is laid out, padding included, and whether it lies in main memory.

    Args:
        shape: the text of the shape, of one array or a tuple.

    Returns:
        Bytes and place of each.

    Example:
        >>> arrays("(f32[256,7]{1,0:T(8,128)S(1)}, s32[])")
        [(131072.0, False), (4.0, True)]
    """
    found = []
    for kind, sizes, layout in ARRAY.findall(shape):
        numbers = [int(size) for size in sizes.split(",") if size]
        order, _, tiling = layout.partition(":")
        minor_first = [numbers[int(place)] for place in order.split(",")] if order else numbers[::-1]
        if tile := TILE.search(tiling):
            for place, side in enumerate(reversed([int(side) for side in tile[1].split(",")])):
                if place < len(minor_first):
                    minor_first[place] = -(-minor_first[place] // side) * side
        size = 0 if kind in NO_NUMBERS else SIZES.get(kind, 4)
        found.append((float(size * math.prod(minor_first)), "S(" not in tiling))
    return found


def _shape_and_rest(text: str) -> tuple[str, str]:
    """The shape at the start of a text, and what follows it."""
    if text.startswith("("):
        end = _closing(text[1:]) + 2
        return text[:end], text[end:].lstrip()
    shape, _, rest = text.partition(" ")
    return shape, rest


def _closing(text: str) -> int:
    """The place of the bracket that closes one opened before the text."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    return len(text)
