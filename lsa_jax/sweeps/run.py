"""Running a sweep: group by group, chunk by chunk, each stored as soon as it is finished."""

import concurrent.futures
import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.sweeps import estimate, processes, records
from lsa_jax.sweeps import plan as planning
from lsa_jax.sweeps import spec as specs
from lsa_jax.sweeps.compiled import Compiled, Outcome, compiled
from lsa_jax.sweeps.folder import Folder, remaining
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.processes import Share
from lsa_jax.sweeps.program import Common, common_of, lineages_of, program_of
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

    def add(self, counts: Mapping[str, int]) -> None:
        """Count a finished chunk."""
        self.done += counts["cells"]
        self.diverged += counts["diverged"]
        self.above_minimum += counts["above_minimum"]


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

    Each finished chunk is a file of its own, so that whatever ends the run, the same call goes on from there. A chunk that fails is noted,
    and tried again by the next call. Read the results with `load`.

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
    with _arithmetic(read):
        mesh = processes.local_mesh(device, max(len(group.lineages) for group in groups))
        ready = [common_of(group, read) for group in groups]
        folder = Folder(Path(out))
        folder.claim(read, sum(group.num_cells for group in groups))
        worker = _Worker(read, folder, mesh, seed_batch, save_params)
        return worker.run(groups, ready, share or Share(), report, stop)


