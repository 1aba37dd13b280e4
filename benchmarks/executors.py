"""What handing chunks to other processes costs, what a second worker gives, and what growing a sweep costs; on Linux, one core a worker."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import pandas as pd

import lsa_jax as lsa
from benchmarks import timing

BATCH = 64
SHORT: Mapping[str, Any] = {"regime": "value", "steps": 500}
"""Chunks of about a twentieth of a second, in which the way they are handed out would show."""

LONG: Mapping[str, Any] = {**SHORT, "steps": 5000}
START_SECONDS = 1200.0

IN_PROCESS, ONE, TWO, NEW, GROWN = "in process", "one worker", "two workers", "new seeds", "as many by extension"

Pool = concurrent.futures.ProcessPoolExecutor


def executors(rounds: int = 7, chunks: int = 200, seeds: int = 512) -> dict[str, Any]:
    """Time a sweep of many short chunks in a process, handed to it by another one, and handed to two; and an extension to twice the seeds.

    Args:
        rounds: timed rounds.
        chunks: chunks of the sweep.
        seeds: seeds before the extension, and new ones.

    Returns:
        The record.
    """
    many = {**SHORT, "seed": f"0:{chunks * BATCH}"}
    new, both = ({**LONG, "seed": f"{first}:{2 * seeds}"} for first in (seeds, 0))
    cores = sorted(os.sched_getaffinity(0))[:2]
    with TemporaryDirectory() as folder, _workers(folder, cores[:1]) as one, _workers(folder, cores) as two:
        half = Path(folder) / "half"
        _in_worker(one, {**LONG, "seed": f"0:{seeds}"}, half)
        ways: dict[str, Callable[[Path], object]] = {
            IN_PROCESS: functools.partial(_in_worker, one, many),
            ONE: functools.partial(_handed_out, one, many),
            TWO: functools.partial(_handed_out, two, many),
            NEW: functools.partial(_in_worker, one, new),
            GROWN: lambda out: _in_worker(one, both, shutil.copytree(half, out), extend=True),
        }
        for name, way in ways.items():
            way(Path(folder) / name)
        compared = {
            "records_by_each_executor": _equal(*(_values(Path(folder) / name) for name in (IN_PROCESS, ONE, TWO))),
            "records_of_an_extension": _equal(*(_values(Path(folder) / name, seeds) for name in (NEW, GROWN))),
        }
        taken = [{name: _time(way, Path(folder) / f"{name} {place}", one) for name, way in ways.items()} for place in range(rounds)]
    settings = {"chunks": chunks, "lineages_a_chunk": BATCH, "steps": SHORT["steps"], "seeds": seeds, "steps_extended": LONG["steps"]}
    return _record(settings, taken, compared)


def _record(settings: dict[str, Any], taken: Sequence[Mapping[str, tuple[float, float]]], compared: dict[str, str]) -> dict[str, Any]:
    """What is written, from the seconds on the wall and of the processors of every round."""
    wall, processor = ({name: [one[name][clock] for one in taken] for name in taken[0]} for clock in (0, 1))
    return timing.record(
        "executors",
        settings,
        wall,
        unit="seconds a sweep",
        processor_seconds={name: processor[name] for name in (IN_PROCESS, ONE)},
        time_against_in_process={ONE: timing.ratio_interval(wall[ONE], wall[IN_PROCESS])},
        processor_time_against_in_process={ONE: timing.ratio_interval(processor[ONE], processor[IN_PROCESS])},
        speedup_by_second_worker={TWO: timing.ratio_interval(wall[ONE], wall[TWO])},
        time_against_new_seeds={GROWN: timing.ratio_interval(wall[GROWN], wall[NEW])},
        agreement=compared,
    )


@contextlib.contextmanager
def _workers(folder: str, cores: Sequence[int]) -> Generator[Pool]:
    """One process on each core, which has at hand what it will run, compiled by itself or by one before it."""
    context = multiprocessing.get_context("spawn")
    places, ready = context.Queue(), context.Queue()
    for core in cores:
        places.put(core)
    with Pool(
        len(cores), mp_context=context, initializer=_begin, initargs=(places, ready, (SHORT, LONG), str(Path(folder) / "cache"))
    ) as pool:
        for _ in cores:
            pool.submit(os.getpid)
        for _ in cores:
            ready.get(timeout=START_SECONDS)
        yield pool


def _begin(places: Any, ready: Any, grids: Sequence[Mapping[str, Any]], cache: str) -> None:
    """Keep this process, and the threads of its compiled programs, to one core; compile; and say so."""
    os.sched_setaffinity(0, {places.get()})
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    for grid in grids:
        with TemporaryDirectory() as folder:
            _sweep({**grid, "seed": f"0:{BATCH}"}, Path(folder) / "sweep")
    ready.put(os.getpid())


def _sweep(grid: Mapping[str, Any], out: Path, executor: Pool | None = None, *, extend: bool = False) -> None:
    """Run a sweep in this process, or hand it out."""
    progress = lsa.run_sweep(grid, out, executor=executor, seed_batch=BATCH, extend=extend)
    if progress.done != progress.total:
        raise RuntimeError(f"{progress.done} of {progress.total} cells are done: nothing is timed")


def _in_worker(pool: Pool, grid: Mapping[str, Any], out: Path, *, extend: bool = False) -> None:
    """A worker runs a whole sweep by itself."""
    pool.submit(_sweep, grid, out, extend=extend).result()


def _handed_out(pool: Pool, grid: Mapping[str, Any], out: Path) -> None:
    """Workers are handed the chunks of a sweep."""
    _sweep(grid, out, pool)


def _time(way: Callable[[Path], object], out: Path, worker: Pool) -> tuple[float, float]:
    """Seconds on the wall, and of the processors in this process and a pool of one worker; the results are deleted."""

    def clocks() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time() + worker.submit(time.process_time).result()])

    begun = clocks()
    way(out)
    wall, processor = clocks() - begun
    shutil.rmtree(out)
    return float(wall), float(processor)


def _values(out: Path, first_seed: int = 0) -> pd.Series:
    """The values of a sweep's records from a seed on, by all that names them."""
    frame = lsa.load(out).frame
    frame = frame[frame["seed"] >= first_seed].astype({name: str for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)})
    return frame.set_index([name for name in frame if name != "value"])["value"].sort_index()


def _equal(wanted: pd.Series, *others: pd.Series) -> str:
    """How many values are equal to their last bits; if one is not, nothing is timed."""
    for other in others:
        if not other.index.equals(wanted.index) or not np.array_equal(other, wanted, equal_nan=True):
            raise RuntimeError("two ways of running a sweep differ in their records: nothing is timed")
    return f"{len(wanted)} equal"
