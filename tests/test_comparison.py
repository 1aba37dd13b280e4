"""The comparison of transformers: its tables against its own records and parameters, and what it prints."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lsa_jax as lsa
from lsa_jax import store
from lsa_jax.comparison import command, experiment, fronts
from lsa_jax.comparison.experiment import SHAPES, spec_of
from lsa_jax.comparison.run import Outcome, compare
from lsa_jax.consoles import wide_console
from lsa_jax.models.transformer_params import TransformerParams
from lsa_jax.models.zero_shot import zero_shot_risks
from lsa_jax.plotting import comparison as figures
from lsa_jax.reproduce.command import TABLE_WIDTH
from lsa_jax.reproduce.settings import PRESETS, Settings, default_out

SMALL = Settings(
    dim=2, seeds=2, steps=20, batch_size=32, pool_size=0, evaluation_shots=4, fine_tuning_shots=4, pretraining_shots=4,
    simulation_prompts=200, dtype="float64",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A small comparison of two transformers, of the value matrices alone."""
    out = tmp_path_factory.mktemp("comparison")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "TRAINED", ("value",))
        patch.setattr(experiment, "LOSSES", {"zero_shot": experiment.LOSSES["zero_shot"]})
        patch.setattr(experiment, "BASELINES", ("ridge",))
        patch.setattr(figures, "LOOKS", {"value": figures.LOOKS["value"]})
        patch.setattr(figures, "LINES", {"zero_shot": "-"})
        return out, compare(SMALL, out, shapes=SHAPES[:2])


@pytest.mark.slow
def test_every_method_has_a_front_and_all_files_are_written(run: tuple[Path, Outcome]) -> None:
    out, outcome = run
    table = outcome.fronts
    assert set(table["shape"]) == {"(1, 1)", "(2, 2)"}
    counts = table.groupby(["shape", "regime"], observed=True).size()
    assert all(counts[shape, "zero_shot_value"] == len(experiment.RATES) for shape in ("(1, 1)", "(2, 2)"))
    assert (table["num_seeds"] + table["num_diverged"] >= 2).all()
    for name in ("figure.pdf", "front.png", "errors.parquet", "fronts.csv", "pretraining.csv"):
        assert (out / name).stat().st_size > 0
    assert store.load_json(out / "run.json")["settings"]["shapes"] == ["(1, 1)", "(2, 2)"]


@pytest.mark.slow
def test_zero_shot_errors_are_exact(run: tuple[Path, Outcome]) -> None:
    out, outcome = run
    errors = outcome.errors
    zero = errors[(errors["evaluation_shots"] == 0) & (errors["regime"] == "zero_shot_value")]
    assert zero["exact"].all()
    arrays = store.load_arrays(next((out / "sweep" / "params").glob("group-00001*.npz")))
    assert arrays is not None
    model, problem = lsa.Transformer(2, 2, query_key="separate"), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=SMALL.noise_std)
    found = []
    for place in range(2):
        params = TransformerParams(**{
            leaf: jnp.asarray(arrays[f"{leaf} zero_shot_value 0.01"][place]) for leaf in ("value", "query", "key")
        })
        found.append(float(zero_shot_risks(model, params, problem, jnp.asarray(arrays["target_task"])[place : place + 1])[0]))
    row = outcome.fronts[
        (outcome.fronts["shape"] == "(2, 2)") & (outcome.fronts["regime"] == "zero_shot_value") & (outcome.fronts["rate"] == 0.01)
    ]
    np.testing.assert_allclose(row["zero_shot"], np.median(found), rtol=1e-10)


@pytest.mark.slow
def test_one_layer_is_exact_at_any_number_of_shots(run: tuple[Path, Outcome]) -> None:
    errors = run[1].errors
    models = errors[errors["regime"].isin(["zero_shot_value", "pretrained"])]
    assert models.loc[models["layers"] == 1, "exact"].all()
    deep = models[(models["layers"] == 2) & ~models["evaluation_shots"].isin([0, np.inf])]
    assert not deep["exact"].any()
    assert deep["typical"].notna().all()


