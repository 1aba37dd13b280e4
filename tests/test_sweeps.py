"""Sweeps as they run: shared programs, any device count, resumed from whatever is on disk, nothing lost and nothing twice."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import lsa_jax as lsa
from lsa_jax import cli, commands, evaluation, experiment, regimes, store
from lsa_jax.setting import Setting
from lsa_jax.sweeps import chunks, compiled, estimate, plan, processes, records, results, spec, worker
from lsa_jax.sweeps.folder import Folder
from lsa_jax.sweeps.processes import Share
from lsa_jax.targets import command

TINY: dict[str, Any] = {
    "dim": 2,
    "seed": "0:12",
    "noise_std": [0.1, 0.5],
    "regime": ["pretrained", "value"],
    "steps": 30,
    "evaluation_shots": [0, 4, "inf"],
    "dtype": "float64",
}
CLOSED: dict[str, Any] = {**TINY, "gradient": "closed_form"}
KEYS = ["regime", "seed", "noise_std", "test_task", "evaluation_shots", "metric"]


def write(path: Path, grid: dict[str, Any]) -> Path:
    """Write a grid as TOML."""
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in grid.items()))
    return path


def values(out: Path) -> pd.Series:
    """Every value of a sweep by its coordinates, each there once."""
    return indexed(lsa.load(out).frame)


def indexed(frame: pd.DataFrame) -> pd.Series:
    """Values by their coordinates, each there once."""
    assert not frame.duplicated(KEYS).any()
    return frame.astype(dict.fromkeys(("regime", "test_task", "metric"), str)).set_index(KEYS)["value"].sort_index()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sweep, run in one go."""
    out = tmp_path_factory.mktemp("sweep") / "whole"
    lsa.run_sweep(TINY, out, seed_batch=8)
    return out


def test_every_cell_is_there_once(whole: Path) -> None:
    found = values(whole)
    assert len(found) == 2 * 12 * 2 * 2 * 3 * 2
    assert np.isfinite(found).all()
    assert commands.status(whole) == 0


@pytest.mark.slow
def test_a_seed_gets_what_it_gets_alone(whole: Path) -> None:
    setting = Setting(dim=2, steps=30, noise_std=0.5, seed=7)
    lineage = experiment.draw(setting, jnp.eye(2), lsa.SpherePrior(dim=2))
    pretrained, value = (regimes.Family.of().by_name[name] for name in ("pretrained", "value"))
    parent = experiment.train(setting, lineage, pretrained, {})
    alone = experiment.train(setting, lineage, value, {}, parent)
    curve = evaluation.error_curves(alone.params, lineage.problem, -lineage.target_task[None], jnp.array([0, 4, jnp.inf]))
    swept = values(whole)
    found = [swept["value", 7, 0.5, "opposite", shots, "risk"] for shots in (0.0, 4.0, np.inf)]
    np.testing.assert_allclose(found, curve[0], rtol=1e-9)


def test_results_do_not_depend_on_the_batch(whole: Path, tmp_path: Path) -> None:
    lsa.run_sweep(TINY, tmp_path / "other", seed_batch=5)
    np.testing.assert_allclose(values(tmp_path / "other"), values(whole), rtol=1e-9)


def test_a_sweep_that_grows_trains_the_new_seeds_alone_as_if_all_had_been_there(whole: Path, tmp_path: Path) -> None:
    lsa.run_sweep({**TINY, "seed": "0:5"}, tmp_path, seed_batch=8)
    assert lsa.run_sweep(TINY, tmp_path, seed_batch=8, extend=True).computed == 7 * 2 * 2
    np.testing.assert_allclose(values(tmp_path), values(whole), rtol=1e-9)


