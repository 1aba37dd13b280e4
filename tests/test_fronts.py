"""Fronts of sweeps, and medians with quantiles over seeds in the place of means: their numbers and what is drawn of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from lsa_jax import commands, plotting
from lsa_jax.errors import InputError

GOLDEN = Path(__file__).parent / "golden" / "sweep"
FIXED = {"fine_tuning_shots": 20.0, "gradient": "population", "metric": "risk", "diverged": False, "above_minimum": False}
ERRORS = {("target", 1.0, 0.0): 0.3, ("target", 1.0, 20.0): 7.0, ("opposite", -1.0, 20.0): 2.0, ("opposite", -1.0, 0.0): 8.0}
SEEDS = np.array([1.0, 1.1, 1.5, 4.0])


def records(unseen: str = "opposite", **settings: list[Any]) -> pd.DataFrame:
    """Two remedies along knobs of their own beside the pretrained model; a seed multiplies all errors, a knob trades one for the other."""
    models: list[dict[str, Any]] = [{"regime": "pretrained", "gain": 0.0}]
    models += [{"regime": "gentle", "weight_prior": weight, "gain": 1 / weight} for weight in (0.1, 1.0, 10.0)]
    models += [{"regime": "held", "rate": rate, "gain": 10 * rate} for rate in (0.01, 0.1)]
    rows = []
    for model in models:
        for (task, cosine, shots), error in ERRORS.items():
            for seed, factor in enumerate(SEEDS):
                gain = model["gain"]
                value = factor * (error / (1 + gain) if shots == 0 else error * (1 + gain))
                name, place = (unseen, np.nan) if task == "opposite" and unseen == "prior" else (task, cosine)
                rows.append({**model, "test_task": name, "cosine": place, "evaluation_shots": shots, "seed": seed, "value": value})
    table = pd.DataFrame(rows).drop(columns="gain").assign(**FIXED, noise_std=0.1)
    for name, values in settings.items():
        table = pd.concat([table.assign(**{name: value}) for value in values], ignore_index=True)
    return table


def zero_shot(numbers: pd.DataFrame) -> pd.Series:
    """The zero-shot error of the pretrained model on the target."""
    return numbers.query("regime == 'pretrained' and test_task == 'target' and evaluation_shots == 0").iloc[0]


def texts(figure: Figure) -> list[str]:
    """The labels of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_front_sets_both_errors_side_by_side_along_each_regimes_own_knob() -> None:
    numbers = plotting.front_numbers(records())
    assert numbers["regime"].tolist() == ["pretrained"] + ["gentle"] * 3 + ["held"] * 2
    assert numbers["knob"].tolist() == [""] + ["weight_prior"] * 3 + ["rate"] * 2
    np.testing.assert_array_equal(numbers["at"], [np.nan, 0.1, 1.0, 10.0, 0.01, 0.1])
    gains = np.array([0, 10, 1, 0.1, 0.1, 1])
    np.testing.assert_allclose(numbers["zero_shot"], 0.3 * SEEDS.mean() / (1 + gains))
    np.testing.assert_allclose(numbers["few_shot"], 2.0 * SEEDS.mean() * (1 + gains))
    assert set(numbers["num_seeds"]) == {4}


@pytest.mark.parametrize("levels", [(0.25, 0.75), (0.0, 1.0)])
def test_quantiles_over_seeds_stand_in_the_place_of_intervals(levels: tuple[float, float]) -> None:
    low, middle, high = np.quantile(SEEDS, [levels[0], 0.5, levels[1]])
    row = plotting.front_numbers(records(), levels).iloc[0]
    np.testing.assert_allclose([row["zero_shot_lower"], row["zero_shot"], row["zero_shot_upper"]], 0.3 * np.array([low, middle, high]))
    np.testing.assert_allclose([row["few_shot_lower"], row["few_shot"], row["few_shot_upper"]], 2.0 * np.array([low, middle, high]))
    numbers = plotting.sweep_numbers(records(), "evaluation_shots", levels)
    start = numbers[(numbers["regime"] == "pretrained") & (numbers["test_task"] == "target") & (numbers["evaluation_shots"] == 0)].iloc[0]
    assert (
        start[["trained_lower", "trained", "trained_upper"]].tolist() == row[["zero_shot_lower", "zero_shot", "zero_shot_upper"]].tolist()
    )
    assert row["spread"] == start["spread"] == f"median and {levels[0]:g} to {levels[1]:g} quantile"


