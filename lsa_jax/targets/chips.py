"""Hardware that sweeps can be compiled for without having it: what a chip offers, and where that is published."""

import dataclasses
from collections.abc import Mapping

from lsa_jax import checks
from lsa_jax.errors import InputError

PASSES = 6
"""Products of bfloat16 that a TPU makes of one product of float32 at the highest precision."""

TPU_DOCS = "https://cloud.google.com/tpu/docs/"
NVIDIA_DOCS = "https://www.nvidia.com/en-us/data-center/"


@dataclasses.dataclass(frozen=True)
class Chip:
    """A chip as its maker describes it.

    Args:
        name: its name on the command line.
        platform: the platform that JAX compiles for.
        memory: bytes of its main memory.
        bandwidth: bytes a second to and from it.
        operations: floating-point operations a second at the highest precision, by floating type; of a TPU those of its matrix units.
        source: where these numbers are published.
        slices: the smallest slice that is a whole host, of a chip that comes in slices.
    """

    name: str
    platform: str
    memory: float
    bandwidth: float
    operations: Mapping[str, float]
    source: str
    slices: str | None = None


def _tpu(name: str, slices: str, memory: float, bandwidth: float, bfloat16: float) -> Chip:
    """A TPU, which has no float64."""
    return Chip(name, "tpu", memory, bandwidth, {"float32": bfloat16 / PASSES}, f"{TPU_DOCS}{name}", slices)


def _gpu(name: str, memory: float, bandwidth: float, float32: float, float64: float) -> Chip:
    """A GPU of NVIDIA in its SXM form, without tensor cores, which round float32."""
    return Chip(name, "cuda", memory, bandwidth, {"float32": float32, "float64": float64}, f"{NVIDIA_DOCS}{name}/")


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        _tpu("v5e", "2x2", 16e9, 819e9, 197e12),
        _tpu("v5p", "2x2x1", 95e9, 2765e9, 459e12),
        _tpu("v6e", "2x2", 32e9, 1638e9, 918e12),
        _gpu("a100", 80e9, 2.039e12, 19.5e12, 9.7e12),
        _gpu("h100", 80e9, 3.35e12, 67e12, 34e12),
        _gpu("h200", 141e9, 4.8e12, 67e12, 34e12),
    )
}
"""The chips, by name."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A chip, and the slice of so many chips that a sweep runs on, such as `2x2`; None for one chip."""

    chip: Chip
    slices: str | None = None

    def __str__(self) -> str:
        """Its name on the command line."""
        return self.chip.name if self.slices is None else f"{self.chip.name}:{self.slices}"


def target(text: str) -> Target:
    """Read the name of a target.

    Args:
        text: `CHIP`, or `CHIP:SLICE` for a TPU.

    Returns:
        The target; of a TPU without a slice one host.

    Raises:
        ValueError: if there is no such chip, or a GPU is given a slice.

    Example:
        >>> str(target("v5e")), str(target("v5p:4x4x4")), str(target("h100"))
        ('v5e:2x2', 'v5p:4x4x4', 'h100')
    """
    name, _, slices = text.strip().lower().partition(":")
    chip = CHIPS[checks.as_choice("target", name, tuple(CHIPS))]
    if chip.slices is None and slices:
        raise InputError(f"target is {text!r}; a GPU has no slices, and each of several runs the program of one: give {name}")
    return Target(chip, slices or chip.slices)
