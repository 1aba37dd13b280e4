"""Records of a sweep in long form: one row an error, one Parquet file a finished chunk."""

import concurrent.futures
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.sweeps.compiled import Outcome
from lsa_jax.sweeps.plan import TRACED, Group
from lsa_jax.sweeps.spec import TEST_TASKS, Spec

FORMAT = 1
"""Version of the record format; raised whenever columns or their meaning change."""

METRICS = ("risk", "optimum_risk", "simulated_risk", "standard_error")
NAME = re.compile(r"group-(\d+)-lineages-(\d+)-(\d+)\.parquet")
FORMAT_KEY, DIGEST_KEY, ROWS_KEY, COUNTS_KEY = b"lsa_jax.format", b"lsa_jax.spec", b"lsa_jax.rows_per_lineage", b"lsa_jax.counts"


@dataclasses.dataclass(frozen=True, order=True)
class Chunk:
    """Consecutive lineages of a group, from `first` to before `last`: what is trained in one call and stored in one file."""

    group: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"group-{self.group:05d}-lineages-{self.first:09d}-{self.last:09d}.parquet"

    @classmethod
    def of(cls, path: Path) -> "Chunk | None":
        """Return the chunk a file is named for; None if it is no chunk's."""
        match = NAME.fullmatch(path.name)
        return cls(*map(int, match.groups())) if match else None


def to_table(spec: Spec, group: Group, chunk: Chunk, outcome: Outcome) -> pa.Table:
    """Lay out what was measured of a chunk as records.

    Args:
        spec: the sweep.
        group: the group of the chunk.
        chunk: the chunk.
        outcome: what it came to, with at least as many lineages as the chunk has.

    Returns:
        Columns for every axis, `test_task`, `cosine`, `evaluation_shots`, `metric`, `value`, `diverged` and `above_minimum`; its metadata
        tell the format, the sweep and the environment.
    """
    count = chunk.last - chunk.first
    found = [outcome.measured[group.model_of(*branch)] for branch in group.branches]
    metrics = [name for name in METRICS if getattr(found[0], name) is not None]
    values = np.stack([np.stack([np.asarray(getattr(one, name)) for name in metrics], axis=1) for one in found], axis=1)[:count]
    diverged = np.stack([np.asarray(one.diverged) for one in found], axis=1)[:count]
    missed = np.asarray(outcome.above_minimum)[:count]
    shape = values.shape

    def along(axis: int, entries: np.ndarray) -> np.ndarray:
        outer, inner = (np.newaxis,) * axis, (np.newaxis,) * (len(shape) - axis - entries.ndim)
        return np.broadcast_to(entries[(*outer, ..., *inner)], shape).ravel()

    def texts(axis: int, entries: list[str]) -> pa.DictionaryArray:
        known = list(dict.fromkeys(entries))
        return pa.DictionaryArray.from_arrays(along(axis, np.array([known.index(entry) for entry in entries], np.int32)), known)

    def constant(value: Any) -> Any:
        return texts(0, [value] * count) if isinstance(value, str) else np.full(values.size, value)

    rows = group.lineages.iloc[chunk.first : chunk.last]
    columns: dict[str, Any] = {"regime": texts(1, [regime for regime, _ in group.branches])}
    columns |= {name: constant(value) for name, value in group.shared.items()}
    columns |= {name: along(0, rows[name].to_numpy()) for name in TRACED}
    columns |= {
        "fine_tuning_shots": along(1, np.array([shots for _, shots in group.branches])),
        "test_task": texts(3, [task_name(cosine) for cosine in spec.cosines]),
        "cosine": along(3, np.array(spec.cosines)),
        "evaluation_shots": along(4, np.array(spec.evaluation_shots)),
        "metric": texts(2, metrics),
        "value": values.ravel(),
        "diverged": along(0, diverged),
        "above_minimum": along(0, missed),
    }
    lost = {"diverged": int(diverged.sum()), "above_minimum": int(missed.sum()) * len(found)}
    return pa.table(columns).replace_schema_metadata({
        FORMAT_KEY: str(FORMAT),
        DIGEST_KEY: spec.digest,
        ROWS_KEY: str(values[0].size),
        COUNTS_KEY: json.dumps({"cells": diverged.size, **lost}),
        b"lsa_jax.environment": json.dumps(store.environment()),
    })


