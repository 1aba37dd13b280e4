"""The comparison of transformers: its tables against its own records and parameters, and what it prints."""

import dataclasses
import itertools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lsa_jax as lsa
from lsa_jax import store
from lsa_jax.comparison import command, experiment, fronts
from lsa_jax.comparison.experiment import SHAPES, spec_of
from lsa_jax.comparison.rivals import rivals
from lsa_jax.comparison.run import Outcome, compare
from lsa_jax.consoles import wide_console
from lsa_jax.models.transformer_params import TransformerParams
from lsa_jax.models.zero_shot import zero_shot_risks
from lsa_jax.plotting import comparison as figures
from lsa_jax.plotting.style import BLACK
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
    for name in ("figure.pdf", "front.png", "errors.parquet", "fronts.csv", "seeds.parquet", "rivals.csv", "pretraining.csv"):
        assert (out / name).stat().st_size > 0
    assert store.load_json(out / "run.json")["settings"]["shapes"] == ["(1, 1)", "(2, 2)"]


@pytest.mark.slow
def test_zero_shot_errors_are_exact(run: tuple[Path, Outcome]) -> None:
    out, outcome = run
    errors = outcome.errors
    zero = errors[(errors["evaluation_shots"] == 0) & (errors["regime"] == "zero_shot_value") & (errors["over_prompts"] == "mean")]
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
    np.testing.assert_allclose(row["zero_shot_mean"], np.median(found), rtol=1e-10)
    seeds = outcome.seeds[(outcome.seeds["shape"] == "(2, 2)") & outcome.seeds["exact"] & (outcome.seeds["test_task"] == "target")]
    kept = seeds[(seeds["regime"] == "zero_shot_value") & (seeds["rate"] == 0.01)].sort_values("seed")
    np.testing.assert_allclose(kept["error"], found, rtol=1e-10)


@pytest.mark.slow
def test_one_layer_is_exact_at_any_number_of_shots(run: tuple[Path, Outcome]) -> None:
    errors = run[1].errors
    models = errors[errors["regime"].isin(["zero_shot_value", "pretrained"])]
    means, medians = (models[models["over_prompts"] == name] for name in ("mean", "median"))
    assert means.loc[means["layers"] == 1, "exact"].all()
    assert not means.loc[(means["layers"] == 2) & ~means["evaluation_shots"].isin([0, np.inf]), "exact"].any()
    assert not medians["exact"].any()
    assert len(medians) == np.isfinite(means["evaluation_shots"]).sum()


CELL = {"heads": 1, "attention": "linear", "test_task": "target", "evaluation_shots": 0.0}


def test_tables_are_medians_over_seeds() -> None:
    values = {"risk": [1.0, 2.0, 9.0, 5.0], "simulated_risk": [7.0, 7.0, 7.0, 7.0], "quantile_0.5": [0.5, 0.6, 0.9, 0.1]}
    rows = [
        {**CELL, "layers": 1, "regime": "both_all", "rate": 0.1, "metric": name, "seed": seed, "value": value, "diverged": seed == 3}
        for name, found in values.items()
        for seed, value in enumerate(found)
    ]
    mean, median = fronts.errors(pd.DataFrame(rows)).sort_values("over_prompts").to_dict("records")
    assert (mean["median"], mean["lower"], mean["upper"], mean["low"], mean["high"]) == (2.0, 1.5, 5.5, 1.0, 9.0)
    assert (median["median"], median["low"], median["high"]) == (0.6, 0.5, 0.9)
    assert (mean["exact"], median["exact"], mean["num_seeds"], mean["num_diverged"]) == (True, False, 3, 1)


def depths(zero_shot: dict[str, float]) -> pd.DataFrame:
    """Records of a pretrained and a fine-tuned model of four transformers, all with the same errors."""
    few = {"risk": 0.4, "quantile_0.5": 0.3}
    rows = [
        {**CELL, **shape, "regime": regime, "rate": rate, "seed": 0, "diverged": False, "metric": metric, "value": value, **place}
        for shape in ({"layers": 1}, {"layers": 2}, {"layers": 3}, {"layers": 2, "attention": "softmax"})
        for regime, rate in (("pretrained", np.nan), ("zero_shot_all", 0.1))
        for found, place in ((zero_shot, {}), (few, {"evaluation_shots": 4.0}), (few, {"evaluation_shots": 4.0, "test_task": "opposite"}))
        for metric, value in found.items()
    ]
    return pd.DataFrame(rows)


def test_medians_over_prompts_stand_where_means_lie_and_the_axes_say_so() -> None:
    table = fronts.errors(depths({"risk": 1e17, "quantile_0.5": 0.2}))
    front = fronts.fronts(table, 4.0)
    chosen = front.groupby("shape", sort=False)[["over_prompts", "zero_shot", "zero_shot_mean", "few_shot_opposite"]].first()
    mean, median = ("mean", 1e17, 1e17, 0.4), ("median", 0.2, 1e17, 0.4)
    assert dict(zip(chosen.index, map(tuple, chosen.to_numpy()), strict=True)) == {
        "(1, 1)": mean, "(2, 1)": median, "(3, 1)": median, "(2, 1) softmax": mean,
    }  # fmt: skip
    told = [axes.get_xlabel().rpartition("\n")[2] for axes in figures.plot_fronts(front, 0.1).axes]
    assert told == ["mean", "median over prompts", "median over prompts", "mean"]
    rows = figures.plot_errors(fronts.judged(table), front, 0.1).axes[:: len(figures.LOOKS)]
    assert [axes.get_ylabel().rpartition("\n")[2] for axes in rows] == told
    curves = [[np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_color() == BLACK] for axes in rows]
    assert [[1e17, 0.4] in curves[0], [0.2, 0.3] in curves[1], [0.2, 0.3] in curves[2], [1e17, 0.4] in curves[3]] == [True] * 4


def test_rivals_are_counted_seed_by_seed() -> None:
    draws, names, rates, seeds = np.random.default_rng(0).integers(1, 6, size=(3, 2, 7, 2)), "abc", (0.1, 0.2), range(7)
    rows = []
    for (i, name), (j, rate), seed in itertools.product(enumerate(names), enumerate(rates), seeds):
        told = {"shape": "(2, 1)", "layers": 2, "attention": "linear", "seed": seed, "regime": name, "rate": rate}
        zero, few = draws[i, j, seed].tolist()
        rows += [
            {**told, "test_task": "target", "evaluation_shots": 0.0, "over_prompts": "median", "error": zero + 0.01 * j},
            {**told, "test_task": "target", "evaluation_shots": 0.0, "over_prompts": "mean", "error": -1.0},
            {**told, "test_task": "opposite", "evaluation_shots": 4.0, "over_prompts": "mean", "error": few},
        ]
    table = rivals(pd.DataFrame(rows), 4.0).set_index(["regime", "rival"])[["num_matched", "num_seeds"]]
    for method, rival in itertools.permutations(range(3), 2):
        count = 0
        for seed in seeds:
            points = [[(draws[one, j, seed, 0] + 0.01 * j, draws[one, j, seed, 1]) for j in range(2)] for one in (method, rival)]
            best = min(points[0])
            count += any(point[0] <= best[0] and point[1] <= best[1] for point in points[1])
        assert table.loc[(names[method], names[rival])].tolist() == [count, 7]


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
