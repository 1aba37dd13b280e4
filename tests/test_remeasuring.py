"""Trained models that a sweep has kept, measured in another way without training again."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lsa_jax as lsa
from lsa_jax import store
from lsa_jax.regimes import Branch
from lsa_jax.sweeps import compiled, extension, plan, processes, program, spec
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.kept import Kept
from lsa_jax.sweeps.records import Chunk

GRID: dict[str, Any] = {
    "dim": 2,
    "seed": "0:12",
    "noise_std": [0.1, 0.5],
    "regime": "value",
    "evaluation_shots": [0, 4],
    "steps": 20,
    "dtype": "float64",
}
OTHERWISE: dict[str, Any] = {**GRID, "evaluation_shots": [1, 7, "inf"], "test_tasks": ["opposite", 0.5], "simulation_prompts": 8}


class Counted:
    """A jitted function whose calls are counted."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


def records(out: Path) -> pd.DataFrame:
    """The records of a sweep, in an order of their own."""
    frame = lsa.load(out).frame
    return frame.sort_values([name for name in frame if name != "value"]).reset_index(drop=True)


@pytest.fixture
def begun(tmp_path: Path) -> Folder:
    """The folder of a sweep that has trained nothing yet."""
    folder = Folder(tmp_path / "begun")
    folder.claim(spec.read(GRID), 24)
    return folder


@pytest.mark.slow
def test_models_are_measured_again_without_training_as_a_fresh_sweep_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsa.run_sweep({**GRID, "seed": "4:9", "regime": "pretrained"}, tmp_path / "kept", seed_batch=5, save_params=True)
    lsa.run_sweep(GRID, tmp_path / "kept", seed_batch=5, save_params=True, extend=True)
    counted = Counted(program.train)
    monkeypatch.setattr(program, "train", counted)
    progress = lsa.run_sweep(OTHERWISE, tmp_path / "again", seed_batch=8, trained=tmp_path / "kept")
    assert counted.calls == 0
    assert progress.computed == progress.total == 12 * 2
    lsa.run_sweep(OTHERWISE, tmp_path / "fresh", seed_batch=8)
    assert counted.calls == 3 * 2
    again, fresh = records(tmp_path / "again"), records(tmp_path / "fresh")
    pd.testing.assert_frame_equal(again, fresh, rtol=1e-9, atol=0.0)
    assert set(again["metric"]) == {"risk", "optimum_risk", "simulated_risk", "standard_error"}


def test_what_only_measures_compiles_no_training() -> None:
    read = spec.read(OTHERWISE)
    (group,) = plan.plan(read)
    programs = compiled.programs_of(group, read, processes.local_mesh())
    names = [part.name for part in programs.parts(4)]
    assert names[:2] == ["train pretrained", "train value"]
    assert [part.name for part in dataclasses.replace(programs, trains=False).parts(4)] == names[2:]


def test_models_of_another_sweep_or_none_are_refused(begun: Folder, tmp_path: Path) -> None:
    store_models(begun, Chunk(0, 0, 24), np.arange(24))
    gentle = {"loss": {"zero_shot": 1.0}}
    refused: Sequence[tuple[dict[str, Any], str]] = (
        (
            {"learning_rate": 0.02},
            r"the trained models of 24 lineages, such as 'pretrained' at .*learning_rate 0.02, .*leave them out",
        ),
        (
            {"seed": "8:14"},
            "lacks the trained models of 4 lineages, such as 'pretrained' at .*noise_std 0.1, .*seed 12: run that",
        ),
        ({"regime": ["value", "full"]}, "lacks the trained models of 24 lineages, such as 'full'"),
        ({"regime": "gentle", "regimes": {"gentle": gentle}}, "lacks the trained models of 24 lineages, such as 'gentle'"),
        ({"dtype": "float32"}, r"dtype is float64 in .* and float32 in the spec: its models are others"),
    )
    for otherwise, message in refused:
        with pytest.raises(ValueError, match=message):
            lsa.run_sweep({**OTHERWISE, **otherwise}, tmp_path / "other", trained=begun.out)
    with pytest.raises(ValueError, match="is not the folder of a sweep"):
        lsa.run_sweep(OTHERWISE, tmp_path / "other", trained=tmp_path / "nowhere")
    assert not (tmp_path / "other").exists()


def store_models(folder: Folder, chunk: Chunk, numbers: np.ndarray, *, models: Sequence[str] = ("pretrained", "value")) -> None:
    """Write models of a chunk's lineages, which tell their lineage by a number; those above 4 diverged."""
    folder.params.mkdir(exist_ok=True)
    numbers = numbers.astype(float)
    leaves = {leaf: np.tile(numbers[:, None, None], (1, 4, 4)) for leaf in ("value", "query_key")}
    arrays = {**leaves, "history": numbers[:, None], "diverged": numbers > 4}
    store.save_arrays(folder.params_of(chunk), {f"{kind} {model}": array for kind, array in arrays.items() for model in models})


def test_models_are_read_lineage_by_lineage_from_files_that_overlap(begun: Folder) -> None:
    (group,) = plan.plan(spec.read(GRID))
    for first, last in ((0, 3), (2, 24)):
        store_models(begun, Chunk(0, first, last), np.arange(first, last))
    found = Kept.of(begun, spec.read(OTHERWISE)).load(group, first=1, last=6, size=8)
    assert [branch.regime for branch in found] == ["pretrained", "value"]
    for model in found.values():
        np.testing.assert_array_equal(model.params.value[:, 0, 0], [1, 2, 3, 4, 5, 5, 5, 5])
        np.testing.assert_array_equal(model.diverged, [False, False, False, False, True, True, True, True])
    for path in begun.params.iterdir():
        np.savez(path, history=np.zeros((22, 1)))
    with pytest.raises(ValueError, match="does not hold 'query_key pretrained': run that sweep again with --save-params"):
        Kept.of(begun, spec.read(OTHERWISE)).load(group, first=1, last=6, size=8)


def test_models_are_found_where_a_folder_grew(tmp_path: Path) -> None:
    folder, there = Folder(tmp_path), spec.read({**GRID, "noise_std": 0.1, "seed": "4:9", "regime": "pretrained"})
    for asked in (there, spec.read({**GRID, "noise_std": 0.1})):
        there = extension.effective(folder, asked, extend=True)
        folder.claim(there, 1)
    groups = plan.plan(there)
    assert [len(group.lineages) for group in groups] == [5, 7, 5]
    for group in groups:
        store_models(folder, Chunk(group.number, 0, len(group.lineages)), 100 * group.number + group.lineages["seed"].to_numpy())
    asked = spec.read({**OTHERWISE, "noise_std": 0.1, "seed": "2:11"})
    (group,) = plan.plan(asked)
    kept = Kept.of(folder, asked)
    kept.require([group])
    found = kept.load(group, first=1, last=8, size=7)
    for name in ("pretrained", "value"):
        np.testing.assert_array_equal(found[Branch(name)].history[:, 0], [103, 204, 205, 206, 207, 208, 109])
