"""Second moments of predictions and gradients, against quadrature of the definition and its automatic derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.flatten_util import ravel_pytree

import lsa_jax as lsa
from lsa_jax.params import LayerParams

DIM, SHOTS, NOISE_STD = 1, 2, 0.6
PROBLEM = lsa.LinearRegression(covariance=jnp.array([[1.3]]), noise_std=NOISE_STD)
TASK = np.array([0.8])
TOKENS, _, WEIGHTS = oracles.quadrature_prompts(np.sqrt([[1.3]]), NOISE_STD, TASK, SHOTS)


def heads(seed: int, num_heads: int, dim: int = DIM) -> lsa.MultiHeadParams:
    """Heads with every entry of order one."""
    value, query_key = jax.random.normal(jax.random.key(seed), (2, num_heads, dim + 2, dim + 2))
    return lsa.MultiHeadParams(value=value, query_key=query_key)


def one_head(seed: int) -> lsa.Params:
    """One head without an axis of heads."""
    params = heads(seed, 1)
    return lsa.Params(value=params.value[0], query_key=params.query_key[0])


def separate(seed: int) -> lsa.SeparateParams:
    """Two heads with separate query and key."""
    value, query, key = jax.random.normal(jax.random.key(seed), (3, 2, DIM + 2, DIM + 2))
    return lsa.SeparateParams(value=value, query=query, key=key)


def definition(params: LayerParams, tokens: jax.Array) -> jax.Array:
    """The prediction by its definition, every matrix written out."""
    columns, size = tokens.T, tokens.shape[1]
    query_key = jnp.einsum("hij,hik->hjk", params.key, params.query) if isinstance(params, lsa.SeparateParams) else params.query_key
    stacks = params.value.reshape(-1, size, size), query_key.reshape(-1, size, size)
    outputs = [columns + value @ columns @ tokens @ other @ columns / len(tokens) for value, other in zip(*stacks, strict=True)]
    return sum(output[-1, -1] for output in outputs) / len(outputs)


def predictions(params: LayerParams) -> np.ndarray:
    """Predictions on the prompts of the quadrature."""
    return np.asarray(jax.jit(jax.vmap(lambda tokens: definition(params, tokens)))(jnp.asarray(TOKENS)))


def gradients(params: LayerParams) -> np.ndarray:
    """Gradients on the prompts of the quadrature, flattened."""
    return np.asarray(jax.jit(jax.vmap(lambda tokens: ravel_pytree(jax.grad(definition)(params, tokens))[0]))(jnp.asarray(TOKENS)))


MODELS = {"one head": one_head(0), "two heads": heads(1, 2), "separate": separate(2)}


@pytest.mark.parametrize("model", MODELS)
def test_second_moment_of_the_prediction_equals_quadrature(model: str) -> None:
    exact = lsa.second_moment(MODELS[model], PROBLEM, TASK, SHOTS)
    np.testing.assert_allclose(exact, WEIGHTS @ predictions(MODELS[model]) ** 2, rtol=1e-10)


@pytest.mark.parametrize("pair", [("one head", "two heads"), ("two heads", "separate"), ("two heads", "one head")])
def test_distance_of_two_models_equals_quadrature(pair: tuple[str, str]) -> None:
    one, other = (MODELS[name] for name in pair)
    exact = lsa.prediction_distance(one, other, PROBLEM, TASK, SHOTS)
    np.testing.assert_allclose(exact, WEIGHTS @ (predictions(one) - predictions(other)) ** 2, rtol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_fisher_equals_the_mean_of_automatic_gradients(model: str) -> None:
    found, drawn = lsa.fisher(MODELS[model], PROBLEM, TASK, SHOTS), gradients(MODELS[model])
    wanted = drawn.T @ (WEIGHTS[:, None] * drawn)
    np.testing.assert_allclose(found, wanted, atol=1e-10 * np.abs(wanted).max())
    diagonal = ravel_pytree(lsa.fisher_diagonal(MODELS[model], PROBLEM, TASK, SHOTS))[0]
    np.testing.assert_allclose(diagonal, np.diag(wanted), atol=1e-10 * np.abs(wanted).max())


@pytest.mark.slow
def test_moments_over_a_pool_are_means_over_its_tasks() -> None:
    pool, params, other = np.array([[0.8], [-0.3], [2.0]]), MODELS["two heads"], MODELS["one head"]
    prior = lsa.FiniteTasks(tasks=pool)
    for function in (
        lambda tasks: lsa.second_moment(params, PROBLEM, tasks, SHOTS),
        lambda tasks: lsa.prediction_distance(params, other, PROBLEM, tasks, SHOTS),
        lambda tasks: lsa.fisher(params, PROBLEM, tasks, SHOTS),
        lambda tasks: ravel_pytree(lsa.fisher_diagonal(params, PROBLEM, tasks, SHOTS))[0],
    ):
        means = np.mean([function(task) for task in pool], axis=0)
        np.testing.assert_allclose(function(prior), means, atol=1e-11 * np.abs(means).max())


@pytest.mark.parametrize("step", [1e-3, 1e-7])
def test_distance_of_models_that_nearly_agree_is_the_fisher_form(step: float) -> None:
    params, move = MODELS["two heads"], heads(7, 2)
    moved = jax.tree.map(lambda leaf, change: leaf + step * change, params, move)
    direction, _ = ravel_pytree(move)
    form = direction @ lsa.fisher(params, PROBLEM, TASK, SHOTS) @ direction
    distance = lsa.prediction_distance(params, moved, PROBLEM, TASK, SHOTS) / step**2
    np.testing.assert_allclose(distance, form, rtol=max(10 * step, 1e-7))
    assert lsa.prediction_distance(params, params, PROBLEM, TASK, SHOTS) == 0


def test_second_moments_of_one_model_and_risks_agree() -> None:
    params, silent = heads(3, 2, 3), lsa.Params(value=jnp.zeros((5, 5)), query_key=jnp.zeros((5, 5)))
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(3, 1.0), noise_std=0.4)
    for num_shots in (0, 5, np.inf):
        moment = lsa.second_moment(params, problem, lsa.SpherePrior(dim=3), num_shots)
        np.testing.assert_allclose(lsa.prediction_distance(params, silent, problem, lsa.SpherePrior(dim=3), num_shots), moment, rtol=1e-12)
