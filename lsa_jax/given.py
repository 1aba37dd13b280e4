"""Arrays, files of arrays and Python objects that stand in a spec where a text could: kept with a name made from their content."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lsa_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Given:
    """A value and the name it has in records and manifests; equal names stand for equal contents."""

    label: str
    value: Any = dataclasses.field(compare=False, repr=False)

    def __str__(self) -> str:
        """The name."""
        return self.label


def given(kind: str, value: Any) -> Given:
    """Name a value by its content.

    Args:
        kind: what it is, the first part of the name.
        value: an array, nested lists of numbers, a table of these, `{file = "laws.npz"}` for a table read from a file (with `name` for one
            array of it), or a Python object that is a pytree.

    Returns:
        The value, read, and named.

    Raises:
        ValueError: if the file cannot be read, or entries are no numbers.

    Example:
        >>> given("matrix", [[2.0, 0.0], [0.0, 1.0]]).label == given("matrix", np.diag([2.0, 1.0])).label
        True
    """
    if isinstance(value, Given):
        return value
    read = _read(kind, value)
    leaves, structure = jax.tree.flatten(read)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.shape}{array.dtype.kind}".encode() + array.tobytes())
    return Given(label=f"{kind}:{digest.hexdigest()[:10]}", value=read)


def _read(kind: str, value: Any) -> Any:
    """The arrays a value stands for; an object as it is."""
    if isinstance(value, Mapping):
        if "file" in value:
            arrays = _file(Path(value["file"]))
            name = value.get("name")
            if name is not None and name not in arrays:
                raise InputError(f"{value['file']} has no array {name!r}; it has {', '.join(arrays)}")
            return arrays if name is None else arrays[name]
        return {name: _array(f"{kind} {name}", entry) for name, entry in value.items()}
    return _array(kind, value) if isinstance(value, Sequence | np.ndarray | jax.Array) else value


def _array(name: str, value: Any) -> np.ndarray:
    """Numbers as an array in double precision."""
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds entries that are no numbers, or rows of several lengths; it must be an array of numbers") from None


def _file(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file."""
    try:
        with np.load(path.expanduser()) as archive:
            return {name: archive[name].astype(np.float64) for name in archive.files}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as an npz file of arrays ({error})") from None
