"""One table of models, regimes and gradients: finite, only the trainable set moves, alone as in a batch, saved as measured."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import experiment, models
from lsa_jax.experiment import Rows
from lsa_jax.regimes import Family
from lsa_jax.setting import Setting

OWN = lsa.Regime(name="own", train="query_key", loss={"zero_shot": 1.0, "few_shot": 0.5, "prior": 0.5, "l2_sp": 0.1})
FAMILY = Family.of([OWN])
NAMES = [regime.name for regime in FAMILY.regimes]
CASES = [
    ("linear", "population"),
    *(pytest.param(case, marks=pytest.mark.slow) for case in (("linear", "sampled"), ("softmax", "sampled"))),
]
DEEP = pytest.param(("transformer", "sampled"), marks=pytest.mark.slow)


def setting(model: str, gradient: str, seed: Any) -> Setting:
    """A setting of a few steps."""
    few: dict[str, Any] = {"dim": 2, "steps": 8, "batch_size": 8, "init_std": 0.2, "noise_std": 0.3, "pretraining_shots": 4.0}
    shape = {"layers": 2, "heads": 2} if model == "transformer" else {}
    return Setting(model=model, gradient=gradient, seed=seed, **few, **shape)


def lineage_of(model: str, gradient: str, seed: Any) -> dict[str, Any]:
    """All models of a lineage by regime."""
    one = setting(model, gradient, seed)
    lineage = experiment.draw(one, jnp.eye(2), lsa.SpherePrior(dim=2))
    trained: dict[str, Any] = {}
    for regime in FAMILY.regimes:
        parent = None if regime.start is None else trained[regime.start]
        knobs = dict.fromkeys(regime.knobs, 3.0)
        trained[regime.name] = experiment.train(one, lineage, regime, knobs, parent, Rows(prior=4, target=3))
    return trained


@pytest.fixture(scope="module", params=[*CASES, DEEP], ids=" ".join)
def trained(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A model's name, its lineages of two seeds in one batch, and that of the second seed alone."""
    model, gradient = request.param
    together = jax.jit(jax.vmap(lambda seed: lineage_of(model, gradient, seed)))(jnp.arange(2, dtype=jnp.uint32))
    return model, together, jax.jit(lambda seed: lineage_of(model, gradient, seed))(jnp.uint32(1))


Trained = tuple[str, dict[str, Any], dict[str, Any]]


def test_a_lineage_alone_is_what_it_is_in_a_batch(trained: Trained) -> None:
    _, together, alone = trained
    for one, batched in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(one, batched[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_finite_and_nothing_diverged(name: str, trained: Trained) -> None:
    run = trained[1][name]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((run.params, run.history)))
    assert not run.diverged.any()


@pytest.mark.parametrize("name", NAMES[1:])
def test_only_the_trainable_set_moves(name: str, trained: Trained) -> None:
    model, together, _ = trained
    regime = FAMILY.by_name[name]
    before, after = together[str(regime.start)].params, together[name].params
    inside = models.mask(setting(model, "sampled", 0).network, after, regime.train)
    leaves = list(zip(*map(jax.tree.leaves, (inside, before, after)), strict=True))
    assert all(np.array_equal(old, new) for moves, old, new in leaves if not moves)
    assert any(not np.array_equal(old, new) for moves, old, new in leaves if moves)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_what_a_sweep_saves_is_what_it_measures(case: tuple[str, str], tmp_path: Path) -> None:
    model, gradient = case
    grid = {
        "model": model,
        "gradient": gradient,
        **({"batch_size": 8} if gradient == "sampled" else {}),
        "dim": 2,
        "seed": "0:2",
        "steps": 8,
        "regimes": [OWN],
        "regime": ["pretrained", "own"],
        "evaluation_shots": [0, 3, "inf"],
        "simulation_prompts": 100,
        "dtype": "float64",
    }
    lsa.run_sweep(grid, tmp_path, save_params=True, seed_batch=2)
    frame = lsa.load(tmp_path).frame
    exact = model == "linear"
    assert set(frame["metric"]) == {"simulated_risk", "standard_error"} | ({"risk", "optimum_risk"} if exact else set())
    assert frame["value"].notna().all()
    assert set(frame.loc[frame["metric"] == "simulated_risk", "evaluation_shots"]) == ({0, 3, np.inf} if exact else {0, 3})
    assert not (frame["regime"].eq("own") & frame["metric"].eq("optimum_risk")).any()
    (file,) = (tmp_path / "params").iterdir()
    arrays = np.load(file)
    params = lsa.Params(value=arrays["value own 20"][1], query_key=arrays["query_key own 20"][1])
    if not exact:
        assert params.dim == 2
        return
    problem = lsa.LinearRegression(jnp.eye(2), 0.1**0.5)
    wanted = lsa.population_risk(params, problem, arrays["target_task"][1], 3)
    here = (frame["regime"] == "own") & (frame["seed"] == 1) & (frame["metric"] == "risk") & (frame["evaluation_shots"] == 3)
    np.testing.assert_allclose(frame[here & (frame["test_task"] == "target")]["value"], wanted, rtol=1e-9)
