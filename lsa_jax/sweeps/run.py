"""Running a sweep: group by group, chunk by chunk, each stored as soon as it is finished."""

import concurrent.futures
import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

from lsa_jax.errors import InputError
from lsa_jax.sweeps import chunks, estimate, processes, records, saved
from lsa_jax.sweeps import plan as planning
from lsa_jax.sweeps import spec as specs
from lsa_jax.sweeps.compiled import Outcome, Programs, programs_of
from lsa_jax.sweeps.folder import Folder, remaining
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.processes import Share
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec

POLL_SECONDS = 0.1
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


@dataclasses.dataclass
class Progress:
    """How far a sweep has come, in cells; of this process's share where there are several."""

    total: int
    done: int = 0
    computed: int = 0
    diverged: int = 0
    above_minimum: int = 0
    failed: int = 0
    damaged: int = 0
    interrupted: bool = False
    current: str = ""

    def add(self, counted: Mapping[str, int]) -> None:
        """Count finished lineages."""
        self.done += counted["cells"]
        self.diverged += counted["diverged"]
        self.above_minimum += counted["above_minimum"]


T = TypeVar("T")
Report = Callable[[Progress], None]


def run_sweep(
    spec: str | Path | Mapping[str, Any] | Spec,
    out: str | Path,
    *,
    seed_batch: int | None = None,
    share: Share | None = None,
    save_params: bool = False,
    device: str = "default",
    report: Report = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train and measure every cell of a sweep that is not yet on disk.

    Each finished chunk is a file of its own, so that whatever ends the run, the same call goes on from there; an interruption first stores
    the chunk at work. A chunk that fails is noted, and tried again by the next call. Read the results with `load`.

    Args:
        spec: what to run, see `lsa_jax.sweeps.spec.read`.
        out: folder of the results.
        seed_batch: lineages (a pretrained model and what is fine-tuned from it) to train at once; by default as many as the devices take.
        share: the part of the sweep to work on, where several processes work on one.
        save_params: keep trained parameters too, as `params/CHUNK.npz`.
        device: platform to run on.
        report: told of progress after each chunk.
        stop: asked before each chunk whether to end early.

    Returns:
        How far it came.

    Raises:
        ValueError: if the spec cannot be run, or the folder holds something else.
        OSError: if the folder cannot be written.

    Example:
        >>> import tempfile, lsa_jax as lsa
        >>> grid = {"dim": 2, "noise_std": [0.1, 0.3], "seed": "0:4", "regime": "value", "gradient": "closed_form"}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     progress = lsa.run_sweep(grid, out)
        ...     records = lsa.load(out)
        >>> progress.done, int(records.frame["seed"].nunique())
        (8, 4)
    """
    read = specs.read(spec)
    if seed_batch is not None and seed_batch < 1:
        raise InputError(f"seed_batch is {seed_batch}; it must be at least 1, or left out for as many as fit")
    groups = planning.plan(read)
    with arithmetic(read):
        mesh = processes.local_mesh(device, max(len(group.lineages) for group in groups))
        programs = [programs_of(group, read, mesh) for group in groups]
        folder = Folder(Path(out).expanduser())
        folder.claim(read, sum(group.num_cells for group in groups))
        return _Worker(read, folder, seed_batch, save_params).run(programs, share or Share(), report, stop)


@contextlib.contextmanager
def arithmetic(spec: Spec) -> Generator[None]:
    """Set the floating type and precision of a sweep, for the thread that enters it."""
    with jax.enable_x64(spec.dtype == "float64"), jax.default_matmul_precision(spec.matmul_precision):
        yield


@dataclasses.dataclass
class _Task:
    """What a run carries from group to group."""

    thread: concurrent.futures.Executor
    progress: Progress
    report: Report
    stop: Callable[[], bool]
    interrupt: KeyboardInterrupt | None = None

    def stopped(self) -> bool:
        """Whether to end early; if so that is noted."""
        self.progress.interrupted |= self.interrupt is not None or self.stop()
        return self.progress.interrupted

    def wait(self, job: concurrent.futures.Future[T]) -> T:
        """The result of a job; a first interruption waits for it, a second one does not."""
        while not job.done():
            try:
                concurrent.futures.wait([job], timeout=POLL_SECONDS)
            except KeyboardInterrupt as interrupt:
                if self.interrupt is not None:
                    raise
                self.interrupt = interrupt
        return job.result()


@dataclasses.dataclass(frozen=True)
class _Worker:
    """One process at work on its share."""

    spec: Spec
    folder: Folder
    seed_batch: int | None
    save_params: bool

    def run(self, programs: Sequence[Programs], share: Share, report: Report, stop: Callable[[], bool]) -> Progress:
        """Work through the groups."""
        parts = [share.of(len(one.group.lineages)) for one in programs]
        finished, damaged = self.folder.finished(self.spec.digest)
        damaged = [path for path in damaged if (chunk := Chunk.of(path)) and _within(chunk, parts)]
        for path in damaged:
            path.unlink(missing_ok=True)
        if self.save_params:
            finished = {chunk: counted for chunk, counted in finished.items() if self.folder.params_of(chunk).exists()}
        self.folder.clear_failures([chunk for chunk in self.folder.failures() if _within(chunk, parts)])
        gaps = [remaining(one.group, list(finished), *part) for one, part in zip(programs, parts, strict=True)]
        progress = Progress(
            total=sum((last - first) * len(one.group.cells) for one, (first, last) in zip(programs, parts, strict=True)),
            damaged=len(damaged),
        )
        progress.add(chunks.total(chunks.clipped(finished, parts)))
        report(progress)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            task = _Task(thread, progress, report, stop)
            for one, missing in zip(programs, gaps, strict=True):
                if missing and not task.stopped():
                    self._group(one, missing, task)
        if task.interrupt is not None:
            raise task.interrupt
        return progress

    def _group(self, programs: Programs, gaps: Sequence[Chunk], task: _Task) -> None:
        """Compute and store the gaps of one group, each result while the next chunk is computed."""
        group, devices = programs.group, programs.static.mesh.devices.size
        size, waiting, pending = task.wait(task.thread.submit(self._batch_size, programs, gaps)), list(reversed(gaps)), None
        task.progress.current = f"d = {group.setting.dim}, {group.setting.gradient}"
        while waiting or pending:
            chunk, job = None, None
            if waiting and not task.stopped():
                chunk = _next(waiting, size)
                job = task.thread.submit(self._compute, programs, chunk, size)
            else:
                waiting.clear()
            if pending:
                self._store(group, *pending, task.progress)
                task.report(task.progress)
            pending = None
            if chunk is None or job is None:
                continue
            try:
                pending = chunk, task.wait(job)
            except MemoryError:
                size = max(1, size // 2 // devices) * devices
                waiting.append(chunk)
            except jax.errors.JaxRuntimeError as error:
                self.folder.note_failure(chunk, error)
                task.progress.failed += (chunk.last - chunk.first) * len(group.cells)

    def _batch_size(self, programs: Programs, gaps: Sequence[Chunk]) -> int:
        """How many lineages to train at once: what is asked for, or what suits the devices and fits the memory of the compiled program."""
        mesh = programs.static.mesh
        devices, platform, memory = mesh.devices.size, mesh.devices.flat[0].platform, math.inf
        if self.seed_batch is not None:
            size = -(-self.seed_batch // devices) * devices
        else:
            memory, left = processes.memory(mesh), sum(gap.last - gap.first for gap in gaps)
            size = estimate.batch_size(programs.group, self.spec, left, platform, devices, memory)
        try:
            with arithmetic(self.spec):
                while (needed := programs.memory(size)) > memory and size > devices:
                    size = max(1, min(size // 2, math.floor(size * memory / needed)) // devices) * devices
        except jax.errors.JaxRuntimeError:
            pass  # compiling fails again with the first chunk, and is noted or backed off from there
        return size

    def _compute(self, programs: Programs, chunk: Chunk, size: int) -> Outcome:
        """Train and measure a chunk; in a thread of its own, so that signals are heard meanwhile."""
        with arithmetic(self.spec):
            try:
                return programs.run(chunk.first, chunk.last, size)
            except jax.errors.JaxRuntimeError as error:
                if OUT_OF_MEMORY in str(error) and size > programs.static.mesh.devices.size:
                    raise MemoryError from error
                raise

    def _store(self, group: Group, chunk: Chunk, outcome: Outcome, progress: Progress) -> None:
        """Write a finished chunk."""
        table = records.to_table(self.spec, group, chunk, outcome)
        if self.save_params:
            saved.save(self.folder.params_of(chunk), group, chunk, outcome)
        chunks.save(self.folder.chunks, chunk, table)
        progress.add(chunks.tally(table))
        progress.computed += (chunk.last - chunk.first) * len(group.cells)


def _within(chunk: Chunk, parts: Sequence[tuple[int, int]]) -> bool:
    """Whether a chunk begins in this process's part of its group."""
    first, last = parts[chunk.group]
    return first <= chunk.first < last


def _next(waiting: list[Chunk], size: int) -> Chunk:
    """Take the next chunk of at most this size off what is left to do."""
    gap = waiting.pop()
    chunk = Chunk(gap.group, gap.first, min(gap.last, gap.first + size))
    if chunk.last < gap.last:
        waiting.append(Chunk(gap.group, chunk.last, gap.last))
    return chunk
