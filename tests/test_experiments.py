"""The specs in experiments: all can be read and planned, and their smoke variants run and draw their figures."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import plotting
from lsa_jax.sweeps import plan, spec
from lsa_jax.sweeps.spec import Spec

FOLDER = Path(__file__).parents[1] / "experiments"
AGAINST = {
    "context_length": "pretraining_shots",
    "dimension": "dim",
    "large": "dim",
    "noise": "noise_std",
    "similarity": "cosine",
    "task_diversity": "num_tasks",
}


def varying(read: Spec) -> set[str]:
    """The axes of which a spec has several values, besides the regimes and seeds that every one has."""
    axes = {name for name in read.blocks[0] if len({value for block in read.blocks for value in block[name]}) > 1}
    return (axes | ({"cosine"} if len(read.cosines) > 2 else set())) - {"regime", "seed"}


def trained(read: Spec) -> int:
    """How many models a spec trains."""
    return sum(len(group.lineages) * len(group.trainings) for group in plan.plan(read))


def draw_smoke(name: str, out: Path) -> None:
    """Run a smoke variant and draw its figure, with both trained models and theory in it."""
    progress = lsa.run_sweep(FOLDER / "smoke" / f"{name}.toml", out)
    assert progress.done == progress.total
    assert (progress.failed, progress.diverged) == (0, 0)
    frame = lsa.load(out).frame
    frame = frame.assign(above_minimum=False)  # twenty steps reach no minimum
    numbers = plotting.sweep_numbers(frame, AGAINST[name])
    assert np.isfinite(numbers["theory"]).all()
    assert np.isfinite(numbers["trained"]).any()
    figure = plotting.plot_sweep(numbers, AGAINST[name])
    figure.savefig(out / "figure.png")
    plt.close("all")
    assert (out / "figure.png").stat().st_size > 1000


def test_every_spec_is_known_here_and_has_a_smoke_variant() -> None:
    for folder in (FOLDER, FOLDER / "smoke"):
        assert sorted(path.stem for path in folder.glob("*.toml")) == sorted(AGAINST)


@pytest.mark.parametrize("name", AGAINST)
def test_a_smoke_variant_varies_the_same_axes_and_is_tiny(name: str) -> None:
    full, smoke = spec.read(FOLDER / f"{name}.toml"), spec.read(FOLDER / "smoke" / f"{name}.toml")
    assert AGAINST[name] in varying(full)
    assert varying(smoke) == varying(full)
    assert smoke.evaluation_shots == full.evaluation_shots
    assert 0 < trained(smoke) <= 32 < trained(full)
    assert {value for block in smoke.blocks for value in block["steps"]} == {20}


@pytest.mark.parametrize("name", AGAINST)
def test_a_figure_has_no_facets(name: str) -> None:
    facets = varying(spec.read(FOLDER / f"{name}.toml")) - {"gradient", AGAINST[name]}
    assert facets == ({"learning_rate", "pretraining_shots", "noise_std"} if name == "large" else set())


def test_the_large_sweep_is_large() -> None:
    read = spec.read(FOLDER / "large.toml")
    assert trained(read) >= 10**5
    assert max(max(map(int, block["dim"])) for block in read.blocks) == 256


def test_fronts_from_sampled_training_differ_in_the_model_and_the_knob_alone() -> None:
    read = spec.read(FOLDER / "sampled" / "forgetting.toml")
    assert varying(read) == {"layers", "heads", "attention"}
    groups = plan.plan(read)
    assert [len(group.lineages) for group in groups] == [6, 6, 6]
    assert {len(group.trainings) for group in groups} == {1 + 5 * 5}


@pytest.mark.slow
def test_similarity_runs(tmp_path: Path) -> None:
    draw_smoke("similarity", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(AGAINST) - {"similarity"}))
def test_the_others_run(name: str, tmp_path: Path) -> None:
    draw_smoke(name, tmp_path)
