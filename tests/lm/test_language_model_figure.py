"""The figures of the experiment: what is drawn where, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lsa_jax.errors import InputError
from lsa_jax.plotting.changes import plot_changes
from lsa_jax.plotting.language_model import CHANCE_LOOK, plot_zero_against_few
from lsa_jax.plotting.style import BLACK, BLUE, FULL_WIDTH, VERMILION


def accuracies(**changes: Any) -> pd.DataFrame:
    """The base model and two runs of two models with two checkpoints, in both domains; the second model is .02 above the first."""
    rows = []
    for targets, loss, step in [("base", "base", 0), *[(name, "zero_shot", step) for name in ("qkv", "v") for step in (20, 10)]]:
        for domain, category in (("out", "stem"), ("in", "humanities")):
            for shots in (0, 1, 5):
                value = 0.3 + step / 100 * (1 if shots == 0 else -0.5 if targets == "qkv" else 0.1) + shots / 50 + 0.05 * (domain == "in")
                told = {"targets": targets, "loss": loss, "step": step, "domain": domain, "category": category, "shots": shots}
                rows += [{**told, "seed": seed, "accuracy": value + 0.02 * seed - 0.01} for seed in range(2)]
    return pd.DataFrame(rows).assign(data_seed=0, method="letters", format="chat", rank=8, **changes)


def effects() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Changes of two sets of targets and their difference, and those of two models."""
    rows = []
    for targets, few in (("qkv", -0.3), ("v", -0.1), ("v - qkv", 0.2)):
        for domain, category in (("out", "stem"), ("in", "humanities")):
            for step, shots, change in ((10, 5, 0.9), (20, 5, few), (20, 0, 0.98), (20, 1, 0.5)):
                told = {"targets": targets, "loss": "zero_shot", "step": step, "domain": domain, "category": category, "shots": shots}
                rows.append({**told, "change": change})
    table = pd.DataFrame(rows).assign(question_error=0.01, seed_error=0.02, num_seeds=2)
    return table, pd.concat([table.assign(seed=seed, change=table["change"] + 0.1 * seed - 0.05) for seed in range(2)])


def base() -> pd.DataFrame:
    """Accuracies of the base model."""
    places = [(domain, name, shots) for domain, name in (("in", "humanities"), ("out", "stem")) for shots in (0, 5)]
    return pd.DataFrame(places, columns=["domain", "category", "shots"]).assign(accuracy=[0.2, 0.6, 0.3, 0.7])


def curve(axes: Axes, color: str) -> np.ndarray:
    """The path of one colour."""
    for line in axes.lines:
        if to_hex(str(line.get_color())).upper() == color and line.get_linestyle() != "None":
            return np.asarray(line.get_xydata())
    raise AssertionError(f"nothing is drawn in {color}")


def test_panels_paths_and_base() -> None:
    figure = plot_zero_against_few(accuracies(), 5)
    assert figure.get_size_inches()[0] == FULL_WIDTH
    assert [axes.get_title() for axes in figure.axes] == ["Humanities (in domain)", "STEM (out of domain)"]
    np.testing.assert_allclose(curve(figure.axes[1], VERMILION), [[0.3, 0.4], [0.4, 0.35], [0.5, 0.3]])
    np.testing.assert_allclose(curve(figure.axes[1], BLUE), [[0.3, 0.4], [0.4, 0.41], [0.5, 0.42]])
    np.testing.assert_allclose(curve(figure.axes[0], BLUE)[0], [0.35, 0.45])
    stars = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "*"]
    np.testing.assert_allclose([np.asarray(line.get_xydata())[0] for line in stars], [[0.35, 0.45], [0.3, 0.4]])
    models = [np.asarray(line.get_xydata()) for line in figure.axes[1].lines if line.get_markersize() == 2.5]
    np.testing.assert_allclose(np.sort(models, axis=1), [[[0.49, 0.29], [0.51, 0.31]], [[0.49, 0.41], [0.51, 0.43]]])
    assert figure.axes[0].get_ylabel() == "5-shot accuracy"
    high = accuracies()
    high["accuracy"] = 1.0
    (limits,) = {axes.get_ylim() for axes in plot_zero_against_few(high, 5).axes}
    assert limits == (0.98, 1.0)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["base model", "chance", "qkv", "v", "zero-shot loss"]


