"""Which part of a sweep this process works on, and on which devices: what shares it share nothing but the folder."""

import contextlib
import dataclasses
import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from lsa_jax.errors import InputError

ARRAY = {"ID": "", "MIN": "0", "MAX": "", "STEP": "1", "COUNT": ""}
"""What SLURM tells a task of its job array, and what is taken where it does not."""

RANKS = {"SLURM_PROCID": "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_ID": "TPU_WORKERS"}
"""Where `srun`, Open MPI and TPU pods tell a process its rank, and where how many there are."""

USED = 0.8
"""Part of the memory of a device that a program may take."""

SHARD = re.compile(r"(\d+)/(\d+)")


@dataclasses.dataclass(frozen=True)
class Share:
    """Part `index` of `count` parts that cost about the same, counted from 0."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.index < self.count:
            raise InputError(f"shard is {self.index}/{self.count}; it must be I/N with I from 0 to N - 1")

    def of(self, groups: Sequence[tuple[int, float]]) -> list[tuple[int, int]]:
        """Return where this part begins and ends in each of several groups, which are cut as if they stood in one line.

        Args:
            groups: how many things there are in each, and what one of them costs, above 0.

        Returns:
            The first one and the one after the last, by group.

        Example:
            >>> [Share(index, 3).of([(4, 1.0), (1, 4.0), (1, 4.0)]) for index in range(3)]
            [[(0, 4), (0, 0), (0, 0)], [(4, 4), (0, 1), (0, 0)], [(4, 4), (1, 1), (0, 1)]]
        """
        starts = list(itertools.accumulate((count * cost for count, cost in groups), initial=0.0))
        edges = [starts[-1] * index / self.count for index in (self.index, self.index + 1)]

        def before(edge: float, start: float, count: int, cost: float) -> int:
            return min(max(math.ceil((edge - start) / cost - 0.5), 0), count)

        return [(before(edges[0], start, *group), before(edges[1], start, *group)) for start, group in zip(starts, groups, strict=False)]

    def within(self, outer: "Share") -> "Share":
        """Return this part of a part."""
        return Share(outer.index * self.count + self.index, outer.count * self.count)


def read_share(text: str | None, environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that `--shard I/N` names, else the one that a launcher tells in the environment, else all.

    Args:
        text: the flag; None where it was not given.
        environment: the environment's variables: of a SLURM job array, of `srun`, `mpirun` or a TPU pod, or of both.

    Returns:
        The share.

    Raises:
        ValueError: if the text is not I/N with 0 <= I < N.

    Example:
        >>> read_share(None, {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"})
        Share(index=2, count=4)
        >>> read_share(None, {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"})
        Share(index=1, count=3)
    """
    if text is not None:
        match = SHARD.fullmatch(text.strip())
        if not match:
            raise InputError(f"--shard got {text!r}; it must be I/N with I from 0 to N - 1, for example 0/4")
        return Share(int(match[1]), int(match[2]))
    array = _place_in_array(environment) if "SLURM_ARRAY_TASK_ID" in environment else Share()
    return _rank(environment).within(array)


def _rank(environment: Mapping[str, str]) -> Share:
    """The place of a process among those that a launcher started together."""
    told = {**environment, "TPU_WORKERS": str(1 + environment.get("TPU_WORKER_HOSTNAMES", "").count(","))}
    for number, count in RANKS.items():
        rank, size = told.get(number, ""), told.get(count, "")
        if rank.isdigit() and size.isdigit() and int(size) > 1:
            return Share(int(rank), int(size))
    return Share()


def _place_in_array(environment: Mapping[str, str]) -> Share:
    """The place of a task in its SLURM job array, if that is a range; in a list no task knows its place."""
    told = {name: environment.get(f"SLURM_ARRAY_TASK_{name}", missing) for name, missing in ARRAY.items()}
    try:
        number, first, step, count = (int(told[name]) for name in ("ID", "MIN", "STEP", "COUNT"))
        last = int(told["MAX"]) if told["MAX"] else first + (count - 1) * step
    except ValueError:
        raise InputError(f"SLURM_ARRAY_TASK_* say {told}; they must be whole numbers: give --shard I/N") from None
    place, rest = divmod(number - first, max(step, 1))
    if rest or last != first + (count - 1) * step or not 0 <= place < count:
        raise InputError(
            f"the job array is a list of {count} tasks between {first} and {last}, in which task {number} does not know its place: "
            "ask for a range, or give each task --shard I/N"
        )
    return Share(place, count)


def spread_over_cores() -> None:
    """Make every core of a CPU a device: a step of a small model keeps but one core busy.

    To be called before JAX is used; it changes nothing afterwards, or where the environment says how many devices there are.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ
    if not told:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", cores)


def local_mesh(device: str = "default", at_most: int | None = None) -> Mesh:
    """Return this process's devices as a mesh along which lineages are spread.

    Args:
        device: a platform, `cpu`, `gpu` or `tpu`; `default` is the best there is.
        at_most: how many of them are of use, for example as many as there are lineages; by default all.

    Returns:
        The mesh.

    Raises:
        ValueError: if there is no such device.
    """
    try:
        devices = jax.local_devices(backend=None if device == "default" else device)
    except RuntimeError:
        raise InputError(f"device is {device!r}, which this machine does not have; it has {_platforms()}") from None
    return Mesh(np.array(devices[:at_most]), ("lineage",))


def _platforms() -> str:
    """The platforms that this machine does have."""
    try:
        return ", ".join(sorted({device.platform for device in jax.local_devices()}))
    except RuntimeError:
        return "cpu: JAX_PLATFORMS asks for what is not there"


def memory(mesh: Mesh) -> float:
    """Return the memory a program may take on each device, in bytes.

    Args:
        mesh: the devices.

    Returns:
        `USED` of the device's memory, or of what the host has free for each CPU device.
    """
    stats = mesh.devices.flat[0].memory_stats() if mesh.devices.flat[0].platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return USED * stats["bytes_limit"]
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf
    return USED * free / mesh.devices.size
