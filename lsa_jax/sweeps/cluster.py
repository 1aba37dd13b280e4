"""Workers of a running Dask scheduler as an executor; needs the extra `cluster`."""

import concurrent.futures
import contextlib
import re
from collections.abc import Generator

from lsa_jax.errors import InputError

CONNECT_SECONDS = 10
RETRIES = 3
"""Times that what failed on one worker is tried again, on it or another; what dies with its worker is, without counting."""

ADDRESS = re.compile(r"(tcp|tls)://.+:\d+")


@contextlib.contextmanager
def executor(address: str | None) -> Generator[concurrent.futures.Executor | None]:
    """Have the workers of a Dask scheduler compute.

    Args:
        address: `tcp://HOST:PORT` of the scheduler; None for nobody but this process.

    Yields:
        The executor; None for this process.

    Raises:
        ValueError: if no scheduler answers there, or the extra is missing.
    """
    if address is None:
        yield None
        return
    if not ADDRESS.fullmatch(address):
        raise InputError(f"--scheduler got {address!r}; it must be tcp://HOST:PORT as `dask scheduler` prints it")
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask: pip install 'lsa-jax[cluster]', here and for every worker") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except OSError:
        raise InputError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, and give the address it prints"
        ) from None
    with client, client.get_executor(pure=False, retries=RETRIES) as workers:
        yield workers