def test_theory_beside_medians_is_the_median_over_the_same_seeds() -> None:
    table = pd.concat([records(), records().assign(metric="optimum_risk", value=records()["value"] / 2)])
    table.loc[table["seed"] == 3, "above_minimum"] = True
    numbers = plotting.sweep_numbers(table, "evaluation_shots", (0.25, 0.75))
    np.testing.assert_allclose(numbers["theory"], numbers["trained"] / 2)
    assert zero_shot(numbers)["trained"] == pytest.approx(0.3 * 1.1)
    assert plotting.sweep_numbers(table[table["seed"] == 0], "evaluation_shots", (0.25, 0.75))["trained_lower"].isna().all()


def test_tasks_of_the_prior_stand_in_where_no_opposite_task_was_evaluated() -> None:
    numbers = plotting.front_numbers(records(unseen="prior"))
    assert set(numbers["test_task"]) == {"prior"}
    np.testing.assert_allclose(numbers["few_shot"].iloc[0], 2.0 * SEEDS.mean())
    assert plotting.plot_front(numbers).axes[0].get_ylabel() == "20-shot error on the prior"


def test_every_line_is_drawn_in_order_and_ends_in_a_filled_mark() -> None:
    numbers = plotting.front_numbers(records(), (0.25, 0.75))
    figure = plotting.plot_front(numbers)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    lines = ["(a) pretrained", "gentle, weight prior 0.1 to 10", "held, rate 0.01 to 0.1"]
    assert texts(figure) == [*lines, "largest value of the knob", "median and 0.25 to 0.75 quantile"]
    paths = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_marker() != "None" and np.size(line.get_xdata()) > 1]
    for line, path in zip(lines[1:], paths, strict=True):
        wanted = numbers[numbers["line"] == line]
        np.testing.assert_allclose(path, wanted[["zero_shot", "few_shot"]])
    filled = [np.asarray(line.get_xydata())[0] for line in axes.lines if line.get_markersize() == 4]
    np.testing.assert_allclose(filled, numbers.groupby("line", sort=False)[["zero_shot", "few_shot"]].last())
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_other_axes_are_panels_and_a_second_knob_is_a_line_of_its_own() -> None:
    table = records(dim=[2, 3, 5])
    numbers = plotting.front_numbers(table)
    figure = plotting.plot_front(numbers)
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == [f"$d$ = {dim}" for dim in (2, 3, 5)]
    table = pd.concat([table[table["dim"] == 2].assign(rate=rate) for rate in (0.1, 0.2)])
    table = table[table["regime"] == "gentle"].drop(columns="dim")
    names = [f"gentle, weight prior 0.1 to 10, rate = {rate}" for rate in (0.1, 0.2)]
    assert texts(plotting.plot_front(plotting.front_numbers(table)))[:2] == names


def test_closed_forms_stand_where_nothing_was_trained() -> None:
    table = records()
    numbers = plotting.front_numbers(table[table["regime"] == "pretrained"].assign(gradient="closed_form"))
    assert numbers["zero_shot"].tolist() == pytest.approx([0.3 * SEEDS.mean()])
    assert numbers["num_seeds"].tolist() == [0]
    assert texts(plotting.plot_front(numbers)) == ["(a) pretrained"]


