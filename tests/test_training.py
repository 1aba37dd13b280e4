"""Training: where it lands, what it leaves alone, and what it says of itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lsa_jax as lsa
from lsa_jax import models, objectives, optimizers, regimes, training

STEPS = 5000
SETTINGS = training.Settings(steps=STEPS, history_stride=50)


def train(
    objective: objectives.Objective, start: lsa.Params, settings: training.Settings = SETTINGS, rate: float = 0.01
) -> training.Trained:
    """One compiled run with the default optimiser."""
    run = jax.jit(lambda start: training.train(jax.random.key(1), objective, start, optimizers.sgd(rate, settings.steps), settings))
    return run(start)


def zero_shot(risk: objectives.Risk, trainable: str) -> objectives.Objective:
    """The zero-shot error over a trainable set."""
    inputs = objectives.Inputs(models.LINEAR, trainable, risk, risk, 20, {})
    return lsa.Regime(name="own", loss={"zero_shot": 1.0}, train=trainable).objective(inputs)


@pytest.fixture(scope="module")
def published() -> tuple[lsa.LinearRegression, jax.Array, lsa.Params]:
    """Problem, target task and the model pretrained by population gradients from the published initialisation."""
    problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
    risk = objectives.population_gradient(problem, lsa.SpherePrior(dim=5))
    start = lsa.models.LINEAR.init(jax.random.key(0), 5)
    return problem, jnp.array([0.6, -0.8, 0.0, 0.0, 0.0]), train(regimes.stages("pretrained", risk, 20)[0], start).params


Published = tuple[lsa.LinearRegression, jax.Array, lsa.Params]


def test_pretraining_lands_on_the_closed_form(published: Published) -> None:
    params = published[2]
    block = params.value[-1, -1] * params.query_key[1:-1, 1:-1]
    np.testing.assert_allclose(block, 0.79245 * np.eye(5), atol=1e-3)
    np.testing.assert_allclose(block, 21 / 26.5 * np.eye(5), atol=1e-5)


@pytest.mark.parametrize("regime", ["value", "value_auxiliary"])
def test_value_fine_tuning_lands_on_the_closed_form(regime: str, published: Published) -> None:
    problem, task, params = published
    trained = params
    for objective in regimes.stages(regime, objectives.population_gradient(problem, task), 20):
        trained = train(objective, trained).params
    closed = {
        "value": lsa.optima.value(params, problem, task),
        "value_auxiliary": lsa.optima.value_auxiliary(params, problem, task, 20),
    }[regime]
    np.testing.assert_allclose(trained.value[-1], closed.value[-1], atol=1e-4)
    np.testing.assert_array_equal(trained.query_key, params.query_key)


def test_full_fine_tuning_lands_in_the_first_family_at_the_conserved_scale(published: Published) -> None:
    problem, task, params = published
    (objective,) = regimes.stages("full", objectives.population_gradient(problem, task), 20)
    trained = train(objective, params).params
    scale = float(trained.value[-1, 1:-1] @ task)
    np.testing.assert_allclose(trained.value[-1, 1:-1], scale * task, atol=1e-4)
    assert trained.query_key[0, 0] == pytest.approx(1 / scale, rel=1e-3)
    symmetric = trained.query_key[:-1, :-1] + trained.query_key[:-1, :-1].T
    assert np.abs(symmetric.at[0, 0].set(0.0)).max() < 1e-3
    assert trained.value[-1, -1] == params.value[-1, -1]
    assert scale == pytest.approx(float(lsa.optima.conserved_scale(problem, task, params)), rel=0.02)


def test_stage_two_stays_in_the_argmin_set_of_stage_one(published: Published) -> None:
    problem, task, params = published
    start = lsa.optima.value(params, problem, task)
    objective = regimes.stages("value_auxiliary", objectives.fresh_prompts(problem, task, 64), 20)[-1]
    trained = train(objective, start, training.Settings(steps=200)).params
    assert trained.value[-1, -1] != start.value[-1, -1]
    before, after = (lsa.population_risk(p, problem, task, 0) for p in (start, trained))
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_small_batches_know_the_argmin_set_as_well(batch_size: int, published: Published) -> None:
    problem, task, params = published
    start = lsa.optima.value(params, problem, task)
    objective = regimes.stages("value_auxiliary", objectives.fresh_prompts(problem, task, batch_size), 20)[-1]
    trained = train(objective, start, training.Settings(steps=100)).params
    np.testing.assert_allclose(trained.value[-1, :-1], start.value[-1, :-1], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_argmin_set_is_known_for_an_ill_conditioned_covariance() -> None:
    single = jnp.float32
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(16, 4.0).astype(single), noise_std=jnp.asarray(0.3, single))
    task = jnp.ones(16, single)
    start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=16, radius=jnp.asarray(1, single)), 20)
    objective = regimes.stages("value_auxiliary", objectives.population_gradient(problem, task), 20)[-1]
    state = training.start(jax.random.key(0), objective, start, optax.sgd(0.01), training.Settings(steps=1))
    (projector,) = [leaf for leaf in jax.tree.leaves(state.aux) if leaf.shape == (18, 18)]
    np.testing.assert_allclose(projector, np.diag([0.0] * 17 + [1.0]), atol=1e-5)


@pytest.mark.parametrize("trainable", ["all", "value", "query_key"])
def test_only_the_trainable_set_moves(trainable: str, published: Published) -> None:
    problem, task, params = published
    objective = zero_shot(objectives.population_gradient(problem, task), trainable)
    for optimizer in (optimizers.sgd(0.01, 10), optax.adamw(0.01)):
        moved = training.train(jax.random.key(0), objective, params, optimizer, training.Settings(steps=10)).params
        assert np.array_equal(moved.value, params.value) == (trainable == "query_key")
        assert np.array_equal(moved.query_key, params.query_key) == (trainable == "value")


@pytest.mark.thinned(3)
@pytest.mark.parametrize("source", ["fresh", "tokens", "pool"])
def test_sampled_fine_tuning_approaches_the_closed_form(source: str, published: Published) -> None:
    problem, task, params = published
    if source == "pool":
        pool = lsa.prompts.sample_pool(jax.random.key(2), problem, task, 100_000)
        risk = objectives.pooled_prompts(pool, 512)
    else:
        risk = objectives.fresh_prompts(problem, task, 512, sampler="projected" if source == "fresh" else source)
    trained = params
    for objective in regimes.stages("value_auxiliary", risk, 5):
        trained = train(objective, trained, training.Settings(steps=1500)).params
    closed = lsa.optima.value_auxiliary(params, problem, task, 5)
    for shots in (0, 5):
        wanted = lsa.population_risk(closed, problem, task, shots)
        np.testing.assert_allclose(lsa.population_risk(trained, problem, task, shots), wanted, rtol=0.02)


def test_annealed_variant_weights_the_few_shot_loss_by_what_is_left_of_the_run(published: Published) -> None:
    problem, task, params = published
    risk = objectives.population_gradient(problem, task)
    (objective,) = regimes.stages("value_annealed", risk, 20)
    zero, few = (lsa.population_risk(params, problem, task, shots) for shots in (0, 20))
    for fraction in (0.0, 0.25, 1.0):
        aux = objective.prepare(jax.random.key(0), params)
        loss = objective.loss(jax.random.key(0), params, jnp.asarray(fraction), aux)
        np.testing.assert_allclose(loss, zero + (1 - fraction) * few, rtol=1e-12)


@pytest.mark.slow
def test_learning_rate_decay_and_averaging_remove_the_bias_of_constant_steps(published: Published) -> None:
    problem, _, _ = published
    prior = lsa.SpherePrior(dim=5)
    start = lsa.optima.pretrained(problem, prior, 20)
    best = lsa.prior_risk(start, problem, prior, 20)
    objective = regimes.stages("pretrained", objectives.fresh_prompts(problem, prior, 32), 20)[0]

    def excess(decay: str, average_last: float) -> float:
        settings = training.Settings(steps=2000, history_stride=2000, average_last=average_last)
        optimizer = optimizers.sgd(0.01, 2000, decay)
        runs = jax.jit(jax.vmap(lambda key: training.train(key, objective, start, optimizer, settings).params))
        trained = runs(jax.random.split(jax.random.key(3), 8))
        return float(jnp.mean(jax.vmap(lambda p: lsa.prior_risk(p, problem, prior, 20))(trained)) / best - 1)

    constant = excess("constant", 0.0)
    assert constant > 0.02
    assert excess("linear", 0.0) < constant / 4
    assert excess("constant", 0.5) < constant / 4


@pytest.mark.slow
def test_average_of_the_last_iterates_is_their_mean(published: Published) -> None:
    problem, task, params = published
    objective = zero_shot(objectives.population_gradient(problem, task), "value")
    optimizer = optimizers.sgd(0.01, 10, "constant")

    def after(steps: int, average_last: float = 0.0) -> jax.Array:
        settings = training.Settings(steps=steps, average_last=average_last)
        return training.train(jax.random.key(0), objective, params, optimizer, settings).params.value

    wanted = (after(8) + after(9) + after(10)) / 3
    np.testing.assert_allclose(after(10, 0.3), wanted, rtol=1e-12)


def test_history_is_the_mean_loss_of_each_stride(published: Published) -> None:
    problem, task, params = published
    objective = zero_shot(objectives.population_gradient(problem, task), "value")
    every = train(objective, params, training.Settings(steps=12, history_stride=1)).history
    strided = train(objective, params, training.Settings(steps=12, history_stride=4)).history
    np.testing.assert_allclose(strided, every.reshape(3, 4).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize("clip", [True, False])
def test_a_run_that_diverges_says_so(clip: bool, published: Published) -> None:
    problem, task, params = published
    objective = zero_shot(objectives.population_gradient(problem, task), "all")
    settings = training.Settings(steps=500, history_stride=50)
    optimizer = optimizers.sgd(50.0, 500, "constant") if clip else optax.sgd(50.0)
    run = jax.jit(lambda: training.train(jax.random.key(0), objective, params, optimizer, settings))()
    assert run.diverged
    assert not train(objective, params, settings).diverged


@pytest.mark.slow
def test_each_seed_alone_gives_what_it_gives_in_a_batch(published: Published) -> None:
    problem, _, _ = published
    objective = regimes.stages("pretrained", objectives.fresh_prompts(problem, lsa.SpherePrior(dim=5), 32), 20)[0]
    settings = training.Settings(steps=100)

    def run(key: jax.Array) -> jax.Array:
        start = lsa.models.LINEAR.init(jax.random.fold_in(key, 0), 5)
        return training.train(key, objective, start, optimizers.sgd(0.01, 100), settings).params.value

    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    together = jax.jit(jax.vmap(run))(keys)
    for key, batched in zip(keys, together, strict=True):
        np.testing.assert_allclose(jax.jit(run)(key), batched, rtol=1e-9, atol=1e-12)


def test_start_advance_finish_are_the_pieces_of_train(published: Published) -> None:
    problem, task, params = published
    objective = zero_shot(objectives.fresh_prompts(problem, task, 16), "all")
    settings, optimizer, key = (
        training.Settings(steps=12, history_stride=4),
        optimizers.adam(0.01, 12),
        jax.random.key(5),
    )
    state, losses = training.start(key, objective, params, optimizer, settings), []
    for _ in range(settings.num_records):
        state, loss = training.advance(key, objective, optimizer, settings, state)
        losses.append(loss)
    pieces = training.finish(objective, settings, state, jnp.stack(losses))
    whole = training.train(key, objective, params, optimizer, settings)
    for piece, part in zip(jax.tree.leaves(pieces), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(piece, part, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be a whole number, at least 1"),
        ({"steps": 10, "history_stride": 3}, "history_stride is 3; it must divide steps, 10"),
        ({"steps": 10, "average_last": 1.5}, "average_last is 1.5; it must be a fraction"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(training.Settings(steps=1), **changes)


def test_unknown_names_are_refused_with_the_nearest(published: Published) -> None:
    problem, task, _ = published
    with pytest.raises(ValueError, match=r"unknown optimiser 'adan'.*Did you mean 'adam'"):
        optimizers.by_name("adan", 0.1, 10)
    with pytest.raises(ValueError, match=r"unknown decay 'lineal'.*Did you mean 'linear'"):
        optimizers.sgd(0.1, 10, "lineal")
    with pytest.raises(ValueError, match=r"unknown regime 'values'.*Did you mean 'value'"):
        regimes.stages("values", objectives.population_gradient(problem, task), 20)
    with pytest.raises(ValueError, match=r"learning_rate is 0"):
        optimizers.sgd(0.0, 10)