@contextlib.contextmanager
def _arithmetic(spec: Spec) -> Generator[None]:
    """The floating type and precision of a sweep, for the thread that enters it."""
    with jax.enable_x64(spec.dtype == "float64"), jax.default_matmul_precision(spec.matmul_precision):
        yield


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a run carries from group to group."""

    thread: concurrent.futures.Executor
    progress: Progress
    report: Report
    stop: Callable[[], bool]

    def stopped(self) -> bool:
        """Whether to end early; if so that is noted."""
        self.progress.interrupted |= self.stop()
        return self.progress.interrupted


@dataclasses.dataclass(frozen=True)
class _Worker:
    """One process at work on its share."""

    spec: Spec
    folder: Folder
    mesh: Mesh
    seed_batch: int | None
    save_params: bool

    def run(self, groups: Sequence[Group], common: Sequence[Common], share: Share, report: Report, stop: Callable[[], bool]) -> Progress:
        """Work through the groups."""
        parts = [share.of(len(group.lineages)) for group in groups]
        finished, damaged = self.folder.finished(self.spec.digest)
        damaged = [path for path in damaged if (chunk := Chunk.of(path)) and _within(chunk, parts)]
        for path in damaged:
            path.unlink(missing_ok=True)
        if self.save_params:
            finished = {chunk: counts for chunk, counts in finished.items() if self.folder.params_of(chunk).exists()}
        self.folder.clear_failures([chunk for chunk in self.folder.failures() if _within(chunk, parts)])
        gaps = [remaining(group, list(finished), *part) for group, part in zip(groups, parts, strict=True)]
        progress = _progress(groups, parts, gaps, finished, len(damaged))
        report(progress)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            task = _Task(thread, progress, report, stop)
            for group, shared, missing in zip(groups, common, gaps, strict=True):
                if missing and not task.stopped():
                    self._group(group, shared, missing, task)
        return progress

    def _group(self, group: Group, common: Common, gaps: Sequence[Chunk], task: "_Task") -> None:
        """Compute and store the gaps of one group, each result while the next chunk is computed."""
        size, waiting, pending = _wait(task.thread.submit(self._batch_size, group, gaps)), list(reversed(gaps)), None
        task.progress.current = f"d = {group.shared['dim']}, {group.shared['gradient']}"
        while waiting or pending:
            chunk, job = None, None
            if waiting and not task.stopped():
                chunk = _next(waiting, size)
                job = task.thread.submit(self._compute, group, common, chunk, size)
            else:
                waiting.clear()
            if pending:
                self._store(group, *pending, task.progress)
                task.report(task.progress)
            pending = None
            if chunk is None or job is None:
                continue
            try:
                pending = chunk, _wait(job)
            except MemoryError:
                size = self._smaller(size)
                waiting.append(chunk)
            except jax.errors.JaxRuntimeError as error:
                self.folder.note_failure(chunk, error)
                task.progress.failed += (chunk.last - chunk.first) * len(group.branches)

    def _batch_size(self, group: Group, gaps: Sequence[Chunk]) -> int:
        """How many lineages to train at once: what is asked for, or what suits the devices and fits the memory of the compiled program."""
        devices, platform = self.mesh.devices.size, self.mesh.devices.flat[0].platform
        if self.seed_batch is not None:
            return -(-self.seed_batch // devices) * devices
        memory = processes.memory(self.mesh)
        left = sum(gap.last - gap.first for gap in gaps)
        size = estimate.batch_size(group, self.spec, left, platform, devices, memory)
        try:
            with _arithmetic(self.spec):
                while (needed := self._compiled(group, size).memory) > memory and size > devices:
                    size = max(1, min(size // 2, math.floor(size * memory / needed)) // devices) * devices
        except jax.errors.JaxRuntimeError:
            pass  # compiling fails again with the first chunk, and is noted or backed off from there
        return size

    def _smaller(self, size: int) -> int:
        """Half the batch, after memory ran out."""
        devices = self.mesh.devices.size
        return max(1, size // 2 // devices) * devices

    def _compiled(self, group: Group, size: int) -> Compiled:
        """The compiled program of a group."""
        return compiled(program_of(group, self.spec, keep_params=self.save_params), size, self.mesh)

    def _compute(self, group: Group, common: Common, chunk: Chunk, size: int) -> Outcome:
        """Train and measure a chunk; in a thread of its own, so that signals are heard meanwhile."""
        with _arithmetic(self.spec):
            try:
                batch = lineages_of(group, chunk.first, chunk.last, size)
                return self._compiled(group, size)(batch, common)
            except jax.errors.JaxRuntimeError as error:
                if OUT_OF_MEMORY in str(error) and size > self.mesh.devices.size:
                    raise MemoryError from error
                raise

    def _store(self, group: Group, chunk: Chunk, outcome: Outcome, progress: Progress) -> None:
        """Write a finished chunk."""
        table = records.to_table(self.spec, group, chunk, outcome)
        if self.save_params:
            self._store_params(group, chunk, outcome)
        records.save(self.folder.chunks / chunk.name, table)
        progress.add(records.tally(table))
        progress.computed += (chunk.last - chunk.first) * len(group.branches)

    def _store_params(self, group: Group, chunk: Chunk, outcome: Outcome) -> None:
        """Write the trained parameters of a chunk: `value REGIME` and `query_key REGIME`, with the number of shots where it matters."""
        self.folder.params.mkdir(exist_ok=True)
        count, arrays = chunk.last - chunk.first, {}
        for (regime, index), measured in outcome.measured.items():
            name = regime if index is None else f"{regime} {group.fine_tuning_shots[index]:g}"
            if measured.params is not None:
                arrays[f"value {name}"] = measured.params.value[:count]
                arrays[f"query_key {name}"] = measured.params.query_key[:count]
        rows = group.lineages.iloc[chunk.first : chunk.last]
        lineages = {column: rows[column].to_numpy() for column in rows}
        store.save_arrays(self.folder.params_of(chunk), {**arrays, **lineages})


def _progress(
    groups: Sequence[Group],
    parts: Sequence[tuple[int, int]],
    gaps: Sequence[Sequence[Chunk]],
    finished: Mapping[Chunk, Mapping[str, int]],
    damaged: int,
) -> Progress:
    """Where a run starts from."""
    progress = Progress(total=0, damaged=damaged)
    for group, (first, last), missing in zip(groups, parts, gaps, strict=True):
        progress.total += (last - first) * len(group.branches)
        progress.done += (last - first - sum(gap.last - gap.first for gap in missing)) * len(group.branches)
    for chunk, counts in finished.items():
        if _within(chunk, parts):
            progress.diverged += counts["diverged"]
            progress.above_minimum += counts["above_minimum"]
    return progress


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


def _wait(job: concurrent.futures.Future[T]) -> T:
    """The result of a job; signals are handled while it is waited for."""
    while not job.done():
        concurrent.futures.wait([job], timeout=POLL_SECONDS)
    return job.result()