def test_models_that_are_left_out_have_no_point() -> None:
    table = records()
    lost = plotting.front_numbers(table.assign(above_minimum=table["regime"] == "held"))
    assert lost["zero_shot"].isna().tolist() == [False] * 4 + [True] * 2
    plotting.plot_front(lost).draw_without_rendering()
    plotting.plot_front(plotting.front_numbers(table.assign(diverged=True))).draw_without_rendering()


def test_fronts_are_offered_where_models_branch_and_refused_where_an_error_is_missing() -> None:
    table = records(noise_std=[0.1, 0.2])
    assert plotting.drawable(table) == ["evaluation_shots", "cosine", "noise_std", "weight_prior", "rate", "zero_shot"]
    assert "zero_shot" not in plotting.drawable(table[table["regime"] == "pretrained"])
    for lacking in (table[table["evaluation_shots"] > 0], table[table["test_task"] == "target"], table[table["evaluation_shots"] == 0]):
        with pytest.raises(InputError, match="evaluation_shots must hold 0 and another number, test_tasks 'target' and 'opposite'"):
            plotting.front_numbers(lacking)


@pytest.mark.parametrize("levels", [(0.75, 0.25), (0.5, 0.5), (-0.1, 0.5), (0.1, 1.5), (0.1, np.nan)])
def test_levels_that_are_no_two_rising_quantiles_are_refused(levels: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="quantiles"):
        plotting.draw(records(), "evaluation_shots", levels)


def test_two_regimes_with_knobs_of_their_own_share_a_figure_against_shots() -> None:
    numbers = plotting.sweep_numbers(records(), "evaluation_shots")
    shown = plotting.facets(numbers, "evaluation_shots")
    assert (shown.axes, shown.total, len(shown.drawn)) == (["weight_prior", "rate"], 6, 4)
    figure = plotting.plot_sweep(numbers, "evaluation_shots")
    assert len(figure.axes) == 4 * 3


def test_quantiles_are_a_band_around_medians() -> None:
    table = records().query("regime == 'pretrained'")
    numbers, figure = plotting.draw(table, "evaluation_shots", (0.25, 0.75))
    (band, _) = (one for one in figure.axes[0].collections if isinstance(one, PolyCollection))
    target = numbers[numbers["test_task"] == "target"]
    for place, low, high in target[["evaluation_shots", "trained_lower", "trained_upper"]].to_numpy():
        corners = np.concatenate([np.asarray(path.vertices, float) for path in band.get_paths()])
        heights = corners[corners[:, 0] == place, 1]
        assert (heights.min(), heights.max()) == pytest.approx((low, high))
    assert "trained, median and 0.25 to 0.75 quantile" in texts(figure)


@pytest.mark.parametrize("rows", [2, 4])
def test_labels_beside_rows_lie_within_the_figure_and_do_not_overlap(rows: int) -> None:
    table = records(learning_rate=[1e-4, 3e-4, 1e-3, 3e-3][:rows], dim=[5], pretraining_shots=[20.0, 100.0]).query("regime == 'pretrained'")
    figure = plotting.plot_sweep(plotting.sweep_numbers(table.assign(optimizer="adam"), "evaluation_shots"), "evaluation_shots")
    figure.draw_without_rendering()
    boxes = [axes.texts[0].get_window_extent() for axes in figure.axes]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)


def test_the_command_writes_the_front_and_the_numbers_behind_it(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "sweep")
    assert commands.plot(tmp_path / "sweep", "zero_shot", None, (0.1, 0.9)) == 0
    numbers = pd.read_csv(tmp_path / "sweep" / "figures" / "error_against_zero_shot.csv")
    frame = pd.read_parquet(tmp_path / "sweep" / "figures" / "error_against_zero_shot.parquet")
    pd.testing.assert_frame_equal(numbers[["zero_shot", "few_shot"]], frame[["zero_shot", "few_shot"]])
    assert (tmp_path / "sweep" / "figures" / "error_against_zero_shot.png").stat().st_size > 1000
