"""The folder of a sweep: a manifest, one file a finished chunk, one note a failed one. What is done is what has its name."""

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.sweeps import records, stored_spec
from lsa_jax.sweeps.chunks import Rows, counts, disjoint
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec, digest_of

MANIFEST = "sweep.json"
STALE_SECONDS = 3600.0
"""Age from which a half-written file is taken for what a killed process left."""


@dataclasses.dataclass(frozen=True)
class Folder:
    """Where a sweep is kept."""

    out: Path

    @property
    def chunks(self) -> Path:
        """Folder of the finished chunks."""
        return self.out / "chunks"

    @property
    def params(self) -> Path:
        """Folder of trained parameters, if they are saved."""
        return self.out / "params"

    def params_of(self, chunk: Chunk) -> Path:
        """File of the trained parameters of a chunk."""
        return self.params / f"{chunk.name}.npz"

    @property
    def failed(self) -> Path:
        """Folder of the notes on failed chunks."""
        return self.out / "failed"

    def claim(self, spec: Spec, cells: int) -> None:
        """Make this the folder of a sweep, or find the same sweep begun there.

        Args:
            spec: the sweep.
            cells: number of its cells.

        Raises:
            ValueError: if it holds another sweep, or something else.
            OSError: if it cannot be written.
        """
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{self.out} is a file; --out must name a folder")
        if not self.exists():
            self._require_free(spec)
            self.out.mkdir(parents=True, exist_ok=True)
            self._write(spec, cells)
        found = self.manifest()
        if found["format"] != records.FORMAT:
            raise InputError(
                f"{self.out} holds a sweep of record format {found['format']}, which can be read but not gone on with by this version "
                f"(format {records.FORMAT}): choose another --out, or go on with the version that wrote it"
            )
        if found["digest"] in stored_spec.digests(spec.as_dict())[:-1]:
            self._write(spec, cells, replace=True)
        elif found["digest"] != spec.digest:
            changes = _difference(found["spec"], spec.as_dict())
            raise InputError(f"{self.out} holds a different sweep ({changes}): choose another --out, or --extend this one")
        for folder in (self.chunks, self.failed):
            folder.mkdir(exist_ok=True)
        self._sweep_up()

    def _require_free(self, spec: Spec) -> None:
        """Refuse a folder of other files; what this very sweep has left there is none, though its manifest was lost."""
        own = {self.chunks.name, self.params.name, self.failed.name}
        foreign = [path.name for path in self.out.glob("*") if not path.name.startswith(".") and path.name not in own]
        if foreign and not self.exists():
            raise InputError(f"{self.out} holds files that are no sweep's ({foreign[0]}): choose another --out")
        for path in self.chunks.glob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):
                counts(path, {spec.digest})

    def require(self, spec: Spec) -> None:
        """Refuse to work where this is not the folder of a sweep, as on a machine that does not see it.

        Args:
            spec: the sweep.

        Raises:
            ValueError: if so.
        """
        if not self.exists():
            raise InputError(f"{socket.gethostname()} sees no sweep in {self.out}: workers need the folder, on storage that all share")
        if spec.digest not in self.digests():
            raise InputError(f"{self.out} holds another sweep by now: choose another --out")

    def exists(self) -> bool:
        """Return whether there is a sweep."""
        return (self.out / MANIFEST).exists()

    def digests(self) -> tuple[str, ...]:
        """Return the hashes of the sweep here, and of those it has grown from."""
        manifest = self.manifest()
        return *stored_spec.digests(manifest["spec"])[:-1], manifest["digest"]

    def manifest(self) -> dict[str, Any]:
        """Return what the folder says it is.

        Returns:
            Its manifest.

        Raises:
            ValueError: if it is not a sweep's folder, or of another record format.
        """
        try:
            content = store.load_json(self.out / MANIFEST)
            found = content["format"], content["digest"], content["spec"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.out} is not the folder of a sweep (no readable {MANIFEST}): give the --out of `lsa-jax sweep`"
            ) from None
        if found[0] not in records.READABLE:
            newest = records.READABLE[-1]
            raise InputError(f"{self.out} has record format {found[0]}, this version reads {newest}: use the version that wrote it")
        if found[0] == records.FORMAT and not _untouched(content):
            raise InputError(
                f"{self.out / MANIFEST} was edited or damaged: remove it and run the sweep again, which goes on from its finished chunks"
            )
        return content

    def _write(self, spec: Spec, cells: int, *, replace: bool = False) -> None:
        """Say what the folder holds."""
        content = {"format": records.FORMAT, "digest": spec.digest, "cells": cells, "spec": spec.as_dict()}
        store.save_json(self.out / MANIFEST, {**content, "environment": store.environment()}, replace=replace)

    def finished(self) -> tuple[dict[Chunk, Rows], list[Path]]:
        """Return the finished chunks with their counts, and the files that are cut short or damaged.

        Returns:
            Counts of each lineage by chunk, and damaged files.
        """
        whole, damaged, ours = dict[Chunk, Rows](), list[Path](), self.digests()
        for path in sorted(self.chunks.glob("*.parquet")):
            chunk = Chunk.of(path)
            if chunk is None:
                continue
            try:
                found = counts(path, ours)
            except FileNotFoundError:  # another process found it damaged and is computing it again
                continue
            if found is None:
                damaged.append(path)
            else:
                whole[chunk] = found
        return whole, damaged

    def note_failure(self, chunk: Chunk, error: BaseException) -> None:
        """Record that a chunk failed; it is tried again when the sweep is run again."""
        text = f"{type(error).__name__}: {error}"
        store.save_json(self._note(chunk), {"lineages": dataclasses.astuple(chunk), "error": text})

    def failures(self) -> dict[Chunk, str]:
        """Return the failed chunks and their errors."""
        found = {}
        for path in sorted(self.failed.glob("*.json")):
            chunk = Chunk.of(path)
            with contextlib.suppress(FileNotFoundError):  # another process tries it again
                if chunk is not None:
                    found[chunk] = _error_of(path)
        return found

    def clear_failures(self, chunks: Iterable[Chunk]) -> None:
        """Forget failures, before what failed is tried again."""
        for chunk in chunks:
            self._note(chunk).unlink(missing_ok=True)

    def _note(self, chunk: Chunk) -> Path:
        """The note on a failed chunk."""
        return self.failed / f"{chunk.name}.json"

    def _sweep_up(self) -> None:
        """Delete what processes killed long ago left half-written."""
        for path in self.out.rglob(store.PARTIAL):
            try:
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue


