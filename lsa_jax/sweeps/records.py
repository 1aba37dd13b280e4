"""Records of a sweep in long form: one row an error, the columns that every knob declares."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lsa_jax import store
from lsa_jax.regimes import Branch
from lsa_jax.setting import SHARED, STATIC, TRACED
from lsa_jax.sweeps.compiled import Outcome
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.program import Measured
from lsa_jax.sweeps.spec import Spec

FORMAT = 2
"""Version of the record format; raised whenever columns or their meaning change."""

READABLE = (1, 2)
"""Versions that can still be read: the first has fewer columns, and no checksums in the names of its files."""

EXACT = ("risk", "optimum_risk")
METRICS = (*EXACT, "simulated_risk", "standard_error")
FORMAT_KEY, DIGEST_KEY, ROWS_KEY, COUNTS_KEY = b"lsa_jax.format", b"lsa_jax.spec", b"lsa_jax.rows_per_lineage", b"lsa_jax.counts"
NAME = re.compile(r"group-(\d+)-lineages-(\d+)-(\d+)(?:-([0-9a-f]{8}))?\.(?:parquet|npz|json)")


@dataclasses.dataclass(frozen=True, order=True)
class Chunk:
    """Consecutive lineages of a group, from `first` to before `last`: what is trained in one call and stored in one file."""

    group: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """Name of its files, without checksum and suffix."""
        return f"group-{self.group:05d}-lineages-{self.first:09d}-{self.last:09d}"

    @classmethod
    def of(cls, path: Path) -> "Chunk | None":
        """Return the chunk a file is named for; None if it is no chunk's."""
        match = NAME.fullmatch(path.name)
        return cls(*map(int, match.groups()[:3])) if match else None


def to_table(spec: Spec, group: Group, chunk: Chunk, outcome: Outcome) -> pa.Table:
    """Lay out what was measured of a chunk as records.

    Args:
        spec: the sweep.
        group: the group of the chunk.
        chunk: the chunk.
        outcome: what it came to, with at least as many lineages as the chunk has.

    Returns:
        Columns for the regime or the baseline, every knob and every swept weight or rate, `test_task`, `cosine`, `evaluation_shots`,
        `metric`, `value`, `diverged` and `above_minimum`. A metric that is not known has no row. Its metadata tell the format, the sweep
        and the environment.
    """
    count = chunk.last - chunk.first
    models = {**group.models, **{baseline: baseline for baseline in map(Branch, spec.baselines)}}
    parts = [(cell, metric, values) for cell, model in models.items() for metric, values in _metrics(spec, outcome.measured[model]).items()]
    values = np.concatenate([values[:count].reshape(count, -1) for _, _, values in parts], axis=1)
    diverged = {cell: np.asarray(outcome.measured[model].diverged)[:count] for cell, model in models.items()}
    exact, simulated, exact_tests = group.exact_shots(spec), group.simulated_shots(spec), group.exact_tests(spec)

    def shots(cell: Branch, metric: str) -> tuple[float, ...]:
        return exact if metric in EXACT else simulated if cell in group.models else spec.finite_shots

    rows = [_Rows(exact_tests if metric in EXACT else spec.tests, shots(cell, metric), cell, metric) for cell, metric, _ in parts]
    lineages = group.lineages.iloc[chunk.first : chunk.last]
    missed = np.asarray(outcome.above_minimum)[:count]

    def texts(entries: list[str]) -> pa.DictionaryArray:
        places, known = pd.factorize(np.array(entries, object))
        return pa.DictionaryArray.from_arrays(np.tile(places.astype(np.int32), count), list(known))

    def numbers(entries: np.ndarray) -> np.ndarray:
        return np.tile(entries, count)

    columns: dict[str, Any] = {"regime": texts([row.cell.regime for row in rows for _ in range(row.size)])}
    for name in (*STATIC, *SHARED):
        columns[name] = _constant(_told(getattr(group.setting, name)), values.size)
    columns |= {name: np.repeat(lineages[name].to_numpy(), values.shape[1]) for name in TRACED}
    knobs = dict.fromkeys(knob for cell in group.cells for knob in _columns(cell))
    for knob in knobs:
        columns[knob] = numbers(np.concatenate([np.full(row.size, _columns(row.cell).get(knob, np.nan)) for row in rows]))
    columns |= {
        "test_task": texts([name for row in rows for name in row.tasks]),
        "cosine": numbers(np.concatenate([row.cosines for row in rows])),
        "evaluation_shots": numbers(np.concatenate([row.shots for row in rows])),
        "metric": texts([row.metric for row in rows for _ in range(row.size)]),
        "value": values.ravel(),
        "diverged": np.concatenate([np.repeat(diverged[row.cell][:, None], row.size, axis=1) for row in rows], axis=1).ravel(),
        "above_minimum": np.repeat(missed, values.shape[1]),
    }
    bad = np.stack([diverged[cell] for cell in group.cells], axis=1)
    return pa.table(columns).replace_schema_metadata({
        FORMAT_KEY: str(FORMAT),
        DIGEST_KEY: spec.digest,
        ROWS_KEY: str(values.shape[1]),
        COUNTS_KEY: _counts(bad, missed),
        b"lsa_jax.environment": json.dumps(store.environment()),
    })


