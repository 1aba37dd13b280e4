"""The figure of few-shot against zero-shot accuracy: what is drawn where, and what is refused."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lsa_jax.errors import InputError
from lsa_jax.plotting.language_model import plot_zero_against_few
from lsa_jax.plotting.style import BLUE, FULL_WIDTH, VERMILION


def accuracies(**changes: Any) -> pd.DataFrame:
    """The base model and two runs with two checkpoints, in both domains."""
    rows = []
    for targets, loss, step in [("base", "base", 0), *[(name, "zero_shot", step) for name in ("qkv", "v") for step in (20, 10)]]:
        for domain, category in (("out", "stem"), ("in", "humanities")):
            for shots in (0, 1, 5):
                value = 0.3 + step / 100 * (1 if shots == 0 else -0.5 if targets == "qkv" else 0.1) + shots / 50 + 0.05 * (domain == "in")
                rows.append({
                    "targets": targets,
                    "loss": loss,
                    "step": step,
                    "domain": domain,
                    "category": category,
                    "shots": shots,
                    "accuracy": value,
                })
    table = pd.DataFrame(rows).assign(method="letters", format="chat", question_error=0.01, seed_error=0.02, num_seeds=3)
    return table.assign(**changes)


@pytest.fixture
def figure() -> Figure:
    return plot_zero_against_few(accuracies(), 5)


def path(figure: Figure, panel: int, color: str) -> np.ndarray:
    """The path of one colour."""
    for line in figure.axes[panel].lines:
        if to_hex(str(line.get_color())).upper() == color and line.get_linestyle() != "None":
            return np.asarray(line.get_xydata())
    raise AssertionError(f"nothing is drawn in {color}")


def intervals(axes: Axes) -> list[np.ndarray]:
    """Both ends of every error bar."""
    return [segment for lines in axes.collections if isinstance(lines, LineCollection) for segment in lines.get_segments()]


def test_panels_paths_and_base(figure: Figure) -> None:
    assert figure.get_size_inches()[0] == FULL_WIDTH
    assert [axes.get_title() for axes in figure.axes] == ["Humanities (in domain)", "STEM (out of domain)"]
    np.testing.assert_allclose(path(figure, 1, VERMILION), [[0.3, 0.4], [0.4, 0.35], [0.5, 0.3]])
    np.testing.assert_allclose(path(figure, 1, BLUE), [[0.3, 0.4], [0.4, 0.41], [0.5, 0.42]])
    np.testing.assert_allclose(path(figure, 0, BLUE)[0], [0.35, 0.45])
    stars = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "*"]
    assert [np.asarray(line.get_xydata()).tolist() for line in stars] == [[[0.35, 0.45]], [[0.3, 0.4]]]
    assert figure.axes[0].get_ylabel() == "5-shot accuracy"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["base model", "qkv, zero-shot loss", "v, zero-shot loss"]
    plt.close(figure)


def test_every_point_has_intervals_in_both_directions(figure: Figure) -> None:
    half = np.hypot(1.96 * 0.01, 4.3027 * 0.02)
    bars = [bar for axes in figure.axes for bar in intervals(axes)]
    assert len(bars) == 2 * 2 * 5
    np.testing.assert_allclose([np.abs(bar[1] - bar[0]).max() / 2 for bar in bars], half, rtol=1e-4)
    plt.close(figure)


def test_one_seed_has_the_interval_over_questions() -> None:
    figure = plot_zero_against_few(accuracies(seed_error=np.nan, num_seeds=1), 5)
    bar = intervals(figure.axes[0])[0]
    assert np.abs(bar[1] - bar[0]).max() / 2 == pytest.approx(0.0196)
    plt.close(figure)


def test_unknown_targets_and_losses_are_drawn_too() -> None:
    table = accuracies()
    table.loc[table["targets"] == "v", ["targets", "loss"]] = [".*o_proj", "0.5,1"]
    figure = plot_zero_against_few(table, 1)
    assert [text.get_text() for text in figure.legends[0].get_texts()][2] == ".*o_proj, 0.5,1"
    plt.close(figure)


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
