"""The records of a sweep as pandas and xarray objects, and as files for other programs."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.sweeps import chunks
from lsa_jax.sweeps.folder import Folder

if TYPE_CHECKING:
    import xarray

FORMATS = ("csv", "parquet", "netcdf")
MEASURED = ("cosine", "metric", "value", "diverged", "above_minimum")
"""Columns of the records that are no coordinates: what was measured, and the cosine that goes with a test task."""

OF_EVALUATION = ("test_task", "evaluation_shots")
"""Coordinates of an error that are not those of a model."""

LARGEST_CUBE = 20
"""Entries of a labelled array for each record, above which a sweep is too sparse for one."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything a sweep has on disk so far.

    Args:
        table: the records, see `lsa_jax.sweeps.records.to_table`.
    """

    table: pa.Table

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The records as a pandas table in long form; texts are categories."""
        return self.table.to_pandas()

    @functools.cached_property
    def dataset(self) -> "xarray.Dataset":
        """The records as labelled arrays, one variable a metric, one dimension an axis with several values; NaN where there is no cell.

        A model that does not have a knob, such as the weight of another regime's term, is at every value of it.

        Raises:
            ValueError: if the sweep is a sparse list of points, whose product would not fit.
        """
        import xarray

        frame = self.frame
        coordinates = [name for name in frame if name not in MEASURED]
        names = [name for name in coordinates if frame[name].nunique() > 1]
        size = int(np.prod([frame[name].nunique() for name in names], dtype=float)) * frame["metric"].nunique()
        if size > LARGEST_CUBE * len(frame):
            raise InputError(f"the product of all axes has {size} entries for {len(frame)} records: use the pandas table of this sweep")
        frame = _at_every_value(frame, names)
        index = [frame[name].astype(str) if isinstance(frame[name].dtype, pd.CategoricalDtype) else frame[name] for name in names]
        metrics = frame["metric"].astype(str)
        columns: dict[str, xarray.DataArray] = {}
        for metric in metrics.unique():
            rows = (metrics == metric).to_numpy()
            levels = pd.MultiIndex.from_arrays([column[rows] for column in index], names=names) if names else None
            series = pd.Series(frame["value"].to_numpy()[rows], index=levels)
            columns[metric] = series.to_xarray() if names else xarray.DataArray(series.iloc[0])
        flags = {name: _flag(frame[name], index, names) for name in ("diverged", "above_minimum")} if names else {}
        fixed = {name: frame[name].iloc[0] for name in coordinates if name not in names}
        return xarray.Dataset({**columns, **flags}).assign_coords(fixed)


def _at_every_value(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The records with those that do not have an axis repeated along it."""
    for name in names:
        lacking = frame[name].isna()
        if lacking.any():
            values = frame.loc[~lacking, [name]].drop_duplicates()
            frame = pd.concat([frame[~lacking], frame[lacking].drop(columns=name).merge(values, how="cross")], ignore_index=True)
    return frame


def _flag(flags: pd.Series, index: list[pd.Series], names: list[str]) -> Any:
    """A flag of every model as a labelled array of 0, 1, and NaN where there is no cell."""
    kept = [place for place, axis in enumerate(names) if axis not in OF_EVALUATION]
    if not kept:
        import xarray

        return xarray.DataArray(float(flags.iloc[0]))
    found = flags.astype(float).groupby([index[place] for place in kept], observed=True).max()
    found.index.names = [names[place] for place in kept]
    return found.to_xarray()


def load(out: str | Path) -> Results:
    """Read the records of a sweep, finished or not.

    Args:
        out: the folder of the sweep.

    Returns:
        The records: `frame` for pandas, `dataset` for xarray.

    Raises:
        ValueError: if the folder is not a sweep's, holds no finished chunk, or a file is damaged or of another format.
    """
    folder = Folder(Path(out).expanduser())
    digests = folder.digests()
    paths = list(folder.chunks.glob("*.parquet"))
    if not paths:
        raise InputError(f"{out} holds no finished chunk yet: run the sweep first")
    return Results(chunks.load(paths, digests))


def export(out: Path, file_format: str, to: Path | None = None) -> Path:
    """Write the records of a sweep to one file.

    Args:
        out: the folder of the sweep.
        file_format: `csv`, `parquet` or `netcdf`.
        to: the file; by default `records` in the folder, with the suffix of the format.

    Returns:
        The file.

    Raises:
        ValueError: if the format is unknown, `to` is a folder, or see `load`.
    """
    checks.as_choice("format", file_format, FORMATS)
    if to is not None and to.is_dir():
        raise InputError(f"--to is {to}, a folder; it must name a file")
    results, path = load(out), to or out / f"records.{'nc' if file_format == 'netcdf' else file_format}"
    with store.replacing(path) as temporary:
        if file_format == "csv":
            with temporary.open("wb") as file:
                pyarrow.csv.write_csv(results.table, file)
        elif file_format == "parquet":
            with temporary.open("wb") as file:
                pyarrow.parquet.write_table(results.table, file, compression="zstd")
        else:
            results.dataset.to_netcdf(temporary, engine="h5netcdf")
    return path
