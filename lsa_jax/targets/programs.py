"""The programs of a group of lineages, each compiled for a target and counted."""

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from lsa_jax.regimes import Regime
from lsa_jax.sweeps import program
from lsa_jax.sweeps.compiled import Part, Programs, bytes_taken
from lsa_jax.sweeps.worker import OUT_OF_MEMORY
from lsa_jax.targets import hlo
from lsa_jax.targets.chips import Chip
from lsa_jax.targets.counts import NOTHING, Counts, collectives, heaviest_loop

OPTIONS: Mapping[str, dict[str, Any]] = {"tpu": {}, "cuda": {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}}
"""What the compiler is told: one without a GPU cannot try which of several kernels is the fastest."""

LINEAR, APART = 4096, 4
"""Lineages on a device from which on memory grows evenly, and how many times as many or as few are compiled for beside those asked for."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A program compiled for a target.

    Args:
        name: what it does.
        regime: the regime it trains; None for one that measures.
        lineages: lineages on each device.
        seconds: seconds that compiling took.
        memory: what the compiler says of its memory; None where it did not compile.
        other: lineages and bytes on each device of the same program at another batch size; None where only one was compiled.
        step: what each device does in a training step of its lineages.
        talks: operations in which devices talk to each other.
        error: why it did not compile.
    """

    name: str
    regime: Regime | None
    lineages: int
    seconds: float
    memory: Any = None
    other: tuple[int, int] | None = None
    step: Counts = NOTHING
    talks: tuple[str, ...] = ()
    error: str = ""

    @property
    def bytes(self) -> int:
        """Bytes that it takes on each device."""
        return 0 if self.memory is None else bytes_taken(self.memory)

    def largest(self, offered: float) -> int:
        """Return how many lineages a device takes at once, on the line through the batch sizes that were compiled, or else in proportion.

        Args:
            offered: bytes that the program may take.

        Returns:
            Their number.
        """
        lineages, taken = self.other or (0, 0)
        more, added = lineages - self.lineages, taken - self.bytes
        each = added / more if added * more > 0 else self.bytes / self.lineages
        return int(self.lineages + (offered - self.bytes) / each) if each else 0


def built(programs: Programs, chip: Chip, lineages: int) -> Iterator[Built]:
    """Compile the programs of a group one after the other, with the floating type and precision that JAX is set to.

    Each is compiled for two batch sizes: what it takes for few lineages is mostly padding and what all share, so that memory grows along a
    line that does not begin at 0. For as many as fit, compiling would take minutes.

    Args:
        programs: the programs, on the mesh of a target.
        chip: the chip.
        lineages: lineages to train at once on each device; half as many, and so on, where the compiler has no memory for them.

    Yields:
        Each program.
    """

    @functools.cache
    def parts(size: int) -> list[Part]:
        return list(programs.parts(size * programs.static.mesh.size))

    def fitting(place: int, size: int) -> Built:
        one = _compiled(programs, parts(size)[place], chip, size)
        return fitting(place, size // 2) if OUT_OF_MEMORY in one.error and size > 1 else one

    for place in range(len(parts(lineages))):
        found = fitting(place, lineages)
        few = found.lineages <= LINEAR
        other = fitting(place, max(APART * found.lineages, LINEAR) if few else found.lineages // APART)
        yield dataclasses.replace(found, other=(other.lineages, other.bytes)) if other.bytes else found


def _compiled(programs: Programs, part: Part, chip: Chip, lineages: int) -> Built:
    """One program at one batch size."""
    regime = part.arguments[1] if part.function is program.train else None
    lowered, begun = part.lower(), time.perf_counter()
    try:
        done = lowered.compile(compiler_options=OPTIONS[chip.platform])
    except jax.errors.JaxRuntimeError as error:
        return Built(part.name, regime, lineages, time.perf_counter() - begun, error=" ".join(str(error).split())[:200])
    seconds, module = time.perf_counter() - begun, hlo.parse(done.as_text())
    step = NOTHING
    if regime is not None:
        step = step.and_also(heaviest_loop(module), 1 / (regime.steps or programs.static.setting.steps))
    return Built(part.name, regime, lineages, seconds, done.memory_analysis(), None, step, tuple(collectives(module)))
