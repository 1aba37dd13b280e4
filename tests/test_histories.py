"""Training losses of a sweep: read from what it kept, against the arrays themselves and the risks beside them, and drawn."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection

import lsa_jax as lsa
from lsa_jax import commands, plotting, store
from lsa_jax.errors import InputError
from lsa_jax.sweeps.records import Chunk

GENTLE = lsa.Regime(name="gentle", loss={"zero_shot": 1.0, "prior": [0.1, 1.0]}, train="value", steps=10)
SPEC = {
    "dim": 2,
    "steps": 20,
    "seed": "0:3",
    "pretraining_shots": [10, 20],
    "regimes": [GENTLE],
    "regime": ["pretrained", "value", "gentle"],
    "evaluation_shots": [0, 20],
    "dtype": "float64",
}


GOLDEN = Path(__file__).parent / "golden" / "sweep"
LINEAGES = [(shots, seed) for shots in (10.0, 20.0) for seed in range(3)]
BRANCHES = ("pretrained", "value", "gentle 0.1", "gentle 1")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep, a part of it in two files, beside losses that are known functions of branch, lineage and step."""
    out = tmp_path_factory.mktemp("histories") / "written"
    shutil.copytree(GOLDEN, out, ignore=shutil.ignore_patterns("params"))
    manifest = store.load_json(out / "sweep.json")
    manifest["spec"]["regimes"] = [{"name": "gentle", "steps": 10}]
    store.save_json(out / "sweep.json", manifest)
    (out / "params").mkdir()
    for path in (out / "chunks").glob("group-00004*.parquet"):
        chunk = Chunk.of(path)
        assert chunk is not None
        lineages = LINEAGES[chunk.first : chunk.last]
        knobs = dict(zip(("pretraining_shots", "seed"), np.array(lineages).T, strict=True))
        arrays = {**knobs, **dict.fromkeys(("noise_std", "learning_rate", "init_std"), np.full(len(lineages), 0.1))}
        for place, branch in enumerate(BRANCHES):
            arrays[f"history {branch}"] = np.array([loss(place, shots, seed) for shots, seed in lineages])
            arrays[f"diverged {branch}"] = np.array([seed == 2 and shots == 20 for shots, seed in lineages])
        store.save_arrays(out / "params" / f"{chunk.name}.npz", arrays)
    return out


def loss(place: int, shots: float, seed: int) -> np.ndarray:
    """Five losses of a branch."""
    return (1 + place) * (1 + seed**2) / shots * np.arange(5, 0, -1)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("histories") / "sweep"
    lsa.run_sweep(SPEC, out, save_params=True, seed_batch=4)
    return out


@pytest.mark.slow
def test_every_trained_model_has_its_losses_at_its_own_steps(sweep: Path) -> None:
    losses, entries, files = lsa.load_histories(sweep), 0.0, sorted((sweep / "params").glob("*.npz"))
    for path in files:
        arrays = store.load_arrays(path)
        assert arrays is not None
        entries += sum(values.sum() for name, values in arrays.items() if name.startswith("history "))
    assert len(files) == 2
    assert losses["loss"].sum() == pytest.approx(entries, rel=1e-12)
    assert losses.groupby("branch")["step"].max().to_dict() == {"gentle 0.1": 10, "gentle 1": 10, "pretrained": 20, "value": 20}
    assert not losses.duplicated(["branch", "pretraining_shots", "seed", "step"]).any()


@pytest.mark.slow
def test_the_first_loss_of_value_tuning_is_the_exact_risk_that_it_starts_from(sweep: Path) -> None:
    keys = ["pretraining_shots", "seed"]
    risks = lsa.load(sweep).frame.query("regime == 'pretrained' and metric == 'risk' and test_task == 'target' and evaluation_shots == 0")
    first = lsa.load_histories(sweep).query("branch == 'value' and step == 1").set_index(keys)["loss"]
    assert len(first) == 6
    np.testing.assert_allclose(first.sort_index(), risks.set_index(keys)["value"].sort_index(), rtol=1e-10)


def test_losses_are_read_with_the_steps_and_knobs_of_their_models(written: Path) -> None:
    losses = lsa.load_histories(written)
    assert len(losses) == 6 * 4 * 5
    for place, branch in enumerate(BRANCHES):
        for shots, seed in ((10, 0), (20, 1), (20, 2)):
            rows = losses[(losses["branch"] == branch) & (losses["pretraining_shots"] == shots) & (losses["seed"] == seed)]
            np.testing.assert_array_equal(rows["loss"], loss(place, shots, seed))
            assert rows["step"].tolist() == ([2, 4, 6, 8, 10] if branch.startswith("gentle") else [8, 16, 24, 32, 40])
            assert set(rows["regime"]) == {branch.split()[0]}
            assert set(rows["diverged"]) == {(shots, seed) == (20, 2)}
            assert set(rows["dim"]) == {3}


def test_numbers_are_means_or_medians_over_seeds(written: Path) -> None:
    losses = lsa.load_histories(written)
    means, medians = (plotting.history_numbers(losses, levels).query("branch == 'value'") for levels in (None, (0.0, 1.0)))
    wanted = np.stack([loss(1, 10.0, seed) for seed in range(3)])
    np.testing.assert_allclose(means.query("pretraining_shots == 10")["trained"], wanted.mean(axis=0))
    ends = medians.query("pretraining_shots == 10")[["trained_lower", "trained", "trained_upper"]]
    np.testing.assert_allclose(ends, np.quantile(wanted, [0, 0.5, 1], axis=0).T)
    assert set(means.query("pretraining_shots == 20")["num_seeds"]) == {2}
    with pytest.raises(InputError, match="every model diverged"):
        plotting.history_numbers(losses.assign(diverged=True))


def test_a_figure_has_a_column_a_regime_and_a_line_a_branch(written: Path) -> None:
    numbers = plotting.history_numbers(lsa.load_histories(written))
    figure = plotting.plot_history(numbers)
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes[:3]] == ["(a) pretrained", "(c) value", "gentle\ndark 0.1, light 1"]
    panel = figure.axes[2]
    first = numbers.query("pretraining_shots == 10 and branch == 'gentle 0.1'").sort_values("step")
    np.testing.assert_allclose(np.asarray(panel.lines[0].get_xydata()), first[["step", "trained"]])
    assert sum(isinstance(one, PolyCollection) for one in panel.collections) == 2


def test_the_command_draws_losses_only_where_they_were_kept(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "sweep")
    assert commands.plot(tmp_path / "sweep", "step", None, (0.25, 0.75)) == 0
    numbers = pd.read_csv(tmp_path / "sweep" / "figures" / "loss_against_step.csv")
    assert set(numbers["spread"]) == {"median and 0.25 to 0.75 quantile"}
    shutil.rmtree(tmp_path / "sweep" / "params")
    with pytest.raises(InputError, match="run the sweep with --save-params"):
        commands.plot(tmp_path / "sweep", "step", None)
