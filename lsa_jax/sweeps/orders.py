"""A sweep as it is sent to other processes, and what is asked of them there."""

import dataclasses
import functools
import importlib.metadata
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lsa_jax.errors import InputError
from lsa_jax.sweeps import stored_spec
from lsa_jax.sweeps.chunks import Tally
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.worker import Devices, Worker


@dataclasses.dataclass(frozen=True)
class Order:
    """A sweep as it is sent to other processes: plain data, and the objects of which the data only hold the names.

    Args:
        token: names this run of the sweep, so that a process plans and compiles it once.
        version: version of the library that sends it.
        digest: the hash of the spec.
        told: the spec.
        objects: own laws, models and terms by name.
        out: the folder.
        options: the other fields of a `Worker`.
    """

    token: str
    version: str = dataclasses.field(compare=False)
    digest: str = dataclasses.field(compare=False)
    told: Mapping[str, Any] = dataclasses.field(compare=False)
    objects: Mapping[str, Any] = dataclasses.field(compare=False)
    out: Path = dataclasses.field(compare=False)
    options: Mapping[str, Any] = dataclasses.field(compare=False)

    @classmethod
    def of(cls, worker: Worker) -> "Order":
        """Return what a process needs to work as another would."""
        spec, out = worker.spec, worker.folder.out.absolute()
        options: dict[str, Any] = {name: getattr(worker, name) for name in ("seed_batch", "save_params", "device")}
        options["trained"] = worker.trained and worker.trained.absolute()
        return cls(uuid.uuid4().hex, _version(), spec.digest, spec.as_dict(), spec.objects, out, options)


def devices_there(order: Order) -> Devices:
    """Return the devices of the process that is asked, once it has planned the sweep."""
    return _worker(order).devices


def compute_there(order: Order, chunk: Chunk, size: int) -> Tally:
    """Train, measure and store a chunk in the process that is asked; see `Worker.compute`."""
    return _worker(order).compute(chunk, size)


@functools.lru_cache(maxsize=1)
def _worker(order: Order) -> Worker:
    """This process as a worker, the same for all chunks of a run."""
    if order.version != _version():
        raise InputError(
            f"the worker on {socket.gethostname()} has lsa-jax {_version()}, the sweep was sent by {order.version}: install one version"
        )
    spec = stored_spec.restored(order.told, order.objects)
    if spec.digest != order.digest:
        raise InputError(f"the worker on {socket.gethostname()} reads another spec than was sent: install one version of lsa-jax")
    return Worker(spec, Folder(order.out), **order.options)


def _version() -> str:
    """The version of the library."""
    return importlib.metadata.version("lsa-jax")