def quantile_name(level: float) -> str:
    """Return the metric of a quantile of the squared errors of simulated prompts."""
    return f"quantile_{level:g}"


def part(table: pa.Table, held: Sequence[Branch], kept: Sequence[Branch], lineages: tuple[int, int], digest: str) -> pa.Table:
    """Return the records of some lineages and cells of a chunk, as records of another sweep.

    Args:
        table: the records of the chunk.
        held: its cells.
        kept: those of them to keep.
        lineages: the first lineage to keep, and the one after the last.
        digest: the other sweep.

    Returns:
        The records.
    """
    metadata = table.schema.metadata or {}
    size, (first, last) = int(metadata[ROWS_KEY]), lineages
    sample = table.slice(0, size).to_pandas()
    of_cell = {cell: np.flatnonzero(_is_of(sample, cell)) for cell in kept}
    rows = np.arange(size) if set(kept) == set(held) else np.sort(np.concatenate(list(of_cell.values())))
    found = table.take((np.arange(first, last)[:, None] * size + rows).ravel())
    flags = {name: table[name].to_numpy().reshape(-1, size)[first:last] for name in ("diverged", "above_minimum")}
    bad = np.stack([flags["diverged"][:, places[0]] for places in of_cell.values()], axis=1)
    counts = _counts(bad, flags["above_minimum"][:, 0])
    return found.replace_schema_metadata({**metadata, DIGEST_KEY: digest, ROWS_KEY: str(len(rows)), COUNTS_KEY: counts})


def _is_of(frame: pd.DataFrame, cell: Branch) -> pd.Series:
    """Which records are those of a cell."""
    named = frame["regime"] == cell.regime
    for knob, value in _columns(cell).items():
        named &= frame[knob] == value
    return named


def _counts(diverged: np.ndarray, missed: np.ndarray) -> str:
    """Cells of lineages, those that diverged, and that started above the minimum: of all, and of each so that overlaps count once."""
    cells = diverged.shape[1]
    flagged = [[int(lost), int(low) * cells] for lost, low in zip(diverged.sum(axis=1), missed, strict=True)]
    tally = {"cells": diverged.size, "diverged": int(diverged.sum()), "above_minimum": int(missed.sum()) * cells}
    return json.dumps({**tally, "flagged": flagged})


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of one metric of one cell of a lineage: over test tasks and laws, and over numbers of shots the last ones fastest."""

    tests: tuple[tuple[str, float], ...]
    known_shots: tuple[float, ...]
    cell: Branch
    metric: str

    @property
    def size(self) -> int:
        """Their number."""
        return len(self.tests) * len(self.known_shots)

    @property
    def cosines(self) -> np.ndarray:
        """The cosine of each row's test task."""
        return np.repeat([cosine for _, cosine in self.tests], len(self.known_shots))

    @property
    def tasks(self) -> list[str]:
        """The name of each row's test task."""
        return [name for name, _ in self.tests for _ in self.known_shots]

    @property
    def shots(self) -> np.ndarray:
        """The number of shots of each row."""
        return np.tile(self.known_shots, len(self.tests))


def _metrics(spec: Spec, measured: Measured) -> Mapping[str, np.ndarray]:
    """What is known of a model or a baseline, by metric."""
    known = {name: getattr(measured, name) for name in METRICS}
    if measured.quantiles is not None:
        known |= {quantile_name(level): measured.quantiles[..., place] for place, level in enumerate(spec.simulation_quantiles)}
    return {name: np.asarray(values) for name, values in known.items() if values is not None}


def _columns(cell: Branch) -> dict[str, float]:
    """The branch knobs of a cell by column: weights of its own terms without the name of the regime before them."""
    return {name.removeprefix(f"{cell.regime}."): value for name, value in cell.values}


def _told(value: Any) -> Any:
    """A knob's value as a record holds it."""
    if isinstance(value, tuple):
        return ",".join(f"{entry:g}" for entry in value)
    return value if isinstance(value, int | float | str) else str(value)


def _constant(value: Any, size: int) -> Any:
    """A column that holds one value."""
    if isinstance(value, str):
        return pa.DictionaryArray.from_arrays(np.zeros(size, np.int32), [value])
    return np.full(size, value)
