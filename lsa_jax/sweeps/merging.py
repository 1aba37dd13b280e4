"""Several folders of sweeps as one: their records, each cell once, under the plan of all their sweeps together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.sweeps import chunks, extension, records, stored_spec
from lsa_jax.sweeps import plan as planning
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.records import Chunk
from lsa_jax.sweeps.spec import Spec


def merge_sweeps(folders: Sequence[str | Path], out: str | Path) -> tuple[int, int]:
    """Copy what several folders hold into one, which can be loaded, plotted and extended as if one run had made it.

    Args:
        folders: the folders; of what several hold the first one's is taken.
        out: the folder to make, or to go on with.

    Returns:
        Cells that are there, and cells that the sweeps have together.

    Raises:
        ValueError: if a folder is not a sweep's, they are of several record formats, measure otherwise or in another floating type, call
            different regimes by one name, or hold laws or models of one's own.
        OSError: if the folder cannot be written.

    Example:
        >>> import tempfile, lsa_jax as lsa
        >>> grid = {"dim": 2, "regime": "value", "gradient": "closed_form"}
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for seeds in ("0:4", "2:6"):
        ...         _ = lsa.run_sweep({**grid, "seed": seeds}, f"{place}/{seeds[0]}")
        ...     lsa.merge_sweeps([f"{place}/0", f"{place}/2"], f"{place}/both")
        (6, 6)
    """
    if len(folders) < 2:
        raise InputError(f"merge got {len(folders)} folders; it takes two at least")
    sources = [Folder(Path(folder).expanduser()) for folder in folders]
    read = [_sweep_of(source) for source in sources]
    whole = read[0][0]
    for source, (one, _) in zip(sources[1:], read[1:], strict=True):
        for asked in one.history:
            whole = extension.grown(source, whole, asked)
    target, groups = Folder(Path(out).expanduser()), planning.plan(whole)
    total = sum(group.num_cells for group in groups)
    target.claim(whole, total)
    filled = {group.number: np.zeros(len(group.lineages), bool) for group in groups}
    for chunk in target.finished()[0]:
        filled[chunk.group][chunk.first : chunk.last] = True
    for source, (_, theirs) in zip(sources, read, strict=True):
        _copy(source, theirs, target, whole, groups, filled)
    return sum(int(filled[group.number].sum()) * len(group.cells) for group in groups), total


def _sweep_of(folder: Folder) -> tuple[Spec, list[Group]]:
    """The sweep of a folder, and its plan."""
    manifest = folder.manifest()
    if manifest["format"] != records.FORMAT:
        raise InputError(f"{folder.out} has record format {manifest['format']}; only folders of format {records.FORMAT} can be merged")
    try:
        spec = stored_spec.restored(manifest["spec"], {})
        return spec, planning.plan(spec)
    except InputError as error:
        raise InputError(f"{folder.out} cannot be merged ({error}): laws, models and terms of one's own are not in a folder") from None


def _copy(
    source: Folder, theirs: Sequence[Group], target: Folder, whole: Spec, ours: Sequence[Group], filled: dict[int, np.ndarray]
) -> None:
    """Copy what is not yet there of one folder."""
    whole_chunks, digests = source.finished()[0], source.digests()
    for path in sorted(source.chunks.glob("*.parquet")):
        chunk = Chunk.of(path)
        if chunk not in whole_chunks:
            continue
        group, table = theirs[chunk.group], chunks.read(path, 0, digests)
        rows = pd.MultiIndex.from_frame(group.lineages.iloc[chunk.first : chunk.last])
        for other in ours:
            if other.setting != group.setting or not set(other.cells) <= set(group.cells):
                continue
            places = pd.MultiIndex.from_frame(other.lineages).get_indexer(rows)
            for first, last in _runs(places, filled[other.number]):
                copied = Chunk(other.number, int(places[first]), int(places[last - 1]) + 1)
                _copy_params(source.params_of(chunk), target.params_of(copied), first, last)
                chunks.save(target.chunks, copied, records.part(table, group.cells, other.cells, (first, last), whole.digest))
                filled[other.number][copied.first : copied.last] = True


def _runs(places: np.ndarray, filled: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of lineages whose places follow each other and are free; a place is -1 where there is none."""
    free = np.flatnonzero((places >= 0) & ~filled[places])
    ends = np.flatnonzero((np.diff(free) != 1) | (np.diff(places[free]) != 1)) + 1
    for run in np.split(free, ends):
        if len(run):
            yield int(run[0]), int(run[-1]) + 1


def _copy_params(there: Path, here: Path, first: int, last: int) -> None:
    """Copy the trained parameters of a range of a chunk's lineages, if there are any."""
    if there.exists() and (arrays := store.load_arrays(there)) is not None:
        here.parent.mkdir(exist_ok=True)
        store.save_arrays(here, {name: array[first:last] for name, array in arrays.items()})
