"""Sweeps that grow in their folder, and folders that are merged: only what is new is computed, every cell is there once."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_sweeps import CLOSED, TINY, values, write

import lsa_jax as lsa
from lsa_jax import commands
from lsa_jax.sweeps import extension, spec
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.run import Progress

SMALL: dict[str, Any] = {**CLOSED, "seed": "0:6"}
GIVEN: dict[str, Any] = {
    "overrides": (),
    "resume": True,
    "seed_batch": "4",
    "shard": "0/1",
    "scheduler": None,
    "save_params": False,
    "device": "default",
}


def grow(out: Path, **axes: Any) -> Progress:
    """Let the small sweep in a folder grow to these axes."""
    return lsa.run_sweep({**SMALL, **axes}, out, extend=True, seed_batch=4)


def same(found: pd.Series, wanted: pd.Series) -> None:
    """The same cells, with the same values."""
    assert found.index.equals(wanted.index)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_growing_computes_what_is_new_and_gives_what_one_run_gives(tmp_path: Path) -> None:
    lsa.run_sweep(SMALL, tmp_path / "out", seed_batch=4)
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "chunks").iterdir()}
    for axes, cells in (
        ({"seed": "0:12"}, 6 * 2 * 2),
        ({"seed": "0:12", "noise_std": [0.5, 2.0]}, 12 * 2),
        ({"seed": "3:12", "regime": ["value", "full"]}, 9 * 2),
    ):
        assert grow(tmp_path / "out", **axes).computed == cells
        assert grow(tmp_path / "out", **axes).computed == 0
    assert {name: (tmp_path / "out" / "chunks" / name).read_bytes() for name in files} == files
    assert commands.status(tmp_path / "out") == 0
    points = [{"seed": "0:12", "noise_std": [0.1, 0.5, 2.0]}, {"seed": "3:12", "regime": "full"}]
    lsa.run_sweep({**SMALL, "points": points}, tmp_path / "whole", seed_batch=4)
    same(values(tmp_path / "out"), values(tmp_path / "whole"))


def test_what_grows_is_said_and_the_older_spec_is_refused_without_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    lsa.run_sweep(SMALL, out, seed_batch=4)
    grid = write(tmp_path / "grid.toml", {**SMALL, "noise_std": [0.5, 2.0]})
    assert commands.sweep(grid, out, extend=True, **GIVEN) == 0
    told = capsys.readouterr().err
    assert "noise_std: new: 2.0\nnoise_std: kept though not asked for: 0.1\n" in told
    assert commands.sweep(grid, out, extend=False, **GIVEN) == 0
    with pytest.raises(ValueError, match=r"holds a different sweep .*: choose another --out, or --extend this one"):
        lsa.run_sweep(SMALL, out, seed_batch=4)


def test_a_writer_of_the_smaller_sweep_may_go_on(tmp_path: Path) -> None:
    lsa.run_sweep(SMALL, tmp_path, seed_batch=4, stop=lambda: any(tmp_path.glob("chunks/*.parquet")))
    small = Folder(tmp_path)
    grow(tmp_path, seed="0:8")
    small.require(spec.read(SMALL))
    with pytest.raises(ValueError, match="holds another sweep by now"):
        small.require(spec.read(TINY))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dtype": ({"dtype": "float32"}, "dtype is float64 in .* and float32 in the spec; only axes, points and regimes can grow"),
    "shots": ({"evaluation_shots": [0]}, r"evaluation_shots is \[0.0, 4.0, 'inf'\] in .* and \[0.0\] in the spec"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_grow_is_refused(case: str, tmp_path: Path) -> None:
    axes, message = REFUSED[case]
    Folder(tmp_path / "there").claim(spec.read({**SMALL, "seed": 0}), 4)
    with pytest.raises(ValueError, match=message):
        grow(tmp_path / "there", **axes)
    Folder(tmp_path / "other").claim(spec.read({**SMALL, "seed": 0, **axes}), 4)
    with pytest.raises(ValueError, match=message):
        lsa.merge_sweeps([tmp_path / "there", tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_regimes_of_one_name_must_be_one(tmp_path: Path) -> None:
    def own(weight: float) -> dict[str, Any]:
        return {**TINY, "seed": "0:2", "steps": 2, "regime": "own", "regimes": {"own": {"loss": {"zero_shot": 1.0, "prior": weight}}}}

    folder, there = Folder(tmp_path), spec.read(own(0.1))
    folder.claim(there, 1)
    with pytest.raises(ValueError, match=r"regime 'own' of .* is another one: give that of the spec another name"):
        extension.effective(folder, spec.read(own(0.2)), extend=True)
    assert extension.effective(folder, spec.read({**own(0.1), "seed": "0:4"}), extend=True).earlier[0].digest == there.digest


def test_regimes_are_not_added_to_lineages_with_baselines(tmp_path: Path) -> None:
    measured = {**SMALL, "seed": 0, "noise_std": 0.5, "simulation_prompts": 10, "baselines": ["ridge"]}
    Folder(tmp_path).claim(spec.read(measured), 1)
    with pytest.raises(ValueError, match="regimes cannot be added where baselines are measured already"):
        lsa.run_sweep({**measured, "regime": ["pretrained", "value", "full"]}, tmp_path, extend=True)


def test_merged_folders_hold_each_cell_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lsa.run_sweep({**SMALL, "seed": "0:5"}, tmp_path / "one", seed_batch=4, save_params=True)
    lsa.run_sweep({**SMALL, "seed": "2:9", "regime": ["value", "full"]}, tmp_path / "two", seed_batch=4, save_params=True)
    lsa.run_sweep({**SMALL, "seed": "7:12"}, tmp_path / "three", seed_batch=4, save_params=True)
    folders = [tmp_path / name for name in ("one", "two", "three")]
    assert commands.merge(folders, tmp_path / "out") == 0
    cells = (5 * 2 + 3 + 4 * 2 + 2 + 3 * 2) * 2
    assert f"holds {cells} of {cells} cells" in capsys.readouterr().out
    points = [{"seed": "0:5"}, {"seed": "2:9", "regime": ["value", "full"]}, {"seed": "7:12"}]
    lsa.run_sweep({**SMALL, "points": points}, tmp_path / "whole", seed_batch=4)
    same(values(tmp_path / "out"), values(tmp_path / "whole"))
    assert commands.status(tmp_path / "out") == 0
    for path in (tmp_path / "out" / "params").iterdir():
        arrays = np.load(path)
        assert {len(array) for array in arrays.values()} == {len(arrays["seed"])}
    assert grow(tmp_path / "out", seed="0:5").computed == 0


def test_merging_an_unfinished_sweep_leaves_the_rest_to_do(tmp_path: Path) -> None:
    lsa.run_sweep(SMALL, tmp_path / "one", seed_batch=4, stop=lambda: any(tmp_path.glob("one/chunks/*.parquet")))
    lsa.run_sweep({**SMALL, "seed": "20:22"}, tmp_path / "two", seed_batch=4)
    assert commands.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out") == 75
    assert commands.status(tmp_path / "out") == 75
    grow(tmp_path / "out", seed="0:6")
    assert commands.status(tmp_path / "out") == 0


def test_merging_needs_folders_of_sweeps(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="merge got 1 folders; it takes two at least"):
        lsa.merge_sweeps([tmp_path], tmp_path / "out")
    with pytest.raises(ValueError, match="is not the folder of a sweep"):
        lsa.merge_sweeps([tmp_path, tmp_path], tmp_path / "out")
    Folder(tmp_path / "own").claim(spec.read({**SMALL, "covariance": [[2.0, 0.0], [0.0, 1.0]]}), 24)
    with pytest.raises(ValueError, match=r"cannot be merged .*: laws, models and terms of one's own are not in a folder"):
        lsa.merge_sweeps([tmp_path / "own", tmp_path / "own"], tmp_path / "out")


def test_plans_grow_behind_what_is_there() -> None:
    there = spec.read(SMALL)
    more = dataclasses.replace(spec.read({**SMALL, "seed": "4:8", "dim": [2, 3]}), earlier=(there,))
    assert extension.changes(more) == ["dim: new: 3", "seed: new: 6, 7", "seed: kept though not asked for: 0, 1, 2, 3"]
