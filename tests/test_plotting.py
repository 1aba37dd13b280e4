"""Figures of sweeps: what their numbers are, what is drawn of them and what is refused."""

import itertools
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

from lsa_jax import plotting
from lsa_jax.errors import InputError

COSINES = {"target": 1.0, "cosine 0.5": 0.5, "opposite": -1.0}
CELL: dict[str, Any] = {
    "regime": "value",
    "dim": 5,
    "pretraining_shots": 20.0,
    "fine_tuning_shots": 20.0,
    "noise_std": 0.1,
    "covariance": "isotropic",
    "prior": "sphere",
    "gradient": "sampled",
    "learning_rate": 0.01,
    "steps": 5000,
    "test_task": "target",
    "evaluation_shots": 0.0,
    "diverged": False,
    "above_minimum": False,
}


def records(seeds: int = 3, **axes: list[Any]) -> pd.DataFrame:
    """Records of a grid: the theory is a known function of the cell, and seed s is s percent above it."""
    cells = pd.DataFrame([{**CELL, **dict(zip(axes, values, strict=True))} for values in itertools.product(*axes.values())])
    cells["cosine"] = cells["test_task"].map(COSINES)
    rows = cells.merge(pd.DataFrame({"seed": range(seeds)}), how="cross")
    theory = 1 + rows["dim"] / 10 + 1 / (1 + rows["evaluation_shots"]) + 1 / rows["pretraining_shots"] - rows["cosine"] / 4
    return pd.concat(
        [
            rows.assign(metric="optimum_risk", value=theory),
            rows.assign(metric="risk", value=theory * (1 + rows["seed"] / 100)),
            rows.assign(metric="simulated_risk", value=-1.0),
        ],
        ignore_index=True,
    )


def drawn(figure: Figure, panel: int, color: str, *, points: bool) -> np.ndarray:
    """The coordinates of the points, or of the theory (a line, or dashes), of one colour in a panel."""
    found = []
    for line in figure.axes[panel].lines:
        is_points = line.get_marker() not in {"_", "None"}
        if to_hex(str(line.get_color())).upper() == color and is_points == points:
            found.append(np.asarray(line.get_xydata()))
    assert found, f"nothing is drawn in {color}"
    return max(found, key=len)


