"""What a compiled program does in a training step: kernels that run, bytes that go to and from main memory; and whether devices talk."""

from typing import NamedTuple

from lsa_jax.targets.hlo import Computation, Instruction, Module, arrays

COLLECTIVES = (
    *("all-gather", "all-reduce", "all-to-all", "collective-broadcast", "collective-permute", "ragged-all-to-all", "reduce-scatter"),
)
"""Operations in which devices talk to each other."""

FREE = (
    *("add-dependency", "after-all", "bitcast", "constant", "get-tuple-element", "iota", "opt-barrier", "parameter", "partition-id"),
    *("replica-id", "tuple"),
)
"""Instructions at which nothing runs."""

READS_PART = ("dynamic-slice", "gather", "slice")
"""Instructions that read no more of an array than they return."""

UPDATE = "dynamic-update-slice"
"""The instruction that writes a part of an array in its place."""


class Counts(NamedTuple):
    """Kernels, and bytes of main memory that they read and write."""

    kernels: float = 0.0
    bytes: float = 0.0

    def and_also(self, other: "Counts", times: float = 1.0) -> "Counts":
        """Return both together, the other one so many times."""
        return Counts(self.kernels + times * other.kernels, self.bytes + times * other.bytes)


NOTHING = Counts()


def collectives(module: Module) -> list[str]:
    """Return the operations of a program in which devices talk to each other, each once."""
    opcodes = {one.opcode.removesuffix("-start") for computation in module.computations.values() for one in computation.values()}
    return sorted(opcodes & set(COLLECTIVES))


def heaviest_loop(module: Module) -> Counts:
    """Return what the loop does in which most kernels run, all its turns together: that of the training steps.

    A kernel is a fusion, a call of a library or an instruction on its own, except on single numbers; loops inside count as often as they
    run, those that end when they have converged once, and of branches the longest.

    Args:
        module: the program.

    Returns:
        The counts; nothing for a program without loops.
    """
    loops = [one for one in _reached(module, module.entry) if one.opcode == "while"]
    return max((NOTHING.and_also(_inside(module, loop.called("body")[0]), module.trips(loop)) for loop in loops), default=NOTHING)


def _reached(module: Module, name: str) -> list[Instruction]:
    """The instructions of a computation and of those it calls outright."""
    own = list(module.computations[name].values())
    return own + [deeper for one in own if one.opcode == "call" for deeper in _reached(module, one.called("to_apply")[0])]


def _inside(module: Module, name: str) -> Counts:
    """What a computation does once."""
    total, computation = NOTHING, module.computations[name]
    for one in computation.values():
        if one.opcode == "while":
            total = total.and_also(_inside(module, one.called("body")[0]), module.trips(one))
        elif one.opcode == "call":
            total = total.and_also(_inside(module, one.called("to_apply")[0]))
        elif one.opcode == "conditional":
            branches = [branch for key in ("branch_computations", "true_computation", "false_computation") for branch in one.called(key)]
            total = total.and_also(max(_inside(module, branch) for branch in branches))
        elif _runs(one):
            total = total.and_also(Counts(1.0, _traffic(module, computation, one)))
    return total


def _runs(one: Instruction) -> bool:
    """Whether an instruction is a kernel."""
    if one.opcode in FREE or one.opcode.endswith(("-done", "-update")):
        return False
    single = all("[]" in part for part in one.shape.split(", "))
    return not single or one.opcode in {"fusion", "custom-call"}


def _traffic(module: Module, computation: Computation, one: Instruction) -> float:
    """Bytes of main memory that a kernel reads and writes."""
    fused = module.computations[one.called("calls")[0]] if one.opcode == "fusion" else {}
    parameters = {int(part.inside): part.name for part in fused.values() if part.opcode == "parameter"}
    operands = [computation[name] for name in one.operands if name in computation]
    total = 0.0
    for place, operand in enumerate(operands):
        uses = [part for part in fused.values() if parameters.get(place) in part.operands] if fused else [one]
        name = parameters.get(place, operand.name)
        if all(_partial(use, name) for use in uses):
            whole = arrays(operand.shape)
            total += sum(_size(use.shape) for use in uses if use.opcode in READS_PART) if whole and whole[0][1] else 0
        else:
            total += _in_main_memory(operand)
    return total + _written(fused, computation, one)


def _partial(use: Instruction, name: str) -> bool:
    """Whether an instruction leaves most of an array alone: reads a part of it, or writes a part in its place."""
    return use.opcode in {*READS_PART, UPDATE} and use.operands[0] == name


def _written(fused: Computation, computation: Computation, one: Instruction) -> float:
    """Bytes of main memory that a kernel writes, but for the workspace of a library."""
    scope = fused or computation
    roots = [part for part in fused.values() if part.root] or [one]
    parts = [scope[name] for name in roots[0].operands] if roots[0].opcode == "tuple" else roots
    places = arrays(one.shape)[:1] if one.opcode.endswith("-start") or one.opcode == "custom-call" else arrays(one.shape)
    if len(parts) != len(places):
        return sum((size for size, main in places if main), 0.0)
    sizes = (_size(scope[part.operands[1]].shape) if part.opcode == UPDATE else size for part, (size, _) in zip(parts, places, strict=True))
    return sum((size for size, (_, main) in zip(sizes, places, strict=True) if main), 0.0)


def _in_main_memory(one: Instruction) -> float:
    """Bytes of an instruction's result that lie in main memory."""
    return sum((size for size, main in arrays(one.shape) if main), 0.0)


def _size(shape: str) -> float:
    """Bytes of a shape wherever it lies."""
    return sum((size for size, _ in arrays(shape)), 0.0)
