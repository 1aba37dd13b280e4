"""Files of finished chunks: written whole or not at all, each with a checksum of all its bytes in its name."""

import concurrent.futures
import contextlib
import io
import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.sweeps.records import COUNTS_KEY, DIGEST_KEY, FORMAT_KEY, NAME, READABLE, ROWS_KEY, Chunk

Tally = dict[str, int]
Rows = Sequence[Sequence[float]]
"""For each lineage of a chunk: its cells, those that diverged, and those above the minimum."""


def save(folder: Path, chunk: Chunk, table: pa.Table) -> None:
    """Write a chunk's records, whole or not at all.

    Args:
        folder: folder of the chunks.
        chunk: the chunk.
        table: the records. Chunks are many and small: statistics of each column and a stronger compression would cost more time to read
            than they save.
    """
    texts = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", use_dictionary=texts, write_statistics=False)
    content = buffer.getvalue()
    with store.replacing(folder / f"{chunk.name}-{zlib.crc32(content):08x}.parquet") as temporary:
        temporary.write_bytes(content)


def counts(path: Path, digests: Collection[str]) -> Rows | None:
    """Return what the records of a chunk's file count, for each lineage: cells, cells that diverged, cells above the minimum.

    Args:
        path: the file.
        digests: the sweeps it may belong to.

    Returns:
        The counts; None if the file is cut short or damaged, so that it is computed again.

    Raises:
        ValueError: if it was written in another format, or by another sweep.
        FileNotFoundError: if it is gone.
    """
    try:
        content = _intact(path)
        metadata = pq.read_metadata(pa.BufferReader(content)).metadata or {}
    except (pa.ArrowInvalid, InputError):
        return None
    except OSError as error:
        if error.errno is not None:
            raise
        return None
    _require_ours(path, metadata, digests)
    return _by_lineage(metadata, Chunk.of(path))


def load(paths: Sequence[Path], digests: Collection[str]) -> pa.Table:
    """Read the records of chunks; lineages that two files hold are taken from one of them.

    Args:
        paths: the files of the chunks.
        digests: the sweeps they may belong to.

    Returns:
        All records.

    Raises:
        ValueError: if a file is cut short or damaged, of another format, or of another sweep.
    """
    named = {chunk: path for path in sorted(paths) if (chunk := Chunk.of(path))}
    wanted = [(named[chunk], new - chunk.first) for chunk, new in disjoint(named)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        tables = threads.map(lambda part: read(*part, digests), wanted)
        return pa.concat_tables(tables, promote_options="default").unify_dictionaries()


def total(found: Mapping[Chunk, Rows]) -> Tally:
    """Return what chunks count together, lineages that two of them hold counted once.

    Args:
        found: the counts of each lineage by chunk.

    Returns:
        `cells`, `diverged` and `above_minimum`.
    """
    rows = [row for chunk, new in disjoint(found) for row in found[chunk][new - chunk.first :]]
    sums = [round(sum(column)) for column in zip(*rows, strict=True)] if rows else [0, 0, 0]
    return dict(zip(("cells", "diverged", "above_minimum"), sums, strict=True))


def makers(paths: Iterable[Path]) -> list[str]:
    """Return the versions and devices that computed chunks, each once: several agree to rounding only.

    Args:
        paths: the files of the chunks.

    Returns:
        One line for each.
    """
    found = set()
    for path in paths:
        with contextlib.suppress(pa.ArrowInvalid, OSError):
            told = json.loads((pq.read_metadata(pa.BufferReader(path.read_bytes())).metadata or {})[b"lsa_jax.environment"])
            versions = told["versions"]
            found.add(f"lsa-jax {versions['lsa-jax']}, jax {versions['jax']}, jaxlib {versions['jaxlib']}, {told['device']}")
    return sorted(found)


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


def clipped(found: Mapping[Chunk, Rows], parts: Sequence[tuple[int, int]]) -> dict[Chunk, Rows]:
    """Return the counts of the lineages that lie in a process's parts of the groups.

    Args:
        found: the counts of each lineage by chunk.
        parts: the first lineage and the one after the last, by group.

    Returns:
        The counts by chunk, cut to the parts.
    """
    cut = {}
    for chunk, rows in found.items():
        first, last = max(chunk.first, parts[chunk.group][0]), min(chunk.last, parts[chunk.group][1])
        if first < last:
            cut[Chunk(chunk.group, first, last)] = rows[first - chunk.first : last - chunk.first]
    return cut


def tally(table: pa.Table) -> Tally:
    """Return what the records of a chunk count: cells, and how many diverged or started above the minimum."""
    return {name: count for name, count in json.loads(table.schema.metadata[COUNTS_KEY]).items() if name != "flagged"}


def _by_lineage(metadata: Mapping[bytes, bytes], chunk: Chunk | None) -> list[list[float]]:
    """The counts of each lineage; of the first format, which has them for the chunk alone, as shares."""
    told = json.loads(metadata[COUNTS_KEY])
    lineages = chunk.last - chunk.first if chunk else 1
    flagged = told.get("flagged") or [[told[name] / lineages for name in ("diverged", "above_minimum")]] * lineages
    return [[told["cells"] / lineages, *map(float, flags)] for flags in flagged]


def _intact(path: Path) -> bytes:
    """The bytes of a file, if they are those that its name gives the checksum of."""
    content = path.read_bytes()
    match = NAME.fullmatch(path.name)
    written = match[4] if match else None
    if written is not None and int(written, 16) != zlib.crc32(content):
        raise InputError(f"{path} is damaged (its checksum differs)")
    return content


def read(path: Path, skipped: int, digests: Collection[str]) -> pa.Table:
    """Return the records of one chunk after those of its first lineages.

    Args:
        path: the file.
        skipped: number of lineages to leave out.
        digests: the sweeps it may belong to.

    Returns:
        The records.

    Raises:
        ValueError: if the file is cut short or damaged, of another format, or of another sweep.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(_intact(path))).read(use_threads=False)
    except (pa.ArrowInvalid, OSError, InputError) as error:
        raise InputError(f"{path} is cut short or damaged ({error}): run the sweep again, which computes it again") from None
    _require_ours(path, table.schema.metadata or {}, digests)
    return table.slice(skipped * int(table.schema.metadata[ROWS_KEY]))


def _require_ours(path: Path, metadata: Mapping[bytes, bytes], digests: Collection[str]) -> None:
    """Refuse a file of a record format that cannot be read, or of another sweep."""
    written = metadata.get(FORMAT_KEY, b"none").decode()
    if written not in map(str, READABLE):
        raise InputError(f"{path} has record format {written}, this version reads {READABLE[-1]}: use another --out, or that version")
    if metadata[DIGEST_KEY].decode() not in digests:
        raise InputError(f"{path} belongs to another sweep: move it away, or use another --out")