def legend(figure: Figure) -> list[str]:
    """The labels of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_numbers_are_the_theory_the_mean_and_students_interval() -> None:
    numbers = plotting.sweep_numbers(records(), "evaluation_shots")
    assert len(numbers) == 1
    theory = 1 + 0.5 + 1 + 0.05 - 0.25
    values = theory * np.array([1.0, 1.01, 1.02])
    row = numbers.iloc[0]
    assert row["theory"] == pytest.approx(theory)
    assert row["trained"] == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (row["trained_lower"], row["trained_upper"]) == pytest.approx((low, high))
    assert row["trained_upper"] - row["trained"] == pytest.approx(plotting.confidence_interval(pd.Series(values)))
    assert (row["num_seeds"], row["num_left_out"]) == (3, 0)


def test_seeds_that_diverged_or_stayed_above_the_minimum_are_left_out_of_the_mean_only() -> None:
    table = records(seeds=4)
    table.loc[table["seed"] == 1, "diverged"] = True
    table.loc[(table["seed"] == 1) & (table["metric"] == "risk"), "value"] = np.nan
    table.loc[table["seed"] == 3, "above_minimum"] = True
    row = plotting.sweep_numbers(table, "evaluation_shots").iloc[0]
    assert row["theory"] == pytest.approx(2.3)
    assert row["trained"] == pytest.approx(2.3 * 1.01)
    assert (row["num_seeds"], row["num_left_out"]) == (2, 2)


def test_where_no_seed_is_left_the_theory_stays() -> None:
    row = plotting.sweep_numbers(records().assign(diverged=True), "evaluation_shots").iloc[0]
    assert row["theory"] == pytest.approx(2.3)
    assert np.isnan(row["trained"])
    assert np.isnan(row["trained_lower"])
    assert (row["num_seeds"], row["num_left_out"]) == (0, 3)


def test_one_seed_has_no_interval() -> None:
    assert plotting.sweep_numbers(records(seeds=1), "evaluation_shots")[["trained_lower", "trained_upper"]].isna().to_numpy().all()


@pytest.mark.parametrize("gradients", [["sampled"], ["sampled", "population"]])
def test_closed_form_cells_are_theory_on_a_finer_grid_beside_every_gradient(gradients: list[str]) -> None:
    trained = records(dim=[2, 8], gradient=gradients)
    closed = records(seeds=1, dim=[2, 4, 6, 8], gradient=["closed_form"]).query("metric == 'risk'")
    numbers = plotting.sweep_numbers(pd.concat([trained, closed]), "dim")
    assert len(numbers) == 4 * len(gradients)
    np.testing.assert_allclose(numbers["theory"], 1.8 + numbers["dim"] / 10)
    assert set(numbers.loc[numbers["num_seeds"] > 0, "dim"]) == {2, 8}
    assert numbers["trained"].notna().sum() == 2 * len(gradients)
    assert ("gradient" in numbers) == (len(gradients) > 1)


def test_closed_form_cells_alone_are_lines_without_points() -> None:
    numbers = plotting.sweep_numbers(records(seeds=1, dim=[2, 4], gradient=["closed_form"]), "dim")
    assert numbers["trained"].isna().all()
    assert legend(plotting.plot_sweep(numbers, "dim")) == [r"zero-shot, $\theta_0$", "theory"]


def test_categories_and_plain_text_give_the_same_numbers() -> None:
    table = records(regime=["full", "pretrained"], test_task=["target", "opposite"], prior=["sphere", "gaussian"])
    texts = {name: table[name].astype("category") for name in ("regime", "test_task", "prior", "covariance", "gradient", "metric")}
    numbers = plotting.sweep_numbers(table, "cosine")
    pd.testing.assert_frame_equal(plotting.sweep_numbers(table.assign(**texts), "cosine"), numbers, check_dtype=False)
    assert list(dict.fromkeys(numbers["regime"])) == ["pretrained", "full"]


def test_axes_that_can_be_drawn_are_those_that_vary() -> None:
    assert plotting.drawable(records()) == ["evaluation_shots"]
    assert plotting.drawable(records(evaluation_shots=[20.0, np.inf], dim=[2, 3])) == ["dim"]
    several = records(evaluation_shots=[0.0, 20.0], test_task=["target", "opposite"], noise_std=[0.0, 0.1], steps=[1, 2])
    assert plotting.drawable(several) == ["evaluation_shots", "cosine", "noise_std"]


def test_against_shots_curves_are_test_tasks_and_infinity_is_left_out() -> None:
    table = records(evaluation_shots=[0.0, 1.0, 20.0, np.inf], test_task=list(COSINES))
    numbers = plotting.sweep_numbers(table, "evaluation_shots")
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    for task, color in {"target": plotting.BLUE, "opposite": plotting.VERMILION}.items():
        wanted = numbers[(numbers["test_task"] == task) & np.isfinite(numbers["evaluation_shots"])]
        np.testing.assert_allclose(drawn(figure, 0, color, points=False), wanted[["evaluation_shots", "theory"]])
        np.testing.assert_allclose(drawn(figure, 0, color, points=True), wanted[["evaluation_shots", "trained"]])
    names = [r"$\theta_0$ (target)", "cosine $0.5$", r"$-\theta_0$ (unseen)"]
    assert legend(figure)[:3] == names
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xscale() == "linear"


def test_many_points_are_thinned_but_the_first_and_the_last_stay() -> None:
    numbers = plotting.sweep_numbers(records(evaluation_shots=[float(shots) for shots in range(41)]), "evaluation_shots")
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    shots = drawn(figure, 0, plotting.BLUE, points=True)[:, 0]
    assert set(shots) >= {0, 1, 2, 3, 40}
    assert len(shots) < 16
    assert len(drawn(figure, 0, plotting.BLUE, points=False)) == 41


def test_intervals_are_drawn_around_the_points() -> None:
    numbers = plotting.sweep_numbers(records(evaluation_shots=[0.0, 1.0]), "evaluation_shots")
    bars = plotting.plot_sweep(numbers, "evaluation_shots").axes[0].collections[0]
    assert isinstance(bars, LineCollection)
    np.testing.assert_allclose(np.array(bars.get_segments())[:, :, 1], numbers[["trained_lower", "trained_upper"]])


def test_against_cosine_curves_are_numbers_of_shots() -> None:
    table = records(evaluation_shots=[0.0, 1.0, 20.0, 50.0, np.inf], test_task=list(COSINES), regime=["value", "value_auxiliary"])
    numbers = plotting.sweep_numbers(table, "cosine")
    figure = plotting.plot_sweep(numbers, "cosine")
    assert legend(figure)[:4] == ["zero-shot", "20-shot", "50-shot", r"$\infty$-shot"]
    zero_shot = numbers[(numbers["evaluation_shots"] == 0) & (numbers["regime"] == "value_auxiliary")].sort_values("cosine")
    np.testing.assert_allclose(drawn(figure, 1, "#000000", points=False), zero_shot[["cosine", "theory"]])
    np.testing.assert_allclose(drawn(figure, 1, "#000000", points=True), zero_shot[["cosine", "trained"]])
    assert figure.axes[0].get_yscale() == "linear"
    numbers.loc[numbers["cosine"] == -1, ["theory", "trained"]] *= 100
    assert plotting.plot_sweep(numbers, "cosine").axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("axis", "values"),
    [("dim", [2, 5, 40]), ("noise_std", [0.0, 0.1, 1.0]), ("steps", [10, 20]), ("pretraining_shots", [5.0, 50.0, 500.0])],
)
def test_against_another_axis_curves_are_the_errors_of_the_papers_table(axis: str, values: list[float]) -> None:
    table = records(3, **{axis: values}, evaluation_shots=[0.0, 20.0, 50.0], test_task=["target", "opposite"])
    numbers = plotting.sweep_numbers(table, axis)
    figure = plotting.plot_sweep(numbers, axis)
    assert legend(figure)[:3] == [r"zero-shot, $\theta_0$", r"20-shot, $\theta_0$", r"20-shot, $-\theta_0$"]
    few = numbers[numbers["evaluation_shots"] == 20]
    for cosine, color in {1: plotting.BLUE, -1: plotting.VERMILION}.items():
        wanted = few[few["cosine"] == cosine]
        np.testing.assert_allclose(drawn(figure, 0, color, points=False), wanted[[axis, "theory"]])
        np.testing.assert_allclose(drawn(figure, 0, color, points=True), wanted[[axis, "trained"]])
    assert figure.axes[0].get_xscale() == {"dim": "log", "noise_std": "linear", "steps": "linear", "pretraining_shots": "log"}[axis]


@pytest.mark.parametrize(
    ("shots", "name"), [([0.0, 5.0, 50.0, np.inf], "50-shot"), ([0.0, np.inf], r"$\infty$-shot"), ([0.0, 20.0, np.inf], "20-shot")]
)
def test_few_shot_is_that_of_fine_tuning_or_the_largest(shots: list[float], name: str) -> None:
    numbers = plotting.sweep_numbers(records(dim=[2, 3], evaluation_shots=shots), "dim")
    assert legend(plotting.plot_sweep(numbers, "dim"))[1] == rf"{name}, $\theta_0$"


def test_an_infinite_context_has_a_place_of_its_own() -> None:
    numbers = plotting.sweep_numbers(records(pretraining_shots=[5.0, 20.0, 500.0, np.inf]), "pretraining_shots")
    axes = plotting.plot_sweep(numbers, "pretraining_shots").axes[0]
    (limit,) = [line for line in axes.lines if line.get_marker() == "_"]
    place, theory = np.asarray(limit.get_xydata())[0]
    assert place > 500
    assert theory == pytest.approx(numbers["theory"].iloc[-1])
    assert axes.get_xticklabels()[-1].get_text() == r"$\infty$"
    assert axes.get_xticks()[-1] == pytest.approx(place)


def test_rows_are_four_combinations_evenly_out_of_all() -> None:
    table = records(noise_std=[0.1 * step for step in range(1, 11)], dim=[2, 5], evaluation_shots=[0.0, 1.0], regime=["full", "value"])
    numbers = plotting.sweep_numbers(table, "evaluation_shots")
    shown = plotting.facets(numbers, "evaluation_shots")
    assert (shown.axes, shown.total) == (["dim", "noise_std"], 20)
    assert shown.drawn["dim"].tolist() == [2, 2, 5, 5]
    np.testing.assert_allclose(shown.drawn["noise_std"], [0.1, 0.7, 0.4, 1.0])
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    assert len(figure.axes) == 4 * 2
    assert [axes.texts[0].get_text() for axes in figure.axes[1::2]][:2] == ["$d$ = 2\n$\\sigma$ = 0.1", "$d$ = 2\n$\\sigma$ = 0.7"]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["(b) full", "(c) value"]


def test_rows_with_trained_models_come_before_those_of_theory_only() -> None:
    trained = records(dim=[7])
    closed = records(seeds=1, dim=list(range(2, 20)), gradient=["closed_form"])
    shown = plotting.facets(plotting.sweep_numbers(pd.concat([trained, closed]), "evaluation_shots"), "evaluation_shots")
    assert shown.drawn["dim"].tolist() == [7]
    assert shown.total == 18


def test_a_regime_without_a_closed_form_has_points_only() -> None:
    table = records(evaluation_shots=[0.0, 1.0], regime=["value_annealed"]).query("metric == 'risk'")
    figure = plotting.plot_sweep(plotting.sweep_numbers(table, "evaluation_shots"), "evaluation_shots")
    assert len(drawn(figure, 0, plotting.BLUE, points=True)) == 2
    assert not len(drawn(figure, 0, plotting.BLUE, points=False))


def test_a_single_cell_is_drawn_in_one_column() -> None:
    before = plt.get_fignums()
    figure = plotting.plot_sweep(plotting.sweep_numbers(records(seeds=1), "evaluation_shots"), "evaluation_shots")
    figure.draw_without_rendering()
    assert figure.get_figwidth() == plotting.COLUMN_WIDTH
    assert plt.get_fignums() == before


@pytest.mark.parametrize("against", ["evaluation_shots", "cosine", "fine_tuning_shots"])
@pytest.mark.parametrize("regimes", [["value"], ["pretrained", "full", "value", "value_auxiliary", "value_annealed"]])
def test_the_legend_fits_into_the_figure(against: str, regimes: list[str]) -> None:
    table = records(evaluation_shots=[0.0, 20.0, 50.0, np.inf], fine_tuning_shots=[20.0, 50.0], test_task=list(COSINES), regime=regimes)
    figure = plotting.plot_sweep(plotting.sweep_numbers(table.assign(noise_std=1.0), against), against)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_an_error_of_zero_and_a_run_without_numbers_can_be_drawn() -> None:
    numbers = plotting.sweep_numbers(records(evaluation_shots=[0.0, 1.0], noise_std=[0.0]), "evaluation_shots")
    numbers.loc[0, ["theory", "trained"]] = [0.0, 1e-20]
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    figure.draw_without_rendering()
    assert figure.axes[0].get_ylim()[0] > 1e-8
    plotting.plot_sweep(numbers.assign(theory=np.nan, trained=np.nan), "evaluation_shots").draw_without_rendering()


def test_a_hundred_thousand_cells_are_summarised_and_drawn() -> None:
    sizes = {"dim": 50, "noise_std": 40, "pretraining_shots": 50}
    grid = np.array(list(itertools.product(*(range(1, size + 1) for size in sizes.values()))), dtype=float)
    table = pd.DataFrame(grid, columns=list(sizes)).assign(**{name: value for name, value in CELL.items() if name not in sizes})
    table = table.assign(cosine=1.0, seed=0, metric="risk", value=table["dim"])
    numbers = plotting.sweep_numbers(table, "pretraining_shots")
    assert len(numbers) == 100_000
    assert plotting.facets(numbers, "pretraining_shots").total == 2000
    assert len(plotting.plot_sweep(numbers, "pretraining_shots").axes) == 4


BAD_AXES = {
    "dim": "against is 'dim', which has 1 value in these records; it must be an axis that varies .*: choose cosine, noise_std$",
    "prior": "against is 'prior', which is no numeric axis of these records; .*: choose cosine, noise_std$",
    "dims": "against is 'dims', which is no numeric axis of these records",
    "pool_size": "against is 'pool_size', which is no numeric axis of these records",
}


@pytest.mark.parametrize("against", BAD_AXES)
def test_an_axis_that_does_not_vary_is_refused_with_those_that_do(against: str) -> None:
    table = records(noise_std=[0.1, 1.0], test_task=["target", "opposite"], prior=["sphere", "gaussian"])
    with pytest.raises(InputError, match=BAD_AXES[against]):
        plotting.sweep_numbers(table, against)


def test_records_that_hold_nothing_to_draw_are_refused() -> None:
    with pytest.raises(InputError, match="records hold no risk"):
        plotting.sweep_numbers(records().query("metric == 'simulated_risk'").assign(metric="standard_error"), "evaluation_shots")
    with pytest.raises(InputError, match="'evaluation_shots', which has no finite value"):
        plotting.sweep_numbers(records(evaluation_shots=[np.inf]), "evaluation_shots")
    numbers = plotting.sweep_numbers(records(dim=[2, 3], test_task=["cosine 0.5"]), "dim")
    with pytest.raises(InputError, match="numbers hold no target or opposite test task"):
        plotting.plot_sweep(numbers, "dim")
    with pytest.raises(InputError, match=r"call sweep_numbers\(records, 'steps'\)"):
        plotting.plot_sweep(numbers, "steps")


def test_theory_and_models_of_a_point_are_of_the_same_seeds() -> None:
    table = records(seeds=4, evaluation_shots=[0.0, 5.0], regime=["value"])
    values = {0: 1.0, 1: 2.0, 2: 3.0, 3: 100.0}
    table = table.assign(value=table["seed"].map(values), above_minimum=table["seed"] == 3)
    numbers = plotting.sweep_numbers(table, "evaluation_shots")
    np.testing.assert_allclose(numbers["theory"], 2.0)
    np.testing.assert_allclose(numbers["trained"], 2.0)


def test_theory_known_at_few_places_is_not_joined_by_a_line() -> None:
    for places, joined in (([0.0, 5.0], False), ([0.0, 1.0, 2.0, 5.0, 10.0], True)):
        figure = plotting.plot_sweep(plotting.sweep_numbers(records(evaluation_shots=places), "evaluation_shots"), "evaluation_shots")
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None" and np.size(line.get_xdata()) > 1]
        colours = {line.get_color() for line in lines if line.get_color() != "0.6"}
        assert bool(colours) == joined