def remaining(group: Group, done: list[Chunk], first: int, last: int) -> list[Chunk]:
    """Return what is left to do of a range of a group's lineages.

    Args:
        group: the group.
        done: finished chunks of any group.
        first: the first lineage of the range.
        last: the one after its last.

    Returns:
        The gaps, in order.

    Example:
        >>> from lsa_jax.sweeps import plan, spec
        >>> (group,) = plan.plan(spec.read({"seed": "0:10"}))
        >>> [(gap.first, gap.last) for gap in remaining(group, [Chunk(0, 2, 5)], 0, 10)]
        [(0, 2), (5, 10)]
    """
    gaps, reached = [], first
    for chunk, new in disjoint(chunk for chunk in done if chunk.group == group.number):
        if new > reached:
            gaps.append(Chunk(group.number, reached, min(new, last)))
        reached = max(reached, chunk.last)
    if reached < last:
        gaps.append(Chunk(group.number, reached, last))
    return [gap for gap in gaps if gap.first < gap.last]


def _untouched(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is as it was written, by the hash that it holds."""
    told = manifest["spec"]
    return isinstance(manifest.get("cells"), int) and isinstance(told, dict) and digest_of(told) == manifest["digest"]


def _error_of(note: Path) -> str:
    """What a note on a failed chunk says."""
    try:
        return str(store.load_json(note)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{note} cannot be read"


def _difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """What two specs differ in, in a few words."""

    def flat(spec: Mapping[str, Any]) -> dict[str, str]:
        blocks = {f"{name} of cells {place}": value for place, block in enumerate(spec["cells"]) for name, value in block.items()}
        return {name: json.dumps(value) for name, value in {**blocks, **{key: spec[key] for key in spec if key != "cells"}}.items()}

    one, other = flat(there), flat(asked)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    shown = [f"{name.removesuffix(' of cells 0')} {one.get(name, 'none')} there, {other.get(name, 'none')} asked" for name in names[:4]]
    return ", ".join(shown) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