def test_changes_are_drawn_with_their_intervals_and_models() -> None:
    figure = plot_changes(*effects(), base(), 5)
    titles = [axes.get_title() for axes in figure.axes]
    names = ("Humanities\n(in domain)", "STEM\n(out of domain)")
    assert titles == [f"{name}\n{shots}" for name in names for shots in ("zero-shot", "5-shot")]
    named = plot_changes(*effects(), base(), 5, {"humanities": "new", "stem": "known"})
    assert [axes.get_title().split("\n")[-1] for axes in named.axes] == ["zero-shot, new", "5-shot", "zero-shot, known", "5-shot"]
    few = figure.axes[1]
    half = np.hypot(1.96 * 0.01, 12.706 * 0.02)
    for color, change in ((VERMILION, -0.3), (BLUE, -0.1), (BLACK, 0.2)):
        np.testing.assert_allclose(curve(few, color)[:, 0], [100 * (change - half), 100 * (change + half)], rtol=1e-4)
    assert curve(figure.axes[0], BLUE)[:, 0].max() == 100
    dots = {to_hex(str(line.get_color())).upper(): np.asarray(line.get_xdata()) for line in few.lines if line.get_markersize() == 3}
    np.testing.assert_allclose(dots[BLUE], [-15, -5])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["qkv", "v", "v − qkv", "zero-shot loss"]
    chances = [line for axes in figure.axes for line in axes.lines if str(line.get_color()) == CHANCE_LOOK["color"]]
    np.testing.assert_allclose([line.get_xdata() for line in chances], [[5, 5], [-35, -35], [-5, -5], [-45, -45]])
    assert [np.ptp(line.get_ydata()) for line in chances] == [2.0] * 4
    assert all(-100 <= end <= 100 for axes in figure.axes for end in axes.get_xlim())
    heights = [curve(few, color)[0, 1] for color in (VERMILION, BLUE, BLACK)]
    assert heights == list(figure.axes[0].get_yticks()[:3])


def test_one_model_has_the_interval_over_questions() -> None:
    table, models = effects()
    figure: Figure = plot_changes(table.assign(seed_error=np.nan, num_seeds=1), models, base(), 5)
    assert np.ptp(curve(figure.axes[1], BLUE)[:, 0]) / 2 == pytest.approx(1.96)


def test_unknown_targets_and_losses_are_drawn_too() -> None:
    table = accuracies()
    table.loc[table["targets"] == "v", ["targets", "loss"]] = [".*o_proj", "0.5,1"]
    figure = plot_zero_against_few(table, 1)
    assert {".*o_proj", "0.5,1"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    told, models = (one.replace({"targets": {"v": ".*o_proj"}, "loss": {"zero_shot": "0.5,1"}}) for one in effects())
    labels = [label.get_text() for label in plot_changes(told, models, base(), 5).axes[0].get_yticklabels()]
    assert labels == ["qkv", ".*o_proj", "v − qkv", "0.5,1"]


def test_what_cannot_be_drawn_is_refused() -> None:
    table = accuracies()
    with pytest.raises(InputError, match="both 0 and 7 shots; there are some at 0, 1, 5"):
        plot_zero_against_few(table, 7)
    with pytest.raises(InputError, match="both 0 and 0 shots"):
        plot_zero_against_few(table, 0)
    with pytest.raises(InputError, match="of the base model on stem"):
        plot_zero_against_few(table[(table["targets"] != "base") | (table["category"] != "stem")], 5)
    with pytest.raises(InputError, match=r"several methods \(generation, letters\)"):
        plot_zero_against_few(pd.concat([table, table.assign(method="generation")]), 5)
    tuned = table.assign(rank=np.where(table["targets"] == "v", 16, 8))
    with pytest.raises(InputError, match=r"several ranks \(16, 8\): draw one at a time, for example with --select rank="):
        plot_zero_against_few(tuned, 5)
    none, models = (one[one["shots"] == 1] for one in effects())
    with pytest.raises(InputError, match="no changes at 0 or 5 shots"):
        plot_changes(none, models, base(), 5)