def task_name(cosine: float) -> str:
    """Return the name of a test task: `target`, `opposite`, or its cosine to the target task."""
    named = {value: name for name, value in TEST_TASKS.items()}
    return named.get(cosine, f"cosine {cosine:g}")


def save(path: Path, table: pa.Table) -> None:
    """Write a chunk's records, whole or not at all.

    Args:
        path: the file.
        table: the records. Chunks are many and small: statistics of each column and a stronger compression would cost more time to read
            than they save.
    """
    texts = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    with store.replacing(path) as temporary:
        pq.write_table(table, temporary, compression="snappy", use_dictionary=texts, write_statistics=False)


def tally(table: pa.Table) -> dict[str, int]:
    """Return what the records of a chunk count: cells, and how many diverged or started above the minimum."""
    return json.loads(table.schema.metadata[COUNTS_KEY])


def counts(path: Path, digest: str) -> dict[str, int] | None:
    """Return the `tally` of a chunk's file, from its footer alone.

    Args:
        path: the file.
        digest: the sweep it must belong to.

    Returns:
        The counts; None if the file is cut short or damaged, so that it is computed again.

    Raises:
        ValueError: if it was written in another format, or by another sweep.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return None
    _require_ours(path, metadata, digest)
    return json.loads(metadata[COUNTS_KEY])


def load(paths: Sequence[Path], digest: str) -> pa.Table:
    """Read the records of chunks; lineages that two files hold are taken from one of them.

    Args:
        paths: the files of the chunks.
        digest: the sweep they must belong to.

    Returns:
        All records.

    Raises:
        ValueError: if a file is cut short or damaged, of another format, or of another sweep.
    """
    named = {chunk: path for path in paths if (chunk := Chunk.of(path))}
    wanted = [(named[chunk], new - chunk.first) for chunk, new in disjoint(named)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        return pa.concat_tables(threads.map(lambda part: _read(*part, digest), wanted)).unify_dictionaries()


def _read(path: Path, skipped: int, digest: str) -> pa.Table:
    """The records of one chunk after those of its first lineages."""
    try:
        table = pq.ParquetFile(path).read(use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is cut short or damaged ({error}): run the sweep again, which computes it again") from None
    _require_ours(path, table.schema.metadata or {}, digest)
    return table.slice(skipped * int(table.schema.metadata[ROWS_KEY]))


def _require_ours(path: Path, metadata: Mapping[bytes, bytes], digest: str) -> None:
    """Refuse a file of another record format, or of another sweep."""
    written = metadata.get(FORMAT_KEY, b"none").decode()
    if written != str(FORMAT):
        raise InputError(f"{path} has record format {written}, this version reads {FORMAT}: use another --out, or that version")
    if metadata[DIGEST_KEY].decode() != digest:
        raise InputError(f"{path} belongs to another sweep: move it away, or use another --out")


def covered(chunks: list[Chunk], cells: Mapping[Chunk, int]) -> int:
    """Return how many cells chunks hold together, those that two of them hold counted once.

    Args:
        chunks: the chunks.
        cells: number of cells of each.

    Returns:
        The number.
    """
    return sum(cells[chunk] * (chunk.last - new) // (chunk.last - chunk.first) for chunk, new in disjoint(chunks))


def disjoint(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, int]]:
    """Walk through chunks that may overlap so that each lineage is met once.

    Args:
        chunks: the chunks.

    Yields:
        Each chunk that holds a lineage which none before it holds, and the first such lineage.

    Example:
        >>> [(chunk.last, new) for chunk, new in disjoint([Chunk(0, 0, 4), Chunk(0, 2, 6), Chunk(0, 3, 5)])]
        [(4, 0), (6, 4)]
    """
    group, reached = -1, 0
    for chunk in sorted(chunks):
        reached = max(reached, chunk.first) if chunk.group == group else chunk.first
        group = chunk.group
        if chunk.last > reached:
            yield chunk, reached
            reached = chunk.last
