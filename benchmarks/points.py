"""Points of a scaling study: one compiled program at one size, what it needs of the machine, and its time beside the machine's limits."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from benchmarks import limits, timing


@dataclasses.dataclass(frozen=True)
class Point:
    """A program at one size.

    Args:
        series: what is computed, for example by which sampler.
        sizes: the sizes that vary, by name.
        amount: units of work in a call, for example prompts.
        needs: what one unit needs at least, by resource of `limits.RESOURCES`, counted from the algorithm.
        call: runs the program to its end.
        compile_seconds: seconds that compiling took.
        memory: bytes of arguments, results and intermediates, as the compiler plans them.
        compiler_flops: operations a unit as the compiler counts them; it takes the body of a loop once.
    """

    series: str
    sizes: Mapping[str, float]
    amount: float
    needs: Mapping[str, float]
    call: Callable[[], object]
    compile_seconds: float
    memory: int
    compiler_flops: float

    @property
    def name(self) -> str:
        """The series and its sizes."""
        return ", ".join([self.series, *(f"{size} = {value:g}" for size, value in self.sizes.items())])

    def told(self) -> dict[str, Any]:
        """All but the program, for the record."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "call"} | {"name": self.name}


def compiled(
    series: str,
    sizes: Mapping[str, float],
    amount: float,
    needs: Mapping[str, float],
    function: Callable[..., Any],
    *arguments: Any,
) -> Point:
    """Compile a program and return it as a point.

    Args:
        series: what is computed.
        sizes: the sizes that vary.
        amount: units of work in a call.
        needs: what one unit needs at least.
        function: the program.
        arguments: its arguments.

    Returns:
        The point.
    """
    begun = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    took = time.perf_counter() - begun
    memory, costs = program.memory_analysis(), program.cost_analysis() or {}
    planned = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes if memory else 0
    return Point(
        series=series,
        sizes=sizes,
        amount=amount,
        needs=needs,
        call=lambda: jax.block_until_ready(program(*arguments)),
        compile_seconds=took,
        memory=planned,
        compiler_flops=costs.get("flops", 0.0) / amount,
    )


def measured(case: str, points: list[Point], rounds: int, unit: str, settings: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    """Time all points and the machine's limits in interleaved rounds.

    Args:
        case: name of the case.
        points: the points.
        rounds: timed rounds.
        unit: the unit of work.
        settings: sizes that all points share.
        extra: further measurements.

    Returns:
        The record: seconds a unit of every round, the machine's rates, and for each point the share of the limit that binds it: the least
        time in which the machine could do what the algorithm needs, over the time it took.
    """
    machine = limits.programs()
    seconds = timing.interleaved(
        {point.name: point.call for point in points} | {name: program.call for name, program in machine.items()}, rounds
    )
    spent = {name: [taken / program.amount for taken in seconds.pop(name)] for name, program in machine.items()}
    per_unit = {point.name: [taken / point.amount for taken in seconds[point.name]] for point in points}
    shares = {}
    for point in points:
        least = {name: point.needs[name] * statistics.median(spent[name]) for name in point.needs}
        binding = max(least, key=lambda name: least[name])
        needed = [point.needs[binding] * taken for taken in spent[binding]]
        shares[point.name] = [*timing.ratio_interval(needed, per_unit[point.name]), binding]
    return timing.record(
        case,
        dict(settings),
        per_unit,
        unit=f"seconds a {unit}",
        points=[point.told() for point in points],
        rates={name: 1 / statistics.median(taken) for name, taken in spent.items()},
        share_of_limit=shares,
        **extra,
    )
