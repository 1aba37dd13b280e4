"""The examples: short, each runs from start to end, and each own thing of theirs arrives in the records."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import lsa_jax as lsa

FOLDER = Path(__file__).parents[1] / "examples"
SMALL = {"steps": 20, "seed": "0:2"}


def spec_of(name: str) -> dict[str, object]:
    """The spec of an example, with few steps."""
    return {**runpy.run_path(str(FOLDER / f"{name}.py"))["spec"], **SMALL}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


def test_exact_and_simulated_agree(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(FOLDER / "exact_vs_simulated.py"), run_name="__main__")
    assert capsys.readouterr().out.count("±") == 8


@pytest.mark.slow
def test_an_own_objective_is_swept_by_its_weight(tmp_path: Path) -> None:
    lsa.run_sweep(spec_of("own_objective"), tmp_path)
    frame = lsa.load(tmp_path).frame
    assert sorted(frame.loc[frame["regime"] == "ewc", "weight_ewc"].unique()) == [0.01, 0.1, 1.0, 10.0]
    assert frame.loc[frame["regime"] != "ewc", "weight_ewc"].isna().all()
    numbers = lsa.plotting.sweep_numbers(frame.assign(above_minimum=False), "weight_ewc")
    assert len(lsa.plotting.plot_sweep(numbers, "weight_ewc").axes) == 1


@pytest.mark.slow
def test_an_own_axis_branches_from_one_pretrained_model(tmp_path: Path) -> None:
    lsa.run_sweep(spec_of("own_axis"), tmp_path)
    frame = lsa.load(tmp_path).frame
    risks = frame[(frame["metric"] == "risk") & (frame["regime"] == "replay")].groupby("replayed_shots")["value"].mean()
    assert list(risks.index) == [5.0, 20.0, 80.0]
    assert risks.nunique() == 3
    assert frame.loc[frame["regime"] == "full", "replayed_shots"].isna().all()


@pytest.mark.slow
def test_an_own_prior_has_exact_values_where_it_has_moments(tmp_path: Path) -> None:
    lsa.run_sweep(spec_of("own_prior"), tmp_path)
    assert set(lsa.load(tmp_path).frame["metric"]) == {"risk", "optimum_risk"}


def test_moments_of_the_own_prior_are_those_of_its_draws() -> None:
    import jax
    import jax.numpy as jnp

    prior = runpy.run_path(str(FOLDER / "own_prior.py"))["spec"]["prior"]
    problem = lsa.LinearRegression(covariance=jnp.diag(jnp.array([2.0, 1.0, 0.5])), noise_std=0.3)
    params = lsa.models.LINEAR.init(jax.random.key(1), 3, 0.5)
    tasks = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    mean = jnp.mean(jax.vmap(lambda task: lsa.population_risk(params, problem, task, 7))(tasks))
    np.testing.assert_allclose(lsa.prior_risk(params, problem, prior, 7), mean, rtol=1e-12)


def test_an_own_model_goes_through_a_sweep_and_its_figure(tmp_path: Path) -> None:
    lsa.run_sweep({**spec_of("own_model"), "simulation_prompts": 100}, tmp_path)
    frame = lsa.load(tmp_path).frame
    assert set(frame["metric"]) == {"simulated_risk", "standard_error"}
    assert set(frame["model"]) == {"gated"}
    assert len(lsa.plotting.plot_sweep(lsa.plotting.sweep_numbers(frame, "evaluation_shots"), "evaluation_shots").axes) == 3


@pytest.mark.parametrize("model", [f"{FOLDER / 'own_model.py'}:Gated", f"{FOLDER / 'own_model.py'}:nothing", "no.such.module:x"])
def test_what_is_no_model_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=r"model .*(is the class Gated|defines no|cannot be read)"):
        lsa.models.of(model)
