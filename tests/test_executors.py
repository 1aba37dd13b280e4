"""Sweeps on other processes: any executor, workers that die, join late, or lack what they need. The folder alone says what is done."""

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from test_sweeps import CLOSED, TINY, values

import lsa_jax as lsa
from lsa_jax.sweeps import cluster, crew, orders, spec, stored_spec, worker
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.orders import Order
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.worker import Worker

KILL_ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
"""Workers that are killed one after the other; 30 take minutes."""

MANY: dict[str, Any] = {**CLOSED, "seed": "0:120"}
LAWS = {"covariance": [[2.0, 0.5], [0.5, 1.0]], "prior": {"tasks": [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]}, "seed": "0:4"}
OWN = {
    "regime": ["value", "gentle"],
    "regimes": {"gentle": {"loss": {"zero_shot": 1.0, "prior": [0.1, 1.0]}, "within": None, "rate": 0.02}},
}
SPECS = {"plain": TINY, "arrays": {**CLOSED, **LAWS}, "own regime": {**TINY, **OWN, "points": [{"dim": 2}, {"dim": 3, "seed": [5, 3]}]}}


def pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    """Fresh processes."""
    return concurrent.futures.ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let processes share what they compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many small chunks, computed by this process one after another."""
    out = tmp_path_factory.mktemp("serial")
    lsa.run_sweep(MANY, out, seed_batch=4)
    return out


def same(out: Path, serial: Path) -> None:
    """Every cell is there once, with the value of the serial run."""
    found, wanted = values(out), values(serial)
    assert found.index.equals(wanted.index)
    np.testing.assert_array_equal(found, wanted)
    assert not Folder(out).finished()[1]


def wait_until(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_is_restored_from_what_is_sent(name: str) -> None:
    read = spec.read(SPECS[name])
    again = stored_spec.restored(read.as_dict(), read.objects)
    assert again.as_dict() == read.as_dict()
    assert again.family == read.family


def test_processes_killed_at_work_lose_nothing(serial: Path, tmp_path: Path) -> None:
    def kill(progress: Any) -> None:
        if progress.computed and not killed:
            killed.append(next(iter(multiprocessing.active_children())))
            killed[0].kill()

    killed: list[Any] = []
    with pool(1) as workers, pytest.raises(concurrent.futures.BrokenExecutor):
        lsa.run_sweep(MANY, tmp_path, executor=workers, seed_batch=4, report=kill)
    done = set(tmp_path.glob("chunks/*.parquet"))
    assert 0 < len(done) < 60
    with pool(2) as workers:
        progress = lsa.run_sweep(MANY, tmp_path, executor=workers, seed_batch=4)
    assert progress.done == progress.total == 480
    assert progress.computed == 480 - 8 * len(done)
    same(tmp_path, serial)


def test_interrupted_workers_finish_the_chunks_they_have(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as workers:
        progress = lsa.run_sweep(MANY, tmp_path, executor=workers, seed_batch=4, stop=lambda: any(tmp_path.glob("chunks/*.parquet")))
    assert progress.interrupted
    assert 0 < progress.done < progress.total
    assert progress.done == 8 * len(list(tmp_path.glob("chunks/*.parquet")))


class Nobody(concurrent.futures.Executor):
    """A queue in which no worker ever starts."""

    def submit(self, *_: Any, **__: Any) -> concurrent.futures.Future[Any]:
        return concurrent.futures.Future()


def test_waiting_for_the_first_worker_can_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lsa.run_sweep(MANY, tmp_path / "out", executor=Nobody(), stop=lambda: True).interrupted

    class Interrupted(queue.SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(crew.queue, "SimpleQueue", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        lsa.run_sweep(MANY, tmp_path / "out", executor=Nobody())
    assert not (tmp_path / "out").exists()


def test_a_chunk_that_fails_on_a_worker_is_noted_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = worker.Worker.compute

    def dies(self: Worker, chunk: Chunk, size: int) -> Any:
        if chunk.first == 8:
            raise RuntimeError("worker died three times")
        return real(self, chunk, size)

    monkeypatch.setattr(worker.Worker, "compute", dies)
    with concurrent.futures.ThreadPoolExecutor(1) as workers:
        progress = lsa.run_sweep(CLOSED, tmp_path, executor=workers, seed_batch=4)
    assert (progress.done, progress.failed) == (40, 8)
    assert list(Folder(tmp_path).failures().values()) == ["RuntimeError: worker died three times"]


def order(out: Path) -> Order:
    """What workers would be sent."""
    return Order.of(Worker(spec.read(CLOSED), Folder(out), None, save_params=False, device="default"))


REFUSED: dict[str, tuple[Callable[[Path], Order], str]] = {
    "another version": (lambda out: dataclasses.replace(order(out), version="9.9"), "the sweep was sent by 9.9: install one version"),
    "another spec": (lambda out: dataclasses.replace(order(out), digest="0"), "reads another spec than was sent"),
    "no folder": (order, "sees no sweep in .*: workers need the folder, on storage that all share"),
    "no device": (lambda out: dataclasses.replace(order(out), options={**order(out).options, "device": "tpu"}), "device is 'tpu'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_worker_that_lacks_something_says_so(case: str, tmp_path: Path) -> None:
    sent, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        orders.devices_there(sent(tmp_path)) and orders.compute_there(sent(tmp_path), Chunk(0, 0, 4), 4)


def test_what_cannot_be_sent_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    term = lsa.objectives.Term("own", lambda inputs, key, params, start: jnp.zeros(()))
    own = {**TINY, "regime": "odd", "regimes": [lsa.Regime(name="odd", loss={term: 1.0})]}
    with pool(1) as workers, pytest.raises(ValueError, match=r"no worker can take the sweep .*must be importable there"):
        lsa.run_sweep(own, tmp_path / "out", executor=workers)
    assert not (tmp_path / "out").exists()


@contextlib.contextmanager
def dask(kind: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A process of a Dask cluster."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[str, Callable[[], subprocess.Popen[bytes]]]]:
    """The address of a Dask scheduler, and the function that starts a worker of it."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)))
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        worker = address, "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path / "local")
        yield address, lambda: stack.enter_context(dask("worker", *worker))


