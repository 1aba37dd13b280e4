"""Records on disk: written whole or not at all, with the settings and the environment they came from."""

import contextlib
import errno
import importlib.metadata
import json
import os
import platform
import secrets
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lsa_jax import precision
from lsa_jax.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFEST = "run.json"
PARTIAL = ".*.partial"
RUN_FILES = (MANIFEST, "params/*.npz", "*.parquet", "*.csv", "figure.pdf", "figure.png", PARTIAL, f"params/{PARTIAL}")
"""What a run writes in its folder, and so what may be deleted when another one replaces it."""


class FolderConflictError(InputError):
    """An output folder holds something that a run must not overwrite."""


def claim_folder(out: Path, settings: Mapping[str, Any], *, force: bool | None = None, files: tuple[str, ...] = RUN_FILES) -> bool:
    """Make `out` the folder of a run with these settings, or find the same run begun there.

    Args:
        out: the folder; made if it does not exist.
        settings: what determines the run's numbers.
        force: delete what another run left there instead of refusing; files that no run writes are never deleted. None where users
            have no such choice.
        files: patterns of what a run writes there.

    Returns:
        True if the same run was begun there before, so that its finished parts can be used.

    Raises:
        FolderConflictError: if the folder holds another run and `force` is not set, or files that no run wrote.
        OSError: if the folder cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise FolderConflictError(f"{out} is a file; --out must name a folder")
    recorded = _recorded_settings(out / MANIFEST)
    if recorded == dict(settings):
        return True
    written = {path for pattern in files for path in out.glob(pattern)}
    foreign = [path for path in out.rglob("*") if path.is_file() and path not in written]
    if foreign or (written and recorded is None and not all(path.match(PARTIAL) for path in written)):
        example = (foreign or sorted(written))[0].relative_to(out)
        raise FolderConflictError(f"{out} holds files that are no run's ({example}): choose another --out")
    if recorded is not None and not force:
        choice = "" if force is None else ", or --force to replace it"
        raise FolderConflictError(f"{out} {_difference(recorded, settings)}: choose another --out{choice}")
    for path in written:
        path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    save_json(out / MANIFEST, {"settings": dict(settings), "environment": environment(), "finished": False})
    return False


def writable_folder(out: Path) -> Path:
    """Make a folder, and see before anything is computed for it that files can be written there.

    Args:
        out: the folder; `~` stands for the home folder.

    Returns:
        The folder.

    Raises:
        OSError: if it cannot be made or written in.
    """
    folder = out.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return folder


def environment() -> dict[str, Any]:
    """Return what a number's reader needs to repeat it: versions, devices and precision.

    Returns:
        A dictionary of strings, numbers and lists.
    """
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "optax", "numpy", "lsa-jax")}
    (device,) = jnp.zeros(()).devices()
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "platform": device.platform,
        "device": device.device_kind,
        "num_devices": jax.local_device_count(device.platform),
        "x64": jnp.zeros(()).dtype == jnp.float64,
        "matmul_precision": precision.current(),
    }


def save_json(path: Path, content: Mapping[str, Any], *, replace: bool = True) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: the file.
        content: what to write.
        replace: replace the file if it is there; else of several processes that make it at once the first one does.
    """
    with replacing(path, replace=replace) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.
    """
    return json.loads(path.read_text())


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays to an npz file, whole or not at all.

    Args:
        path: the file.
        arrays: the arrays by name.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(file, **named)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of an npz file.

    Args:
        path: the file.

    Returns:
        The arrays by name; None if the file cannot be read, so that its content is computed again.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return dict(archive)
    except (ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table to `path` with the suffixes .parquet and .csv, each whole or not at all.

    Args:
        path: the file without its suffix.
        table: the table.
    """
    with replacing(path.with_suffix(".parquet")) as temporary, temporary.open("wb") as file:
        table.to_parquet(file, index=False)
    with replacing(path.with_suffix(".csv")) as temporary:
        table.to_csv(temporary, index=False)


def save_figure(path: Path, figure: "Figure") -> None:
    """Write a figure to `path` with the suffixes .pdf and .png, each whole or not at all, and the same bytes for the same figure.

    Args:
        path: the file without its suffix.
        figure: the figure.
    """
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with replacing(path.with_suffix(f".{suffix}")) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata, dpi=300, bbox_inches="tight")


@contextlib.contextmanager
def replacing(path: Path, *, replace: bool = True) -> Generator[Path]:
    """Yield a temporary name to write to; then make it durable and give it its name in one step.

    Args:
        path: the file to make or replace.
        replace: replace the file if it is there; else keep it.

    Yields:
        The temporary name, in the same folder, unlike that of any other process. It is deleted if writing fails.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        _flush(temporary)
        if replace or not _link(temporary, path):
            temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a loss of power; some network mounts have no way to ask that of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> bool:
    """Give a file a second name unless the name is taken; False where the file system has no such links."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def _recorded_settings(manifest: Path) -> dict[str, Any] | None:
    """Settings of the run a manifest describes; None where there is no readable one."""
    try:
        settings = load_json(manifest)["settings"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def _difference(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What the two runs differ in, in a few words."""
    there, asked = _by_name(recorded), _by_name(settings)
    names = sorted(name for name in {*there, *asked} if there.get(name) != asked.get(name))
    changes = ", ".join(f"{name} {there.get(name)!r} there, {asked.get(name)!r} asked" for name in names)
    return f"holds a different run ({changes})"


def _by_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Single settings, those of a part under the part's name and their own."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return found