@pytest.mark.slow
def test_a_grid_compiles_one_program_a_size_and_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = {"train": 0, "error_curves": 0}

    def counted(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            traced[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    counted(experiment, "train")
    counted(evaluation, "error_curves")
    grid = {**TINY, "steps": 3, "pretraining_shots": "4:16:4", "noise_std": [0.1, 0.2, 0.3], "covariance": ["isotropic", "power_law:1"]}
    progress = lsa.run_sweep({**grid, "dim": [2, 3]}, tmp_path / "grid", seed_batch=36)
    assert progress.done == 2 * 3 * 3 * 2 * 12 * 2
    assert traced == {"train": 2 * 2, "error_curves": 2 * 2}


@pytest.mark.slow
def test_infinite_shots_simulation_and_saved_params(tmp_path: Path) -> None:
    grid = {**CLOSED, "seed": "0:2", "simulation_prompts": 4000, "test_tasks": ["target", 0.5], "pretraining_shots": "inf"}
    lsa.run_sweep(grid, tmp_path / "out", save_params=True)
    table = values(tmp_path / "out").unstack("metric")
    assert ((table["simulated_risk"] - table["risk"]).abs() < 5 * table["standard_error"] + 1e-12).all()
    np.testing.assert_array_equal(table["risk"], table["optimum_risk"])
    (file,) = (tmp_path / "out" / "params").iterdir()
    assert np.load(file)["value pretrained"].shape == (4, 4, 4)


def test_labelled_arrays_hold_the_same_values(whole: Path) -> None:
    cube, table = lsa.load(whole).dataset, values(whole)
    point = cube["risk"].sel(regime="value", seed=3, noise_std=0.1, test_task="target", evaluation_shots=4.0)
    assert float(point) == table["value", 3, 0.1, "target", 4.0, "risk"]
    assert float(cube["diverged"].max()) == 0
    assert cube["dim"] == 2


@pytest.mark.parametrize("file_format", results.FORMATS)
def test_exports_hold_every_record(whole: Path, tmp_path: Path, file_format: str) -> None:
    file = results.export(whole, file_format, tmp_path / "records")
    if file_format == "netcdf":
        import xarray

        with xarray.open_dataset(file, engine="h5netcdf") as cube:
            assert cube["risk"].size == len(values(whole)) / 2
        return
    frame = pd.read_csv(file) if file_format == "csv" else pd.read_parquet(file)
    np.testing.assert_allclose(indexed(frame), values(whole), rtol=1e-12)


def test_an_export_into_a_folder_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder; it must name a file"):
        results.export(whole, "csv", tmp_path)


def test_diverged_cells_are_flagged_and_counted(tmp_path: Path) -> None:
    grid = {**TINY, "learning_rate": [0.01, 1e4], "seed": "0:3", "noise_std": 0.1}
    progress = lsa.run_sweep(grid, tmp_path / "out", seed_batch=8)
    frame = lsa.load(tmp_path / "out").frame
    assert frame.groupby("learning_rate")["diverged"].mean().tolist() == [0, 1]
    assert progress.diverged == 3 * 2
    assert commands.status(tmp_path / "out") == 3


def test_a_finished_sweep_computes_nothing_again(whole: Path) -> None:
    again = lsa.run_sweep(TINY, whole)
    assert again.computed == 0
    assert again.done == again.total == 48


@pytest.mark.slow
def test_a_file_cut_short_is_reported_and_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    lsa.run_sweep(CLOSED, out, seed_batch=8)
    before = values(out)
    file = min((out / "chunks").iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"is cut short or damaged .*: run the sweep again"):
        lsa.load(out)
    assert commands.status(out) == 75
    assert "damaged files     1" in capsys.readouterr().out
    progress = lsa.run_sweep(CLOSED, out)
    assert progress.damaged == 1
    assert progress.computed == 8 * 2
    np.testing.assert_allclose(values(out), before, rtol=1e-9)


def test_one_flipped_bit_of_a_file_is_found_by_all_who_read_it(tmp_path: Path) -> None:
    lsa.run_sweep({**CLOSED, "seed": "0:2"}, tmp_path)
    (file,) = (tmp_path / "chunks").iterdir()
    content = file.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(content), 200):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        file.write_bytes(flipped)
        assert Folder(tmp_path).finished() == ({}, [file])
        with pytest.raises(ValueError, match="is cut short or damaged"):
            lsa.load(tmp_path)
    progress = lsa.run_sweep({**CLOSED, "seed": "0:2"}, tmp_path)
    assert (progress.damaged, progress.computed) == (1, progress.total)
    assert [path.read_bytes() for path in (tmp_path / "chunks").iterdir()] == [content]


@pytest.mark.slow
def test_cells_that_overflow_are_flagged(tmp_path: Path) -> None:
    progress = lsa.run_sweep({**CLOSED, "seed": "0:2", "noise_std": [0.1, 1e30], "dtype": "float32"}, tmp_path)
    frame = lsa.load(tmp_path).frame
    assert frame.groupby("noise_std")["diverged"].mean().tolist() == [0, 1]
    assert progress.diverged == 2 * 2
    assert commands.status(tmp_path) == 3


@pytest.mark.slow
def test_a_sweep_without_one_model_at_the_minimum_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = write(tmp_path / "grid.toml", {**TINY, "steps": 1, "seed": "0:2"})
    given: dict[str, Any] = {"overrides": (), "resume": True, "seed_batch": "auto", "shard": "0/1", "scheduler": None, "extend": False}
    assert commands.sweep(grid, tmp_path / "out", **given, save_params=False, device="default") == 3
    assert "no model started from the pretraining minimum" in capsys.readouterr().err
    assert commands.plot(tmp_path / "out", "noise_std", None) == 0
    assert "theory alone is drawn" in capsys.readouterr().out


def test_lineages_in_two_files_are_counted_once() -> None:
    counted = {records.Chunk(0, 0, 4): [[2.0, 0.0, 2.0]] * 4, records.Chunk(0, 2, 6): [[2.0, 1.0, 2.0]] * 4}
    assert chunks.total(counted) == {"cells": 12, "diverged": 2, "above_minimum": 12}


def test_status_tells_when_several_versions_computed_one_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lsa.run_sweep({**CLOSED, "seed": "0:4"}, tmp_path, seed_batch=4)
    file = max((tmp_path / "chunks").iterdir())
    table, chunk = pq.read_table(file), records.Chunk.of(file)
    assert chunk is not None
    file.unlink()
    other = table.schema.metadata[b"lsa_jax.environment"].replace(b'"jax": "', b'"jax": "9.')
    chunks.save(file.parent, chunk, table.replace_schema_metadata({**table.schema.metadata, b"lsa_jax.environment": other}))
    assert commands.status(tmp_path) == 0
    assert "jax 9." in capsys.readouterr().out


@pytest.mark.slow
def test_own_arrays_are_given_in_a_spec(tmp_path: Path) -> None:
    np.savez(tmp_path / "laws.npz", covariance=np.diag([2.0, 0.5]))
    named = {**CLOSED, "seed": "0:2", "noise_std": 0.1}
    lsa.run_sweep({**named, "covariance": "diagonal:2,0.5", "prior": "gaussian"}, tmp_path / "named")
    prior = {"mean": [0.0, 0.0], "covariance": [[1.0, 0.0], [0.0, 1.0]]}
    inline = {"covariance": [[2.0, 0.0], [0.0, 0.5]], "prior": prior}
    filed = {"covariance": {"file": str(tmp_path / "laws.npz"), "name": "covariance"}, "prior": prior}
    for name, laws in (("inline", inline), ("filed", filed)):
        lsa.run_sweep({**named, **laws}, tmp_path / name)
        np.testing.assert_allclose(values(tmp_path / name), values(tmp_path / "named"), rtol=1e-12)
        assert lsa.load(tmp_path / name).frame["covariance"].iloc[0].startswith("matrix:")


@pytest.mark.slow
def test_odd_names_of_folders_work(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("lr:0.1", "[dim=2]", "~/x"):
        out = Path(name) if name.startswith("~") else tmp_path / name
        lsa.run_sweep({**CLOSED, "seed": "0:1"}, out)
        assert len(lsa.load(out).frame)
    assert (tmp_path / "x").is_dir()
    assert commands.export(tmp_path / "[dim=2]", "parquet", None) == 0
    assert "[dim=2]" in capsys.readouterr().out


def test_a_constraint_that_holds_to_second_order_only_is_warned_of() -> None:
    own = {"own": {"start": "value", "train": "all", "within": "zero_shot", "loss": {"few_shot": 1.0}}}
    with pytest.warns(UserWarning, match="stays within the argmin set of zero_shot to second order only"):
        plan.plan(spec.read({"regime": "own", "regimes": own}))


@pytest.mark.slow
def test_a_process_leaves_the_damaged_files_of_others_alone(tmp_path: Path) -> None:
    lsa.run_sweep(CLOSED, tmp_path, seed_batch=4)
    last = max((tmp_path / "chunks").iterdir())
    last.write_bytes(last.read_bytes()[:100])
    assert lsa.run_sweep(CLOSED, tmp_path, share=Share(0, 2)).damaged == 0
    assert last.exists()
    assert lsa.run_sweep(CLOSED, tmp_path, share=Share(1, 2)).damaged == 1


def test_files_that_another_process_takes_away_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lsa.run_sweep(CLOSED, tmp_path, seed_batch=4)
    folder = Folder(tmp_path)
    folder.note_failure(records.Chunk(0, 0, 4), RuntimeError("no"))
    listed = Path.glob

    def taken(self: Path, pattern: str) -> list[Path]:
        found = sorted(listed(self, pattern))
        found[0].unlink()
        return found

    before = len(folder.finished()[0])
    monkeypatch.setattr(Path, "glob", taken)
    assert folder.failures() == {}
    assert len(folder.finished()[0]) == before - 1


@pytest.mark.slow
def test_parameters_asked_for_later_are_computed(tmp_path: Path) -> None:
    lsa.run_sweep(CLOSED, tmp_path, seed_batch=8)
    progress = lsa.run_sweep(CLOSED, tmp_path, seed_batch=8, save_params=True)
    assert progress.computed == progress.total
    assert len(list((tmp_path / "params").iterdir())) == len(list((tmp_path / "chunks").iterdir()))
    assert not values(tmp_path).index.duplicated().any()


@pytest.mark.slow
def test_an_unfinished_sweep_is_to_be_run_again_even_if_cells_diverged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {**TINY, "learning_rate": 1e30, "regime": "pretrained"}

    lsa.run_sweep(grid, tmp_path, seed_batch=1, stop=lambda: any(tmp_path.glob("chunks/*.parquet")))
    assert commands.status(tmp_path) == 75
    assert 0 < int(re.findall(r"diverged +(\d+)", capsys.readouterr().out)[0]) < 24


@pytest.mark.slow
def test_lineages_in_two_files_are_taken_once(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    lsa.run_sweep(CLOSED, one, seed_batch=8)
    lsa.run_sweep(CLOSED, other, seed_batch=5)
    before = values(one)
    for file in (other / "chunks").iterdir():
        file.rename(one / "chunks" / file.name)
    np.testing.assert_allclose(values(one), before, rtol=1e-9)
    assert commands.status(one) == 0


def test_another_sweep_and_other_files_are_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a different sweep \(dim \[2\] there, \[3\] asked\): choose another --out"):
        lsa.run_sweep({**TINY, "dim": 3}, whole)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds files that are no sweep's \(thesis.tex\)"):
        lsa.run_sweep(TINY, tmp_path)
    with pytest.raises(ValueError, match="is not the folder of a sweep"):
        lsa.load(tmp_path)


EDITS: dict[str, dict[str, Any]] = {
    "no spec": {"spec": {}},
    "a spec that is a list": {"spec": [1]},
    "another floating type": {"spec": {**spec.read(CLOSED).as_dict(), "dtype": "float32"}},
    "no number of cells": {"cells": None},
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused(edit: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.claim(spec.read(CLOSED), 24)
    store.save_json(tmp_path / "sweep.json", {**folder.manifest(), **EDITS[edit]})
    for use in (commands.status, lsa.load, lambda out: lsa.run_sweep(CLOSED, out), lambda out: lsa.run_sweep(CLOSED, out, extend=True)):
        with pytest.raises(ValueError, match=r"sweep.json was edited or damaged: remove it and run the sweep again"):
            use(tmp_path)


def test_notes_on_failures_that_cannot_be_read_are_told_and_others_passed_over(tmp_path: Path) -> None:
    folder, chunk = Folder(tmp_path), records.Chunk(0, 0, 4)
    folder.failed.mkdir()
    (folder.failed / "mine.json").write_text("{")
    folder.note_failure(chunk, RuntimeError("no"))
    assert folder.failures() == {chunk: "RuntimeError: no"}
    (folder.failed / f"{chunk.name}.json").write_text("{")
    assert folder.failures() == {chunk: f"{folder.failed / chunk.name}.json cannot be read"}
    folder.clear_failures([chunk])
    assert folder.failures() == {}
    assert (folder.failed / "mine.json").exists()


def test_a_batch_has_no_more_lineages_than_its_group() -> None:
    read = spec.read({**CLOSED, "seed": "0:5", "noise_std": 0.1})
    local = worker.Worker(read, Folder(Path("unused")), 10**12, save_params=False, device="default")
    assert local.size(local.groups[0], 3, worker.Devices("cpu", 2, math.inf)) == 6


def test_a_sweep_whose_manifest_was_lost_goes_on_and_no_other_takes_its_folder(tmp_path: Path) -> None:
    lsa.run_sweep(CLOSED, tmp_path / "out")
    before = values(tmp_path / "out")
    (tmp_path / "out" / "sweep.json").unlink()
    with pytest.raises(ValueError, match="belongs to another sweep: move it away, or use another --out"):
        lsa.run_sweep({**CLOSED, "dim": 3}, tmp_path / "out")
    assert lsa.run_sweep(CLOSED, tmp_path / "out").computed == 0
    np.testing.assert_array_equal(values(tmp_path / "out"), before)


@pytest.mark.slow
def test_records_of_another_format_are_refused(tmp_path: Path) -> None:
    lsa.run_sweep(CLOSED, tmp_path / "out")
    (file,) = (tmp_path / "out" / "chunks").iterdir()
    table = pq.read_table(file)
    file.unlink()
    chunks.save(file.parent, records.Chunk(0, 0, 24), table.replace_schema_metadata({**table.schema.metadata, records.FORMAT_KEY: b"0"}))
    with pytest.raises(ValueError, match="has record format 0, this version reads 2"):
        lsa.load(tmp_path / "out")


def test_shares_together_make_the_whole(whole: Path, tmp_path: Path) -> None:
    for index in range(3):
        part = lsa.run_sweep(TINY, tmp_path / "out", share=Share(index, 3), seed_batch=8)
        assert part.done == part.total == 16
    np.testing.assert_allclose(values(tmp_path / "out"), values(whole), rtol=1e-9)


@pytest.mark.slow
def test_out_of_memory_halves_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = compiled.Programs.run

    def run_or_fail(self: compiled.Programs, first: int, last: int, size: int, given: Any = None) -> compiled.Outcome:
        sizes.append(size)
        if size > 6:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(self, first, last, size, given)

    monkeypatch.setattr(compiled.Programs, "run", run_or_fail)
    progress = lsa.run_sweep(CLOSED, tmp_path / "out", seed_batch=24)
    assert sizes == [24, 12, 6, 6, 6, 6]
    assert progress.done == progress.total


@pytest.mark.slow
def test_batches_fit_the_memory_of_the_compiled_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = spec.read(TINY)
    (group,) = plan.plan(read)
    assert estimate.batch_size(group, read, 24, "cpu", 1, 1e12) == 24
    assert estimate.batch_size(group, read, 24, "cpu", 8, 1e12) == 24
    assert estimate.batch_size(group, read, 24, "cpu", 1, 3 * estimate.bytes_a_lineage(group, read)) == 3
    monkeypatch.setattr(processes, "memory", lambda mesh: 30_000.0)
    lsa.run_sweep(CLOSED, tmp_path / "out")
    assert len(list((tmp_path / "out" / "chunks").iterdir())) > 1


def test_failed_chunks_are_noted_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: compiled.Programs, *arguments: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: bad luck")

    with monkeypatch.context() as patch:
        patch.setattr(compiled.Programs, "run", fail)
        progress = lsa.run_sweep(CLOSED, tmp_path / "out")
    assert progress.failed == 48
    assert list(Folder(tmp_path / "out").failures().values()) == ["JaxRuntimeError: INTERNAL: bad luck"]
    assert lsa.run_sweep(CLOSED, tmp_path / "out").done == 48
    assert not Folder(tmp_path / "out").failures()


@pytest.mark.slow
def test_a_full_disk_is_a_clear_error_and_damages_nothing(tmp_path: Path) -> None:
    grid = write(tmp_path / "grid.toml", {**CLOSED, "seed": "0:200"})
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); sys.argv[0] = 'lsa-jax'; from lsa_jax.__main__ import main; main()"
    )
    command = [sys.executable, "-c", limited, "sweep", str(grid), "--out", str(tmp_path / "out")]
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert full.returncode == 2
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "out" / "chunks").glob("*.parquet"))
    lsa.run_sweep(grid, tmp_path / "out")
    assert len(values(tmp_path / "out")) == 400 * 2 * 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "GRID", "--out", "/proc/sweep"], "lsa-jax: "),
        (["sweep", "GRID"], "sweep needs a spec and --out FOLDER"),
        (["sweep", "GRID", "--out", "OUT", "--shard", "3/3"], "I from 0 to N - 1"),
        (["sweep", "GRID", "--out", "OUT", "--scheduler", "localhost"], "--scheduler "),
        (["sweep", "GRID", "--out", "OUT", "--set", "seed=-1"], "seed is -1"),
        (["sweep", "GRID", "--out", "OUT", "--seed-batch", "many"], "seed_batch is 'many'"),
        (["sweep", "nowhere.toml", "--out", "OUT"], "No such file"),
        (["status", "nowhere"], "is not the folder of a sweep"),
        (["plot", "nowhere"], "is not the folder of a sweep"),
        (["export", "nowhere", "--format", "xls"], "unknown format 'xls'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"GRID": str(write(tmp_path / "grid.toml", TINY)), "OUT": str(tmp_path / "out")}
    monkeypatch.setattr(sys, "argv", ["lsa-jax", *(named.get(argument, argument) for argument in arguments)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_dry_run_tells_cells_and_programs_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = write(tmp_path / "grid.toml", {**TINY, "dim": [2, 3], "seed": "0:10000", "pretraining_shots": "1:26"})
    assert command.dry_run(grid, (), "default") == 0
    told = capsys.readouterr().out
    assert "2000000 in 1000000 lineages; 2000000 models to train" in told
    assert "compiled programs 2, for 2 groups" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("told", "seeds", "devices"), [({}, 1000, None), ({"JAX_NUM_CPU_DEVICES": "3"}, 1000, 3), ({"JAX_NUM_CPU_DEVICES": "3"}, 2, 2)]
)
def test_the_command_spreads_lineages_over_cores(told: dict[str, str], seeds: int, devices: int | None, tmp_path: Path) -> None:
    devices = devices or len(os.sched_getaffinity(0))
    grid = write(tmp_path / "grid.toml", {"seed": f"0:{seeds}", "gradient": "closed_form"})
    command = [sys.executable, "-m", "lsa_jax", "sweep", str(grid), "--out", "unused", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **told})
    assert f"on {devices} cpu device" in done.stdout


@pytest.mark.slow
def test_eight_devices_give_what_one_gives_without_talking(whole: Path, tmp_path: Path) -> None:
    script = """
import sys, re, numpy as np, jax, lsa_jax as lsa, json
from lsa_jax.sweeps import compiled, plan, processes, spec
grid = json.loads(sys.argv[1])
assert len(jax.local_devices()) == 8
lsa.run_sweep(grid, sys.argv[2])
with jax.enable_x64(True):
    read = spec.read(grid)
    (group,) = plan.plan(read)
    parts = compiled.programs_of(group, read, processes.local_mesh()).compile(24)
    assert len(parts) == 4
    for part in parts:
        assert not re.findall("all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter", part.as_text())
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", script, json.dumps(TINY), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(values(tmp_path / "out"), values(whole), rtol=1e-9)


def test_an_interrupted_sweep_ends_after_its_chunk_and_goes_on(tmp_path: Path) -> None:
    grid = write(tmp_path / "grid.toml", {**CLOSED, "seed": "0:4000"})
    command = [sys.executable, "-m", "lsa_jax", "sweep", str(grid), "--out", str(tmp_path / "out"), "--seed-batch", "10"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list((tmp_path / "out").glob("chunks/*.parquet")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate()[1]
    assert process.returncode == 75
    assert "finishing the current chunk" in errors
    assert "run the same command again to resume" in errors
    assert commands.status(tmp_path / "out") == 75
    lsa.run_sweep(grid, tmp_path / "out")
    assert len(values(tmp_path / "out")) == 8000 * 2 * 12


def start(grid: Path, out: Path, *arguments: str, cache: Path) -> subprocess.Popen[str]:
    """Start the command line, in a process group of its own."""
    command = [sys.executable, "-m", "lsa_jax", "sweep", str(grid), "--out", str(out), "--seed-batch", "4", *arguments]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 50])
def test_killed_writers_lose_nothing_and_leave_nothing_twice(rounds: int, tmp_path: Path) -> None:
    grid, out, cache = write(tmp_path / "grid.toml", {**CLOSED, "seed": "0:1200"}), tmp_path / "out", tmp_path / "cache"
    random = np.random.default_rng(0)
    kept: set[str] = set()
    for _ in range(rounds):
        writers = [start(grid, out, cache=cache) for _ in range(2)]
        before, deadline = len(kept), time.monotonic() + 60
        while len(list(out.glob("chunks/*.parquet"))) <= before and time.monotonic() < deadline and writers[0].poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        for writer in writers:
            writer.kill()
            writer.communicate()
        found = {path.name for path in out.glob("chunks/*.parquet")}
        assert kept <= found
        kept = found
        assert not Folder(out).finished()[1]
    lsa.run_sweep(grid, out)
    lsa.run_sweep(grid, tmp_path / "uninterrupted")
    np.testing.assert_allclose(values(out), values(tmp_path / "uninterrupted"), rtol=1e-9)
