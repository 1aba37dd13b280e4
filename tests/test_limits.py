"""Infinite-context limits of deep models against simulation, and errors without examples against quadrature and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agrees

import lsa_jax as lsa
from lsa_jax import prompts
from lsa_jax.limits import limiting_prediction, limiting_risk
from lsa_jax.models.transformer_params import TransformerParams, merged_query_key
from lsa_jax.models.transformer_theory import population_risk, prior_risk

DIM = 3
TASK = jnp.array([0.5, -1.0, 0.7])
PROBLEM = lsa.LinearRegression(covariance=lsa.covariances.power_law(DIM, 1.0), noise_std=0.5)


def drawn(model: lsa.Transformer, seed: int, std: float = 0.25, dim: int = DIM) -> TransformerParams:
    """Moderate parameters, of order 0.25 an entry."""
    return model.init(jax.random.key(seed), dim, std)


def limits_at(model: lsa.Transformer, params: TransformerParams, x: jax.Array) -> jax.Array:
    """Limiting predictions at covariates, one a column."""
    coefficients = limiting_prediction(params.value, merged_query_key(params), PROBLEM, TASK, model.attention)
    return coefficients[0] + coefficients[1:] @ jnp.linalg.solve(PROBLEM.root, x)


SHAPES = [(1, 2), (2, 1), (2, 2), (3, 1)]
DEFAULT = {(2, 2, 0), (3, 1, 1)}


@pytest.mark.parametrize(
    ("layers", "heads", "seed"),
    [pytest.param(*shape, seed, marks=[] if (*shape, seed) in DEFAULT else pytest.mark.slow) for shape in SHAPES for seed in range(5)],
)
def test_distance_from_the_limit_falls_as_one_over_n(layers: int, heads: int, seed: int) -> None:
    model = lsa.Transformer(layers, heads, query_key="separate" if seed % 2 else "merged")
    params = drawn(model, seed)

    @jax.jit
    def distance(num_shots: jax.Array) -> jax.Array:
        batch = prompts.sample_gram_prompts(jax.random.key(seed), PROBLEM, TASK[:, None], num_shots, 8000)
        predicted = model.predict_from_gram(params, batch.gram, batch.query, batch.num_tokens)
        return jnp.mean((predicted - limits_at(model, params, batch.query[1:-1])) ** 2)

    shots = np.array([100.0, 300.0, 1000.0, 3000.0, 10_000.0])
    slope = np.polyfit(np.log(shots), np.log([float(distance(jnp.asarray(n))) for n in shots]), 1)[0]
    assert abs(slope + 1) < 0.1


@pytest.mark.parametrize(
    ("shots", "count"), [((50, 400), 400), pytest.param((250, 1000, 3000), 400, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_softmax_approaches_its_limit(shots: tuple[int, ...], count: int) -> None:
    model = lsa.Transformer(2, 2, "softmax")
    params = drawn(model, 3)
    limit = float(population_risk(model, params, PROBLEM, TASK, jnp.inf))
    distances, sigma = [], float(PROBLEM.noise_std)
    for num_shots in shots:

        @jax.jit
        def predictions(key: jax.Array, num_shots: int = num_shots) -> tuple[jax.Array, jax.Array, jax.Array]:
            prompt = prompts.sample_prompt(key, PROBLEM, TASK, num_shots)
            x = prompt.tokens[-1, 1:-1]
            return model.predict(params, prompt.tokens), limits_at(model, params, x[:, None])[0], TASK @ x

        keys = jax.random.split(jax.random.key(num_shots), count)
        finite, infinite, signal = (np.asarray(part) for part in jax.lax.map(predictions, keys))
        distances.append(np.mean((finite - infinite) ** 2))
    change = (finite - signal) ** 2 - (infinite - signal) ** 2
    error = change.std() / count**0.5
    assert abs(change.mean()) < 5 * error
    assert error < 0.02 * (limit - sigma**2), "too little power"
    assert np.all(np.diff(distances) < 0), "no power of n: the constant of 1/n grows as the exponential of the variance of the logits"


@pytest.mark.thinned(2)
@pytest.mark.parametrize("query_key", ["separate", "merged"])
def test_one_layer_of_several_heads_is_exact_at_any_number_of_shots(query_key: str) -> None:
    model = lsa.Transformer(1, 2, query_key=query_key)
    params = drawn(model, 4, std=0.7)
    layer = lsa.MultiHeadParams(value=params.value[0], query_key=merged_query_key(params)[0])
    prior = lsa.SpherePrior(dim=DIM)
    for num_shots in (0, 7, jnp.inf):
        exact = lsa.population_risk(params, PROBLEM, TASK, num_shots, model=model)
        np.testing.assert_allclose(exact, lsa.population_risk(layer, PROBLEM, TASK, num_shots), rtol=1e-12)
        exact = lsa.prior_risk(params, PROBLEM, prior, num_shots, model=model)
        np.testing.assert_allclose(exact, lsa.prior_risk(layer, PROBLEM, prior, num_shots), rtol=1e-12)


def test_one_layer_has_the_limit_of_the_exact_risk() -> None:
    params = drawn(lsa.Transformer(1, 1), 5, std=0.7)
    assert params.query_key is not None
    single = lsa.Params(value=params.value[0, 0], query_key=params.query_key[0, 0])
    for num_shots in (0, jnp.inf):
        exact = population_risk(lsa.Transformer(1, 1), params, PROBLEM, TASK, num_shots)
        np.testing.assert_allclose(exact, lsa.population_risk(single, PROBLEM, TASK, num_shots), rtol=1e-11)


def test_extra_coordinates_that_no_matrix_reads_change_no_limit() -> None:
    params = drawn(lsa.Transformer(2, 1), 6)
    wide = lsa.Transformer(2, 1, extra_width=1).init(jax.random.key(0), DIM)
    places = np.array([0, 1, 2, 3, 5])
    filled = {
        name: jnp.zeros(wide[name].shape).at[:, :, places[:, None], places[None]].set(getattr(params, name))  # ty: ignore[not-subscriptable]
        for name in ("value", "query_key")
    }
    assert params.query_key is not None
    for attention in ("linear", "softmax"):
        narrow = limiting_risk(params.value, params.query_key, PROBLEM, TASK, attention)
        np.testing.assert_allclose(limiting_risk(filled["value"], filled["query_key"], PROBLEM, TASK, attention), narrow, rtol=1e-12)


@pytest.mark.parametrize("attention", ["linear", "softmax"])
def test_limit_has_the_gradient_of_finite_differences(attention: str) -> None:
    model = lsa.Transformer(2, 2, attention, "separate")
    params, moves = drawn(model, 7), drawn(model, 8)

    def risk(shift: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda leaf, move: leaf + shift * move, params, moves)
        return population_risk(model, moved, PROBLEM, TASK, jnp.inf)

    secant = (risk(jnp.asarray(1e-5)) - risk(jnp.asarray(-1e-5))) / 2e-5
    np.testing.assert_allclose(jax.grad(risk)(jnp.asarray(0.0)), secant, rtol=1e-7)


@pytest.mark.parametrize(("layers", "dim"), [(2, 1), (2, 2), (3, 1)])
def test_zero_shot_error_is_that_of_a_dense_grid(layers: int, dim: int) -> None:
    model = lsa.Transformer(layers, 2)
    params = drawn(model, 9, dim=dim)
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(dim, 1.0), noise_std=0.5)
    exact = float(population_risk(model, params, problem, TASK[:dim], 0))
    # Twice the nodes of another rule: the trapezoid of a smooth integrand on a wide interval converges faster than any power.
    axis = np.linspace(-14, 14, 561 if dim == 1 else 401)
    weight = np.exp(-(axis**2) / 2) / np.sqrt(2 * np.pi) * (axis[1] - axis[0])
    g = np.stack(np.meshgrid(*[axis] * dim, indexing="ij")).reshape(dim, -1)
    mass = np.prod(np.stack(np.meshgrid(*[weight] * dim, indexing="ij")).reshape(dim, -1), axis=0)
    x = problem.root @ jnp.asarray(g)
    queries = jnp.concatenate([jnp.ones((1, x.shape[1])), x, jnp.zeros((1, x.shape[1]))])
    predicted = model.predict_from_gram(params, queries[:, None] * queries[None], queries, 1)
    truth = float(mass @ np.asarray((predicted - TASK[:dim] @ x) ** 2)) + 0.25
    assert exact == pytest.approx(truth, rel=1e-10)


def test_zero_shot_error_of_softmax_agrees_with_simulation() -> None:
    model = lsa.Transformer(2, 2, "softmax")
    params = drawn(model, 10, std=0.5)
    x = PROBLEM.root @ jax.random.normal(jax.random.key(0), (DIM, 200_000))
    tokens = jnp.concatenate([jnp.ones((1, x.shape[1])), x, jnp.zeros((1, x.shape[1]))]).T[:, None]
    noise = 0.5 * jax.random.normal(jax.random.key(1), (x.shape[1],))
    errors = np.asarray((jax.jit(jax.vmap(model.predict, (None, 0)))(params, tokens) - TASK @ x - noise) ** 2)
    exact = float(population_risk(model, params, PROBLEM, TASK, 0))
    assert_agrees(errors.mean(), errors.std() / len(errors) ** 0.5, exact)


def test_pool_is_the_mean_over_its_tasks() -> None:
    model = lsa.Transformer(2, 1)
    params = drawn(model, 11)
    tasks = jnp.stack([TASK, -2 * TASK, jnp.ones(DIM)])
    alone = [population_risk(model, params, PROBLEM, task, jnp.inf) for task in tasks]
    pooled = prior_risk(model, params, PROBLEM, lsa.FiniteTasks(tasks=tasks), jnp.inf)
    np.testing.assert_allclose(pooled, np.mean(alone), rtol=1e-12)
    without = [population_risk(model, params, PROBLEM, task, 0) for task in tasks]
    np.testing.assert_allclose(prior_risk(model, params, PROBLEM, lsa.FiniteTasks(tasks=tasks), 0), np.mean(without), rtol=1e-12)


@pytest.mark.slow
def test_a_model_that_sees_one_direction_of_five_has_the_error_of_one_dimension() -> None:
    one, dim = lsa.Transformer(3, 1), 5
    params = drawn(one, 13, dim=1)
    direction, task = jnp.arange(1.0, dim + 1) / 55**0.5, jnp.ones(dim)
    seen = jnp.zeros((3, dim + 2)).at[0, 0].set(1).at[1, 1:-1].set(direction).at[2, -1].set(1)
    wide = jax.tree.map(lambda leaf: jnp.einsum("ia,lhij,jb->lhab", seen, leaf, seen), params)
    narrow = float(population_risk(one, params, lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.5), task @ direction[:, None], 0))
    rest = float(task @ task - (task @ direction) ** 2)
    exact = population_risk(one, wide, lsa.LinearRegression(covariance=jnp.eye(dim), noise_std=0.5), task, 0)
    assert float(exact) == pytest.approx(narrow + rest, rel=1e-10)


def test_zero_shot_error_of_a_masked_query_is_that_of_predicting_nothing() -> None:
    for attention in ("linear", "softmax"):
        model = lsa.Transformer(2, 1, attention, query_attends=False)
        nothing = float(TASK @ PROBLEM.root @ PROBLEM.root.T @ TASK + PROBLEM.noise_std**2)
        assert float(population_risk(model, drawn(model, 15), PROBLEM, TASK, 0)) == pytest.approx(nothing, rel=1e-12)


def test_what_is_not_exact_is_refused_with_what_is() -> None:
    model = lsa.Transformer(2, 1)
    params = drawn(model, 12)
    with pytest.raises(ValueError, match=r"num_shots is 20; .*for 0 shots and jnp.inf only .*: use empirical_risk between"):
        population_risk(model, params, PROBLEM, TASK, 20)
    traced = jax.jit(lambda n: population_risk(model, params, PROBLEM, TASK, n))
    assert np.isnan(traced(20.0))
    assert np.isfinite(traced(jnp.inf))
    for other in (lsa.Transformer(1, 1, mlp=2), lsa.Transformer(1, 1, norm=True)):
        with pytest.raises(ValueError, match=r"MLP or norm has no exact error.*: use empirical_risk, or drop both"):
            population_risk(other, drawn(other, 0), PROBLEM, TASK, jnp.inf)
    deep = lsa.Transformer(3, 1)
    wide = lsa.LinearRegression(covariance=jnp.eye(6), noise_std=0.1)
    with pytest.raises(ValueError, match=r"at 3 layers and dim 6 needs 28\*\*6 quadrature nodes.*: use empirical_risk with 0 shots"):
        population_risk(deep, drawn(deep, 0, dim=6), wide, jnp.ones(6), 0)
    with pytest.raises(ValueError, match=r"no closed form: pass FiniteTasks of drawn tasks"):
        prior_risk(model, params, PROBLEM, lsa.SpherePrior(dim=DIM), jnp.inf)
    with pytest.raises(ValueError, match=r"width of value is 5; it must be a whole number, at least 8"):
        limiting_risk(params.value, params.value, wide, jnp.ones(6))
    with pytest.raises(ValueError, match=r"unknown attention 'sofmax'.*Did you mean 'softmax'"):
        limiting_risk(params.value, params.value, PROBLEM, TASK, "sofmax")
