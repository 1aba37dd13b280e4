"""Running a sweep: its chunks handed to an executor, each stored by whoever computed it as soon as it is finished."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsa_jax.errors import InputError
from lsa_jax.sweeps import chunks, estimate, extension, orders
from lsa_jax.sweeps import spec as specs
from lsa_jax.sweeps.chunks import Tally
from lsa_jax.sweeps.crew import Crew
from lsa_jax.sweeps.folder import Folder, remaining
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.processes import Share
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec
from lsa_jax.sweeps.worker import Devices, Worker


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


Report = Callable[[Progress], None]


def run_sweep(
    spec: str | Path | Mapping[str, Any] | Spec,
    out: str | Path,
    *,
    executor: concurrent.futures.Executor | None = None,
    seed_batch: int | None = None,
    share: Share | None = None,
    save_params: bool = False,
    device: str = "default",
    extend: bool = False,
    trained: str | Path | None = None,
    report: Report = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train and measure every cell of a sweep that is not yet on disk.

    Each finished chunk is a file of its own, so that whatever ends the run, the same call goes on from there; an interruption first stores
    the chunk at work. A chunk that fails is noted, and tried again by the next call. Read the results with `load`.

    Args:
        spec: what to run, see `lsa_jax.sweeps.spec.read`.
        out: folder of the results.
        executor: who computes the chunks, for example a `ProcessPoolExecutor` or Dask's `Client.get_executor()`: processes that have the
            same version of the library and see the folder. One chunk at a time suits each. By default this process does.
        seed_batch: lineages (a pretrained model and what is fine-tuned from it) to train at once; by default as many as the devices take.
        share: the part of the sweep to work on, where several runs work on one.
        save_params: keep trained parameters too, as `params/CHUNK.npz`.
        device: platform to run on.
        extend: let the folder grow by what of the spec it does not hold; what it holds beside that is kept.
        trained: folder of a sweep that trained these models, and maybe others, and kept them (`save_params`): they are measured as this
            spec says, and none is trained.
        report: told of progress after each chunk.
        stop: asked now and then whether to end early.

    Returns:
        How far it came.

    Raises:
        ValueError: if the spec cannot be run, the folder holds something else, or a worker cannot take part.
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
    folder = Folder(Path(out).expanduser())
    models = None if trained is None else Path(trained).expanduser()
    local = Worker(extension.effective(folder, read, extend=extend), folder, seed_batch, save_params, device, models)
    if local.kept is not None:
        local.kept.require(local.groups)
    with contextlib.ExitStack() as stack:
        if executor is None:
            crew = Crew(stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)), lambda: local.devices, local.compute, stop)
        else:
            order = orders.Order.of(local)
            away = functools.partial(orders.devices_there, order), functools.partial(orders.compute_there, order)
            crew = Crew(executor, *away, stop, away=True)
        return _run(local, crew, share or Share(), report)


def _run(local: Worker, crew: Crew, share: Share, report: Report) -> Progress:
    """Find what is left to do of a share, and have it done."""
    groups, folder = local.groups, local.folder
    parts = share.of([(len(group.lineages), estimate.seconds(group, local.spec, "cpu", 1) / len(group.lineages)) for group in groups])
    progress = Progress(total=sum((last - first) * len(group.cells) for group, (first, last) in zip(groups, parts, strict=True)))
    devices = crew.first_devices()
    if devices is None:
        return dataclasses.replace(progress, interrupted=True)
    folder.claim(local.spec, sum(group.num_cells for group in groups))
    finished, damaged = folder.finished()
    damaged = [path for path in damaged if (chunk := Chunk.of(path)) and _within(chunk, parts)]
    for path in damaged:
        path.unlink(missing_ok=True)
    if local.save_params:
        finished = {chunk: counted for chunk, counted in finished.items() if folder.params_of(chunk).exists()}
    folder.clear_failures([chunk for chunk in folder.failures() if _within(chunk, parts)])
    progress.damaged = len(damaged)
    progress.add(chunks.total(chunks.clipped(finished, parts)))
    report(progress)
    gaps = [remaining(group, list(finished), *part) for group, part in zip(groups, parts, strict=True)]
    with contextlib.closing(crew.computed(_pieces(local, gaps, devices))) as results:
        for chunk, result in results:
            if isinstance(result, Exception):
                folder.note_failure(chunk, result)
            _count(progress, chunk, groups[chunk.group], result)
            report(progress)
    progress.interrupted = crew.interrupted
    return progress


def _pieces(local: Worker, gaps: Sequence[Sequence[Chunk]], devices: Devices) -> list[tuple[Chunk, int]]:
    """What is left to do, cut into chunks, each with the number of lineages to train at once."""
    found = []
    for group, left in zip(local.groups, gaps, strict=True):
        size = local.size(group, sum(gap.last - gap.first for gap in left), devices) if left else 0
        for gap in left:
            cuts = [*range(gap.first, gap.last, size), gap.last]
            found += [(Chunk(group.number, *ends), size) for ends in itertools.pairwise(cuts)]
    return found


def _count(progress: Progress, chunk: Chunk, group: Group, result: Tally | Exception) -> None:
    """Add a chunk to how far a sweep has come."""
    if isinstance(result, Exception):
        progress.failed += (chunk.last - chunk.first) * len(group.cells)
        return
    progress.add(result)
    progress.computed += result["cells"]
    progress.failed += result["failed"]
    progress.current = f"d = {group.setting.dim}, {group.setting.gradient}"


def _within(chunk: Chunk, parts: Sequence[tuple[int, int]]) -> bool:
    """Whether a chunk begins in this process's part of its group."""
    first, last = parts[chunk.group]
    return first <= chunk.first < last
