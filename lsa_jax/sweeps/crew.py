"""Those who compute the chunks of a sweep: any executor, asked for all of them at once and heard as they finish."""

import concurrent.futures
import contextlib
import dataclasses
import queue
from collections.abc import Callable, Generator, Iterable
from typing import Any, NoReturn, TypeVar

from lsa_jax.errors import InputError
from lsa_jax.sweeps.chunks import Tally
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.worker import Devices

POLL_SECONDS = 0.1

S = TypeVar("S")
T = TypeVar("T")
Piece = tuple[Chunk, int]
"""A chunk, and the number of lineages to train at once."""


@dataclasses.dataclass
class Crew:
    """An executor, and what it is asked for.

    Args:
        executor: who computes.
        devices: asked once, before anything is written.
        compute: asked of each chunk.
        stop: tells whether to end early.
        away: whether they are other processes, which may lack what this one has, or die.
        interrupt: the first interruption from the keyboard; the second one is not waited for.
        interrupted: whether the work ended early.
    """

    executor: concurrent.futures.Executor
    devices: Callable[[], Devices]
    compute: Callable[[Chunk, int], Tally]
    stop: Callable[[], bool]
    away: bool = False
    interrupt: KeyboardInterrupt | None = None
    interrupted: bool = False

    def first_devices(self) -> Devices | None:
        """Return the devices of whoever answers first; None if all was stopped before.

        Raises:
            ValueError: if the plan cannot be carried out there.
            KeyboardInterrupt: if there was one before.
        """
        with contextlib.closing(self._finished([()], self.devices)) as answers:
            for _, job in answers:
                return self._outcome(job, self._refused)
        if self.interrupt is not None:
            raise self.interrupt
        return None

    def computed(self, pieces: Iterable[Piece]) -> Generator[tuple[Chunk, Tally | Exception]]:
        """Have chunks computed.

        Args:
            pieces: the chunks.

        Yields:
            Each chunk that is finished, and what it counts, or why those who had it could not compute it.

        Raises:
            KeyboardInterrupt: if there was one, after what was at work is stored.
        """
        with contextlib.closing(self._finished(pieces, self.compute)) as jobs:
            for (chunk, _), job in jobs:
                try:
                    yield chunk, self._outcome(job, lambda error: error)
                except concurrent.futures.CancelledError:  # not by us: those who had it are gone
                    self.interrupted = True
        if self.interrupt is not None:
            raise self.interrupt

    def _outcome(self, job: concurrent.futures.Future[T], told: Callable[[Exception], S]) -> T | S:
        """The result of a job; what a worker elsewhere fails of is told, what is wrong with the input or the folder is raised."""
        try:
            return job.result()
        except (InputError, OSError, concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError):
            raise
        except Exception as error:
            if not self.away:
                raise
            return told(error)

    def _refused(self, error: Exception) -> NoReturn:
        """Say why nobody can begin."""
        raise InputError(
            f"no worker can take the sweep ({type(error).__name__}: {error}): all need the same versions of lsa-jax and Python, "
            "and models and terms of one's own must be importable there"
        ) from None

    def _finished(self, items: Iterable[tuple[Any, ...]], work: Callable[..., T]) -> Generator[tuple[Any, concurrent.futures.Future[T]]]:
        """What was asked for as it finishes; once stopped, what was not begun is given up, and what was is waited for."""
        finished = queue.SimpleQueue[concurrent.futures.Future[T]]()
        waiting: dict[concurrent.futures.Future[T], tuple[Any, ...]] = {}
        try:
            for item in items:
                job = self.executor.submit(work, *item)
                waiting[job] = item
                job.add_done_callback(finished.put)
            while waiting:
                if self._stopped():
                    _give_up(waiting)
                job = self._next(finished)
                if job in waiting:
                    yield waiting.pop(job), job
        finally:
            _give_up(waiting)

    def _next(self, finished: queue.SimpleQueue[T]) -> T | None:
        """What finished first, or nothing so far; a first interruption is kept for later."""
        try:
            return finished.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        except KeyboardInterrupt as interrupt:
            if self.interrupt is not None:
                raise
            self.interrupt = interrupt
            return None

    def _stopped(self) -> bool:
        """Whether to end early; if so that is noted."""
        self.interrupted |= self.interrupt is not None or self.stop()
        return self.interrupted


def _give_up(waiting: dict[concurrent.futures.Future[T], Any]) -> None:
    """Cancel what was not begun, and forget it."""
    for job in [job for job in waiting if job.cancel()]:
        del waiting[job]
