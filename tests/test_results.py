"""Records as labelled arrays and netCDF files: every number stands at its own coordinates, and nowhere else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray
from test_fronts import records

import lsa_jax as lsa
from lsa_jax.sweeps import results
from lsa_jax.sweeps.results import Results

GOLDEN = Path(__file__).parent / "golden" / "sweep"


def at_its_place(cube: xarray.Dataset, frame: pd.DataFrame, metric: str) -> np.ndarray:
    """The values of a metric in a labelled array at the coordinates of its records."""
    rows = frame[frame["metric"] == metric]
    kept = [name for name in cube[metric].dims if rows[str(name)].notna().all()]
    places = {name: xarray.DataArray(rows[str(name)].astype(cube[name].dtype).to_numpy(), dims="row") for name in kept}
    return cube[metric].sel(places).to_numpy()


@pytest.mark.parametrize("on_disk", [False, True])
def test_every_number_of_a_sweep_over_every_kind_of_axis_is_found_by_its_coordinates(tmp_path: Path, on_disk: bool) -> None:
    loaded = lsa.load(GOLDEN)
    cube, frame = loaded.dataset, loaded.frame
    if on_disk:
        cube = xarray.load_dataset(results.export(GOLDEN, "netcdf", tmp_path / "records.nc"), engine="h5netcdf")
    assert set(cube.sizes) == {
        *("regime", "gradient", "pool_size", "prior", "pretraining_shots", "seed"),
        *("fine_tuning_shots", "test_task", "evaluation_shots"),
    }
    for metric in ("risk", "optimum_risk", "simulated_risk", "standard_error"):
        wanted = frame.loc[frame["metric"] == metric, "value"]
        np.testing.assert_array_equal(at_its_place(cube, frame, metric), wanted)
        assert int(cube[metric].notnull().sum()) == wanted.notna().sum() > 500


def test_a_model_without_a_knob_is_at_every_value_of_it(tmp_path: Path) -> None:
    frame = records().astype(dict.fromkeys(("regime", "test_task", "metric"), "category"))
    cube = Results(pa.Table.from_pandas(frame, preserve_index=False)).dataset
    cube.to_netcdf(tmp_path / "records.nc", engine="h5netcdf")
    for one in (cube, xarray.load_dataset(tmp_path / "records.nc", engine="h5netcdf")):
        assert one["risk"].sizes["weight_prior"] * one["risk"].sizes["rate"] == 3 * 2
        for regime, missing in (("pretrained", ("weight_prior", "rate")), ("gentle", ("rate",)), ("held", ("weight_prior",))):
            rows = frame[frame["regime"] == regime].astype({"regime": str, "test_task": str, "metric": str})
            found = at_its_place(one, rows, "risk").reshape(len(rows), -1)
            assert found.shape[1] == np.prod([one.sizes[name] for name in missing])
            np.testing.assert_array_equal(found, np.repeat(rows[["value"]].to_numpy(), found.shape[1], axis=1))
        assert float(one["diverged"].max()) == 0
        assert int(one["diverged"].isnull().sum()) == 0