def test_tables_are_medians_over_seeds() -> None:
    cell = {
        "layers": 1,
        "heads": 1,
        "attention": "linear",
        "regime": "both_all",
        "rate": 0.1,
        "test_task": "target",
        "evaluation_shots": 0.0,
    }
    values = {"risk": [1.0, 2.0, 9.0, 5.0], "simulated_risk": [7.0, 7.0, 7.0, 7.0], "quantile_0.5": [0.5, 0.6, 0.9, 0.1]}
    rows = [
        {**cell, "metric": name, "seed": seed, "value": value, "diverged": seed == 3}
        for name, found in values.items()
        for seed, value in enumerate(found)
    ]
    (row,) = fronts.errors(pd.DataFrame(rows)).to_dict("records")
    assert (row["median"], row["lower"], row["upper"], row["typical"]) == (2.0, 1.5, 5.5, 0.6)
    assert (row["low"], row["high"]) == (1.0, 9.0)
    assert (row["exact"], row["num_seeds"], row["num_diverged"]) == (True, 3, 1)


@pytest.mark.parametrize("number", [5, 8, 20])
def test_intervals_hold_the_median_as_often_as_told(number: int) -> None:
    drawn = np.random.default_rng(number).exponential(size=(4000, number))
    low, high = np.array([fronts.median_interval(values) for values in drawn]).T
    held = np.mean((low <= np.log(2)) & (np.log(2) <= high))
    assert 0.9 - 5 * (0.09 / 4000) ** 0.5 < held < 0.97


def test_seeds_that_stay_on_the_plateau_are_named() -> None:
    histories = [np.array([1.3, 0.99, 0.98, 0.95]), np.array([0.95, 0.99, 0.95, 0.5]), np.array([1.0, 0.5, 0.4, 0.3])]
    table = fronts.pretraining(pd.DataFrame({"shape": "(2, 1)", "seed": [0, 1, 2], "zero": 1.0, "history": histories}), steps=400)
    assert table["verdict"].tolist() == ["never left", "late", "left"]
    np.testing.assert_array_equal(table["left_at"], [np.nan, 300.0, 100.0])
    noisy = 1 + 0.09 * np.random.default_rng(0).normal(size=400)
    table = fronts.pretraining(pd.DataFrame([{"shape": "(2, 1)", "seed": 0, "zero": 1.0, "history": noisy}]), steps=400)
    assert table["verdict"].tolist() == ["never left"], "one noisy loss is no departure"
    ends = [np.array([1.0, 0.8, last]) for last in (0.1, 0.15, 0.3)]
    table = fronts.pretraining(pd.DataFrame({"shape": "(2, 1)", "seed": [0, 1, 2], "zero": 1.0, "history": ends}), steps=300)
    assert table["verdict"].tolist() == ["left", "left", "behind"]


def test_other_models_and_single_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the comparison trains transformers on sampled prompts: leave model and gradient out"):
        spec_of(Settings(model="softmax"))
    with pytest.raises(ValueError, match=r"seeds is 1; it must be a whole number, at least 2"):
        spec_of(Settings(seeds=1))


def test_presets_are_known_settings() -> None:
    for name, changes in PRESETS["comparison"].items():
        assert Settings(**changes).pool_size == 0
        assert default_out(name, "comparison").name == f"comparison-{name}"


@pytest.mark.slow
def test_the_table_names_fronts_and_seeds_that_stand_out(run: tuple[Path, Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    stood_out = run[1].pretraining.assign(verdict=["late", "never left", "never left", "left"])
    command.print_outcome(wide_console(TABLE_WIDTH), dataclasses.replace(run[1], pretraining=stood_out))
    told = capsys.readouterr().out
    assert told.count("zero_shot_value") == 2 * len(experiment.RATES)
    assert "(1, 1): seeds [0] left the plateau of pretraining late" in told
    assert "(2, 2): seeds [0] never left the plateau of pretraining" in told
