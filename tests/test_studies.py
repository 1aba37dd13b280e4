"""The gallery: its numbers are those of the theory, its points lie on its curves, and its figures show what the records hold."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.integrate
from agreement import assert_agrees
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import lsa_jax as lsa
from lsa_jax.lab.settings import Settings
from lsa_jax.plotting import families, studies
from lsa_jax.plotting.diversity import plot_diversity
from lsa_jax.plotting.gauge import plot_gauge
from lsa_jax.plotting.style import TITLES
from lsa_jax.plotting.training import plot_forgetting
from lsa_jax.regimes import Given
from lsa_jax.regimes.paper import FULL, VALUE
from lsa_jax.studies import command, diversity, gauge, pool_remedies, published, setting, tasks, tradeoffs, training, trajectories

PROMPTS = 20_000
GALLERY = Path(__file__).parents[1] / "docs" / "gallery"


def computed(study: str) -> pd.DataFrame:
    """The records of a study, as the command computes them."""
    with jax.enable_x64(True):
        return command.STUDIES[study].compute(PROMPTS)


def assert_points_on_curves(curves: pd.DataFrame) -> None:
    """Simulated points within 5 standard errors, and not so near that they could not miss."""
    points = curves[curves["simulated"].notna()]
    deviations = (points["simulated"] - points["y"]) / points["standard_error"].clip(lower=1e-9)
    assert np.abs(deviations).max() < 5
    assert len(points) < 20 or deviations.std() > 0.5


@pytest.mark.slow
def test_the_published_study_of_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "DIMENSIONS", (6,))
    curves = computed("pretrained")
    assert_points_on_curves(curves)
    risk = curves.set_index("x")["y"]
    assert curves["mark"].iloc[0] == pytest.approx(5, abs=0.1)
    assert risk[4] > risk[0] > risk[5]


@pytest.mark.slow
def test_the_family_of_full_optima(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "FULL_SCALES", (0.3, 3.0))
    curves = computed("full")
    assert_points_on_curves(curves)
    zero_shot = curves[curves["x"] == 0].set_index(["panel", "line"])["y"].unstack()
    np.testing.assert_allclose(zero_shot.to_numpy(), [[0.1, 0.1], [4.1, 4.1]], rtol=1e-12)


@pytest.mark.slow
def test_the_family_of_value_optima_and_its_best_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "VALUE_SCALES", (0.6, 0.7))
    curves = computed("value")
    assert_points_on_curves(curves)
    best = curves[curves["panel"] == "scale"].set_index("x")
    assert best["y"][20] == pytest.approx(0.6540880503)
    assert best["mark"].iloc[0] == pytest.approx(8 / 9)
    figure = families.plot_value_family(curves)
    assert [axes.get_title() for axes in figure.axes] == [r"target task $\theta_0$", r"unseen task $-\theta_0$", ""]


def test_damage_is_linear_in_the_cosine_and_points_lie_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "SHOTS", (20.0, np.inf))
    curves = computed("cosine")
    assert_points_on_curves(curves)
    for _, line in curves.groupby(["panel", "line"]):
        assert np.abs(np.diff(line["y"], 2)).max() < 1e-12
    limit = curves[(curves["panel"] == TITLES["value"]) & (curves["line"] == r"$n = \infty$")]
    assert limit["y"].iloc[0] > limit["y"].iloc[-1]


@pytest.mark.slow
def test_damage_by_direction_is_that_of_single_tasks() -> None:
    curves = computed("directions")
    assert_points_on_curves(curves)
    assert sorted(curves["x"].unique()) == pytest.approx(sorted(8 / np.arange(1, 9) / np.sum(1 / np.arange(1, 9))))


def test_paths_end_where_the_conserved_quantity_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories, "CONSERVED", (-0.0875, 2.0))
    paths = computed("paths")
    ends = paths.groupby("conserved").last()
    np.testing.assert_allclose(ends["w"], ends["w_end"], rtol=5e-3)
    np.testing.assert_allclose(ends["bias"], 1 / ends["w_end"], rtol=5e-3)
    assert (ends["block"].abs() < 1e-3).all()
    assert (paths.groupby("conserved")["value_label"].agg(np.ptp) < 1e-9).all()
    assert len(studies.plot_paths(paths).axes) == 3


@pytest.mark.slow
def test_the_annealed_variant_comes_nearer_to_the_constrained_optimum_with_more_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories, "ANNEALED_STEPS", (30, 3000))
    distance = computed("annealed").pivot_table(index="x", columns="line", values="y")
    assert (distance.loc[3000] < 0.1 * distance.loc[30]).all()
    assert (distance.loc[3000] < 1e-3).all()


@pytest.mark.slow
def test_phases_name_the_regime_of_the_least_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tradeoffs, "DIMENSIONS", (2, 5))
    monkeypatch.setattr(tradeoffs, "PHASE_SHOTS", np.array([2.0, 20.0, 60.0]))
    monkeypatch.setattr(tradeoffs, "NOISE_LEVELS", np.array([0.1**0.5, 1.0]))
    table = computed("phases")
    least = table[list(tradeoffs.REGIMES)].min(axis=1)
    assert all(row[row["best"]] == low for (_, row), low in zip(table.iterrows(), least, strict=True))
    same = table[(table["level"] == 5) & (table["against"] == "dim")].reset_index(drop=True)
    other = table[(table["level"] == 0.1**0.5) & (table["against"] == "noise_std")].reset_index(drop=True)
    pd.testing.assert_frame_equal(same[list(tradeoffs.REGIMES)], other[list(tradeoffs.REGIMES)])
    assert isinstance(studies.plot_phases(table), Figure)


def test_the_trade_off_holds_the_regimes(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {"zero_shot": 0.3, "target": 0.3, "unseen": 0.4}
    monkeypatch.setattr(tradeoffs, "_trained", lambda settings: pd.DataFrame([{"kind": "trained", "name": "value", **errors}]))
    models = computed("tradeoff")
    optima = models[models["kind"] == "optimum"].set_index("name")
    assert optima.loc["value", "unseen"] == pytest.approx(0.3916048009)
    assert optima.loc["value_auxiliary", "target"] == pytest.approx(0.3242716483)
    scales = models[models["kind"] == "scale curve"]
    assert scales["target"].min() == pytest.approx(optima.loc["value_auxiliary", "target"], rel=1e-3)
    assert np.ptp(scales["zero_shot"]) < 1e-12
    assert len(studies.plot_tradeoff(models).axes) == 2


@pytest.mark.slow
def test_models_trained_on_samples_are_near_the_optima() -> None:
    models = computed("tradeoff")
    optima = models[models["kind"] == "optimum"].set_index("name")
    trained = models[models["kind"] == "trained"].groupby("name")[["zero_shot", "target", "unseen"]].mean()
    assert (models["kind"] == "trained").sum() == 4 * tradeoffs.SEEDS
    np.testing.assert_allclose(trained, optima.loc[trained.index, trained.columns], rtol=0.1)


def test_forgetting_starts_free_and_ends_with_the_worth_of_examples_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RUNS", 2), ("LOOKS", (2, 5)), ("BATCH", 8)):
        monkeypatch.setattr(training, name, value)
    table = computed("forgetting")
    flow, value_only, trained = (table[table["kind"] == kind] for kind in ("flow", "value", "trained"))
    assert flow["zero_shot"].iloc[-1] == pytest.approx(0.1, abs=1e-6)
    assert value_only["zero_shot"].iloc[-1] == pytest.approx(0.3222222222)
    later = flow["time"] > table["lost"].iloc[0]
    assert flow["prior"][~later].iloc[-1] < (1.1 + flow["prior"].iloc[0]) / 2 < flow["prior"][later].iloc[0]
    price = np.interp(value_only["zero_shot"], flow["zero_shot"][::-1], flow["prior"][::-1])
    np.testing.assert_allclose(price, value_only["prior"], atol=2e-3)
    assert len(trained) == 4
    assert len(plot_forgetting(table).axes) == 2


def test_forgetting_is_read_off_between_the_points_of_a_front_and_not_beyond_them() -> None:
    front = pd.DataFrame({"gain": [0.1, 0.4, 0.8, 0.3], "forgotten": [0.0, 0.1, 0.5, 9.0]})
    assert gauge._forgotten(front, 0.5) == pytest.approx(0.2)
    assert np.isnan([gauge._forgotten(front, gain) for gain in (0.05, 0.9)]).all()


@pytest.mark.slow
def test_l2_sp_forgets_more_where_moves_of_q_are_the_cheaper_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SETTINGS", Settings(dim=2, shots=10, knobs=9)), ("SCALES", (0.5, 4.0)), ("REMEDIES", ("l2_sp",))):
        monkeypatch.setattr(gauge, name, value)
    table = computed("gauge")
    lost = table.pivot_table(index="gain", columns="scale", values="forgotten")
    assert lost.loc[0.75, 4.0] > 2 * lost.loc[0.75, 0.5] > 0
    assert [axes.get_title()[:3] for axes in plot_gauge(table).axes] == ["50%", "75%"]


@pytest.mark.slow
def test_simulated_descent_hovers_at_the_exact_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCHES", (8, 512))
    curves = computed("hovering")
    assert_points_on_curves(curves)
    for _, line in curves.groupby("line"):
        assert (np.diff(line["y"]) > 0).all()
        assert line["x"].max() < line["mark"].iloc[0]


@pytest.mark.slow
def test_training_with_clipping_ends_where_clipped_gradients_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NORMS", (1.0,)), ("CLIPPED_BATCHES", (1, 16)), ("TRAINED_BATCHES", (16,))):
        monkeypatch.setattr(training, name, value)
    curves = computed("clipping").set_index("x")
    assert curves["y"][1] == pytest.approx(1.9249, abs=1e-4)
    assert curves["y"][16] == pytest.approx(1.2203, abs=0.01)
    assert abs(curves["simulated"][16] - curves["y"][16]) < 5 * curves["standard_error"][16]


@pytest.mark.slow
def test_what_is_forgotten_after_pools_of_growing_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "SIZES", (2, 4, 64))
    monkeypatch.setattr(diversity, "POOLS", 16)
    monkeypatch.setattr(diversity, "MOVED_SIZES", (4, np.inf))
    monkeypatch.setattr(diversity, "MOVED_POOLS", 1)
    table = computed("task_diversity")
    places = ["name", "panel", "tasks"]
    told = table[table["kind"] != "remedy_all"].set_index(places).sort_index()
    error, half = told["error"], told["half_width"]
    pool, fresh = error["pretrained", "pool"], error["pretrained", "prior"]
    assert pool[2] < pool[4] < pool[64] < pool[np.inf]
    assert fresh[2] > fresh[4] > fresh[64] > fresh[np.inf]
    assert pool[np.inf] == pytest.approx(fresh[np.inf], rel=1e-12)
    assert fresh[np.inf] == pytest.approx(0.3452830189)
    assert fresh[2] - half["pretrained", "prior"][2] > error["pretrained", "zero_shot"][2] > fresh[4] + half["pretrained", "prior"][4]
    assert error["value", "prior"][np.inf] == pytest.approx(0.3694, abs=5e-5)
    assert (half.xs(np.inf, level="tasks") < 1e-9).all()
    np.testing.assert_allclose(error["full", "zero_shot"], 0.1, atol=1e-9)
    remedies = table[table["kind"] == "remedy"].set_index(places).sort_index()
    level = 0.25 * error["pretrained", "zero_shot"] + 0.75 * error["value", "zero_shot"]
    for name in diversity.REMEDIES:
        np.testing.assert_allclose(remedies["error"][name, "zero_shot"], level, rtol=1e-9)
    last = remedies["forgotten"].xs(("prior", np.inf), level=("panel", "tasks"))
    np.testing.assert_allclose(last, last.iloc[0], rtol=5e-3, err_msg="one curve, up to linear interpolation between knobs")
    moved = table[table["kind"] == "remedy_all"].set_index(places).sort_index()
    for name in pool_remedies.REMEDIES:
        assert moved["error"][name, "zero_shot"][np.inf] == pytest.approx(level[np.inf], rel=1e-9)
    assert moved["forgotten"]["prior", "prior"][np.inf] == pytest.approx(moved["forgotten"]["distillation", "prior"][np.inf], rel=1e-6)
    assert 0 < moved["forgotten"]["prior", "prior"][np.inf] < last.min(), "V alone is one of all ways"
    assert len(plot_diversity(table).axes) == 9


@pytest.mark.slow
def test_replay_of_a_pool_forgets_least_of_all_parameters_nearby(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_remedies, "KNOBS", np.logspace(1, -3, 33))
    case = setting.published()
    pool, task, shots = lsa.FiniteTasks(tasks=case.prior.sample(jax.random.key(3), 6).T), case.target_task, jnp.asarray(20.0)
    start = diversity.pretrained(case.problem, pool, shots)
    level, flat = 0.3, ravel_pytree(start)
    told = pool_remedies.errors_at(level, pool_remedies.Pretrained(case.problem, pool, task, shots, start), case.prior)
    zero_shot, on_pool = (
        jax.jit(jax.value_and_grad(risk))
        for risk in (
            lambda entries: lsa.population_risk(flat[1](entries), case.problem, task, 0),
            lambda entries: lsa.prior_risk(flat[1](entries), case.problem, pool, 20),
        )
    )
    least = scipy.optimize.minimize(
        lambda entries: tuple(np.asarray(part) for part in on_pool(entries)),
        np.asarray(flat[0]),
        jac=True,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda x: float(zero_shot(x)[0]) - level, "jac": lambda x: np.asarray(zero_shot(x)[1])},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert least.success
    forgotten = least.fun - float(on_pool(flat[0])[0])
    assert forgotten > 1e-3
    assert -1e-7 < told["prior"][1] - least.fun < 0.05 * forgotten, "up to linear interpolation between knobs"
    assert all(told[name][1] > least.fun for name in ("distillation", "ewc"))


@pytest.mark.slow
@pytest.mark.parametrize("regime", [FULL, VALUE], ids=lambda regime: regime.name)
def test_errors_after_a_small_pool_are_simulated_and_reached_by_gradient_flow(regime: lsa.Regime) -> None:
    case = setting.published()
    pool, task, shots = lsa.FiniteTasks(tasks=case.prior.sample(jax.random.key(3), 4).T), case.target_task, jnp.asarray(20.0)
    start = diversity.pretrained(case.problem, pool, shots)
    told = diversity.errors_after(case.problem, case.prior, pool, task, shots)["regime"][regime.name]
    assert regime.optimum is not None
    tuned = regime.optimum(Given(case.problem, start, task, shots))
    for place, law in ((1, pool), (2, case.prior)):
        found = lsa.empirical_risk(jax.random.key(place), tuned, case.problem, law, 20, 400_000)
        assert_agrees(float(found.mean), float(found.standard_error), float(told[place]))
    moving, back = (start, lambda params: params) if regime is FULL else (start.value, lambda value: start.replace(value=value))
    flat, unravel = ravel_pytree(moving)
    loss = jax.jit(lambda entries: lsa.population_risk(back(unravel(entries)), case.problem, task, 0))
    slope, bend = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    run = scipy.integrate.solve_ivp(
        lambda _, entries: -np.asarray(slope(entries)),
        (0, 3000),
        flat,
        method="LSODA",
        jac=lambda _, entries: -np.asarray(bend(entries)),
        rtol=1e-9,
        atol=1e-11,
    )
    end = back(unravel(jnp.asarray(run.y[:, -1])))
    reached = [lsa.population_risk(end, case.problem, task, 0)] + [lsa.prior_risk(end, case.problem, law, 20) for law in (pool, case.prior)]
    np.testing.assert_allclose(np.array(reached), np.asarray(told), rtol=2e-3)


def test_the_command_writes_figure_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    records = pd.DataFrame({"panel": "", "line": ["a", "b"], "x": [1.0, 2.0], "y": [1.0, 3.0]})
    draw = command.STUDIES["annealed"].draw
    monkeypatch.setitem(command.STUDIES, "annealed", command.Study(lambda prompts: records, draw))
    assert command.run(["annealed"], tmp_path, PROMPTS) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"annealed.{suffix}" for suffix in ("pdf", "png", "csv", "parquet")}
    assert "annealed" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "annealed.parquet"), records)


@pytest.mark.parametrize(("names", "prompts"), [(["pretrian"], 10), (["full"], 1)])
def test_bad_input_is_one_line(names: list[str], prompts: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pretrian|prompts is 1"):
        command.run(names, tmp_path / "out", prompts)
    assert not (tmp_path / "out").exists()


def test_every_study_is_in_the_gallery_page_with_its_figure_and_numbers() -> None:
    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "gallery.md").read_text()
    for name in command.STUDIES:
        assert f"lsa-jax gallery {name}" in page
        assert f"gallery/{name}.png" in page
        assert (docs / "gallery" / f"{name}.png").exists()
        assert (docs / "gallery" / f"{name}.csv").exists()
    assert setting.PUBLISHED.dim == 5


@pytest.mark.parametrize("name", ["cosine", "directions"])
def test_every_simulated_point_of_a_published_figure_lies_within_its_panel(name: str) -> None:
    numbers = pd.read_parquet(GALLERY / f"{name}.parquet")
    figure = command.STUDIES[name].draw(numbers)
    for axes, panel in zip(figure.axes, dict.fromkeys(numbers["panel"]), strict=True):
        low, high = axes.get_ylim()
        assert numbers.loc[numbers["panel"] == panel, "simulated"].dropna().between(low, high).all()
