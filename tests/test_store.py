"""Records on disk: whole or absent, and never mixed with another run's."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lsa_jax import store


def test_a_folder_belongs_to_the_run_that_began_there(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    assert not store.claim_folder(out, {"dim": 5})
    assert store.claim_folder(out, {"dim": 5})
    with pytest.raises(store.FolderConflictError, match=r"different run \(dim 5 there, 6 asked\): choose another --out$"):
        store.claim_folder(out, {"dim": 6})
    assert store.load_json(out / store.MANIFEST)["settings"] == {"dim": 5}


def test_force_replaces_a_run_but_nothing_else(tmp_path: Path) -> None:
    run, foreign, mixed = tmp_path / "run", tmp_path / "foreign", tmp_path / "mixed"
    store.claim_folder(run, {"dim": 5})
    (run / "curves.csv").write_text("old")
    assert not store.claim_folder(run, {"dim": 6}, force=True)
    assert not (run / "curves.csv").exists()
    foreign.mkdir()
    store.claim_folder(mixed, {"dim": 5})
    for folder in (foreign, mixed):
        (folder / "thesis.tex").write_text("years of work")
        for force in (False, True):
            with pytest.raises(store.FolderConflictError, match=r"files that are no run's \(thesis.tex\): choose another --out"):
                store.claim_folder(folder, {"dim": 7}, force=force)
        assert (folder / "thesis.tex").read_text() == "years of work"
    assert (mixed / "run.json").exists()


@pytest.mark.parametrize("manifest", ["", "[]", '{"settings": 3}', "{", "\xff", "[" * 10**5])
def test_a_damaged_manifest_is_refused_and_kept(manifest: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(manifest)
    with pytest.raises(store.FolderConflictError, match="choose another --out"):
        store.claim_folder(tmp_path, {"dim": 5}, force=True)
    assert (tmp_path / "run.json").read_text() == manifest


def test_what_a_killed_write_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".run.json.123.partial").write_text("{")
    assert not store.claim_folder(tmp_path, {"dim": 5})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_arrays_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    store.save_arrays(path, {"x": np.arange(1000)})
    for damaged in (b"", b"no archive", path.read_bytes()[:200]):
        path.write_bytes(damaged)
        assert store.load_arrays(path) is None


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
    arrays = store.load_arrays(path)
    assert arrays is not None
    np.testing.assert_array_equal(arrays["x"], np.arange(3))
    assert [entry.name for entry in tmp_path.iterdir()] == ["numbers.npz"]


def test_a_mount_that_cannot_flush_folders_is_written_to_and_one_that_cannot_flush_files_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusing(kind: Callable[[int], bool]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            if kind(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "Invalid argument")

        return fsync

    monkeypatch.setattr(os, "fsync", refusing(stat.S_ISDIR))
    store.save_json(tmp_path / "one.json", {"a": 1})
    assert store.load_json(tmp_path / "one.json") == {"a": 1}
    monkeypatch.setattr(os, "fsync", refusing(stat.S_ISREG))
    with pytest.raises(OSError, match="Invalid argument"):
        store.save_json(tmp_path / "two.json", {"a": 1})


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
