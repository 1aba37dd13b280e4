"""Records on disk: whole or absent, and never mixed with another run's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lsa_jax import store


def test_a_folder_belongs_to_the_run_that_began_there(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    assert not store.claim_folder(out, {"dim": 5})
    assert store.claim_folder(out, {"dim": 5})
    with pytest.raises(store.FolderConflictError, match=r"different run \(dim 5 there, 6 asked\): choose another --out"):
        store.claim_folder(out, {"dim": 6})
    assert store.load_json(out / store.MANIFEST)["settings"] == {"dim": 5}


def test_force_replaces_a_run_but_nothing_else(tmp_path: Path) -> None:
    run, foreign = tmp_path / "run", tmp_path / "foreign"
    store.claim_folder(run, {"dim": 5})
    (run / "curves.csv").write_text("old")
    assert not store.claim_folder(run, {"dim": 6}, force=True)
    assert not (run / "curves.csv").exists()
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(store.FolderConflictError, match="choose another --out"):
            store.claim_folder(foreign, {"dim": 5}, force=force)
    assert (foreign / "thesis.tex").read_text() == "years of work"


def test_a_file_cannot_be_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(store.FolderConflictError, match="is a file; --out must name a folder"):
        store.claim_folder(path, {})


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "numbers.npz"
    store.save_arrays(path, {"x": np.arange(3)})
    with pytest.raises(ZeroDivisionError), store.replacing(path) as temporary:
        temporary.write_bytes(b"half a file"[: 1 // len(b"")])
    np.testing.assert_array_equal(store.load_arrays(path)["x"], np.arange(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers.npz"]


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"shots": [0.0, np.inf], "risk": [1.1, 0.1], "regime": ["full", "value"]})
    store.save_table(tmp_path / "curves", table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "curves.parquet"), table, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curves.csv"), table, check_dtype=False)


def test_environment_names_versions_device_and_precision() -> None:
    environment = store.environment()
    assert {"jax", "jaxlib", "optax", "numpy", "lsa-jax"} == set(environment["versions"])
    assert environment["platform"] == "cpu"
    assert environment["matmul_precision"] == "highest"