def on_dask(address: str, out: Path, report: Callable[[Any], None] = lambda progress: None) -> Any:
    """The many chunks on the workers there are, and those that come."""
    with cluster.executor(address) as executor:
        return lsa.run_sweep(MANY, out, executor=executor, seed_batch=4, report=report)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dask_worker_that_joins_late_takes_over_from_one_that_is_killed(workers: Any, serial: Path, tmp_path: Path) -> None:
    address, start = workers
    running = [start()]

    def replace(progress: Any) -> None:
        if progress.computed and len(running) == 1:
            running.append(start())
            running[0].send_signal(signal.SIGKILL)

    progress = on_dask(address, tmp_path / "out", replace)
    assert running[0].wait() == -signal.SIGKILL
    assert (progress.done, progress.failed, progress.interrupted) == (480, 0, False)
    same(tmp_path / "out", serial)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_dask_workers_lose_nothing(workers: Any, serial: Path, tmp_path: Path) -> None:
    address, start = workers
    random, running = np.random.default_rng(0), [start(), start()]
    for number in range(KILL_ROUNDS):
        at, killed = 8 * int(random.integers(1, 50)), list[Any]()

        def kill(progress: Any, at: int = at, killed: list[Any] = killed) -> None:
            if progress.computed >= at and not killed:
                killed.append(running.pop(0))
                killed[0].kill()
                running.append(start())

        progress = on_dask(address, tmp_path / str(number), kill)
        assert killed
        assert (progress.done, progress.failed) == (480, 0)
        same(tmp_path / str(number), serial)


def test_no_scheduler_at_the_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"), cluster.executor("tcp://127.0.0.1:1"):
        pass


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'lsa-jax\[cluster\]'"), cluster.executor("tcp://127.0.0.1:1"):
        pass
