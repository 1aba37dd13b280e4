"""The work on a chunk, wherever it is done: a function of the plan and the chunk alone, whose result is a file that appears whole."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import jax

from lsa_jax.regimes import Branch
from lsa_jax.sweeps import chunks, estimate, processes, records, saved
from lsa_jax.sweeps import plan as planning
from lsa_jax.sweeps.chunks import Tally
from lsa_jax.sweeps.compiled import Outcome, Programs, programs_of
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.kept import Kept
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec
from lsa_jax.training import Trained

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class Devices(NamedTuple):
    """What a worker trains on: the platform, how many devices, and the bytes that a program may take on each."""

    platform: str
    count: int
    memory: float


@contextlib.contextmanager
def arithmetic(spec: Spec) -> Generator[None]:
    """Set the floating type and precision of a sweep, for the thread that enters it."""
    with jax.enable_x64(spec.dtype == "float64"), jax.default_matmul_precision(spec.matmul_precision):
        yield


@dataclasses.dataclass(frozen=True)
class Worker:
    """One process at work on a sweep.

    Args:
        spec: the sweep.
        folder: where its results go.
        seed_batch: lineages to train at once; None for as many as the devices take.
        save_params: keep trained parameters too.
        device: platform to run on.
        trained: folder of a sweep that has kept the trained models; None to train them.
    """

    spec: Spec
    folder: Folder
    seed_batch: int | None
    save_params: bool
    device: str
    trained: Path | None = None

    @functools.cached_property
    def groups(self) -> list[Group]:
        """The plan."""
        return planning.plan(self.spec)

    @functools.cached_property
    def kept(self) -> Kept | None:
        """The trained models of the other sweep."""
        return None if self.trained is None else Kept.of(Folder(self.trained), self.spec)

    @functools.cached_property
    def programs(self) -> list[Programs]:
        """The programs of each group on this process's devices."""
        with arithmetic(self.spec):
            mesh = processes.local_mesh(self.device, max(len(group.lineages) for group in self.groups))
            trains = self.trained is None
            return [dataclasses.replace(programs_of(group, self.spec, mesh), trains=trains) for group in self.groups]

    @functools.cached_property
    def devices(self) -> Devices:
        """This process's devices."""
        mesh = self.programs[0].static.mesh
        memory = math.inf if self.seed_batch else processes.memory(mesh)
        return Devices(mesh.devices.flat[0].platform, mesh.devices.size, memory)

    @functools.cached_property
    def _fitting(self) -> dict[int, int]:
        """The most lineages at once, of each group whose programs were compiled or ran out of memory here."""
        return {}

    def size(self, group: Group, lineages: int, devices: Devices) -> int:
        """Return how many lineages a chunk should have: what is asked for, or what suits the devices.

        Args:
            group: the group.
            lineages: how many of it are left to do.
            devices: those of a worker.

        Returns:
            A multiple of the number of devices.
        """
        if self.seed_batch is not None:
            return -(-min(self.seed_batch, len(group.lineages)) // devices.count) * devices.count
        return estimate.batch_size(group, self.spec, lineages, devices.platform, devices.count, devices.memory)

    def compute(self, chunk: Chunk, size: int) -> Tally:
        """Train, measure and store a chunk, in as many batches as its programs take memory for, each a file of its own.

        What fails on the device is noted in the folder.

        Args:
            chunk: the chunk.
            size: lineages to train at once, the last one repeated where the chunk has fewer.

        Returns:
            What its records count, and under `failed` its cells that could not be computed.

        Raises:
            ValueError: if the folder is not that of the sweep.
            OSError: if it cannot be written.
        """
        self.folder.require(self.spec)
        programs, left, counted = self.programs[chunk.group], chunk, dict.fromkeys(("cells", "diverged", "above_minimum", "failed"), 0)
        with arithmetic(self.spec):
            while left.first < left.last:
                fitting = self._fits(programs, size)
                part = dataclasses.replace(left, last=min(left.last, left.first + fitting))
                try:
                    outcome = programs.run(part.first, part.last, fitting, self._given(programs.group, part, fitting))
                except jax.errors.JaxRuntimeError as error:
                    if OUT_OF_MEMORY in str(error) and fitting > self.devices.count:
                        self._fitting[chunk.group] = self._multiple(fitting / 2)
                        continue
                    self.folder.note_failure(left, error)
                    return counted | {"failed": (left.last - left.first) * len(programs.group.cells)}
                for name, count in self._store(programs.group, part, outcome).items():
                    counted[name] += count
                left = dataclasses.replace(left, first=part.last)
        return counted

    def _given(self, group: Group, part: Chunk, size: int) -> dict[Branch, Trained] | None:
        """The trained models of a batch where another sweep has kept them."""
        return None if self.kept is None else self.kept.load(group, part.first, part.last, size)

    def _fits(self, programs: Programs, size: int) -> int:
        """As many lineages at once as this, or as fit the memory of the compiled programs."""
        number, size = programs.group.number, self._multiple(size)
        if number not in self._fitting:
            fitting = size
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # compiling fails again with the batch, and is noted there
                while (needed := programs.memory(fitting)) > self.devices.memory and fitting > self.devices.count:
                    fitting = self._multiple(min(fitting / 2, fitting * self.devices.memory / needed))
            self._fitting[number] = fitting
        return min(size, self._fitting[number])

    def _multiple(self, size: int | float) -> int:
        """The largest multiple of the number of devices that is no larger; one of each at least."""
        return max(1, int(size) // self.devices.count) * self.devices.count

    def _store(self, group: Group, chunk: Chunk, outcome: Outcome) -> Tally:
        """Write what was finished, and count it."""
        table = records.to_table(self.spec, group, chunk, outcome)
        if self.save_params:
            saved.save(self.folder.params_of(chunk), group, chunk, outcome)
        chunks.save(self.folder.chunks, chunk, table)
        return chunks.tally(table)
