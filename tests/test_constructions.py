"""Constructed models against plain loops of the algorithms they are."""

import depth_oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import prompts
from lsa_jax.models.constructions import gradient_descent, without_forgetting
from lsa_jax.models.transformer_theory import population_risk

DIM, SHOTS, STEPS = 3, 6, 3


def examples() -> tuple[np.ndarray, np.ndarray, jax.Array]:
    """Covariates, labels (0 for the query) and both as tokens."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(SHOTS + 1, DIM)), np.append(random.normal(size=SHOTS), 0.0)
    return x, y, jnp.asarray(np.concatenate([np.ones((SHOTS + 1, 1)), x, y[:, None]], axis=1))


@pytest.mark.parametrize("query_attends", [True, False])
@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize(("sign", "query_key"), [("layer", "merged"), ("head", "separate")])
def test_constructed_model_is_gradient_descent(sign: str, query_key: str, curved: bool, query_attends: bool) -> None:
    x, y, tokens = examples()
    random = np.random.default_rng(1)
    matrices = [0.4 * (matrix + matrix.T) / 2 for matrix in random.normal(size=(STEPS, DIM, DIM))]
    curvatures = [0.3 * matrix for matrix in random.normal(size=(STEPS, DIM, DIM))] if curved else None
    model, params = gradient_descent(
        jnp.asarray(np.stack(matrices)),
        sign=sign,
        curvatures=None if curvatures is None else jnp.asarray(np.stack(curvatures)),
        query_key=query_key,
        query_attends=query_attends,
    )
    assert (model.layers, model.heads) == ((STEPS + 1, 1) if sign == "layer" else (STEPS, 2))
    left, _ = depth_oracles.descend(x, y, matrices, SHOTS + query_attends, curvatures)
    np.testing.assert_allclose(model.predict(params, tokens), -left[-1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.predict_from_gram(params, tokens.T @ tokens, tokens[-1], SHOTS + 1), -left[-1], rtol=0, atol=1e-10)


def test_masked_descent_is_that_of_the_weights() -> None:
    x, y, tokens = examples()
    matrix, weights = np.diag([0.3, 0.5, 0.2]), np.zeros(DIM)
    for _ in range(2):
        weights = weights + matrix @ sum((y[i] - weights @ x[i]) * x[i] for i in range(SHOTS)) / SHOTS
    model, params = gradient_descent(jnp.asarray(np.stack([matrix, matrix])), query_attends=False)
    np.testing.assert_allclose(model.predict(params, tokens), weights @ x[-1], atol=1e-12)


@pytest.mark.slow
def test_second_head_does_not_forget() -> None:
    problem, target = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5), jnp.array([0.6, -0.8, 0.0, 0.0, 0.0])
    block = 21 / 26.5 * jnp.eye(5)
    model, params = without_forgetting(block, target, 0.5, query_key="separate")
    alone = lsa.Params(value=jnp.zeros((7, 7)).at[-1, -1].set(1), query_key=jnp.zeros((7, 7)).at[1:-1, 1:-1].set(block))
    assert float(population_risk(model, params, problem, target, 0)) == pytest.approx(0.1, rel=1e-12)
    for task in (target, -target):
        limit = lsa.population_risk(alone, problem, task, jnp.inf)
        np.testing.assert_allclose(population_risk(model, params, problem, task, jnp.inf), limit, rtol=1e-12)
    for task, published in ((target, 0.3695), (-target, 0.4163)):
        drawn = prompts.sample_gram_prompts(jax.random.key(0), problem, task[:, None], 20, 400_000)
        errors = np.asarray((model.predict_from_gram(params, drawn.gram, drawn.query, drawn.num_tokens) - drawn.signal) ** 2) + 0.1
        error = errors.std() / len(errors) ** 0.5
        assert abs(errors.mean() - published) < 5 * error + 5e-5
        assert error < 0.005 * published


def test_bad_constructions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown sign 'heads'.*Did you mean 'head'"):
        gradient_descent(jnp.eye(2)[None], sign="heads")
    with pytest.raises(ValueError, match=r"preconditioners have shape \(1, 2, 3\); they must be square matrices, one a step"):
        gradient_descent(jnp.ones((1, 2, 3)))
    with pytest.raises(ValueError, match=r"curvatures has shape \(2, 2, 2\); it must have shape \(1, 2, 2\)"):
        gradient_descent(jnp.eye(2)[None], curvatures=jnp.ones((2, 2, 2)))
    with pytest.raises(ValueError, match=r"scale is 0; it must not be zero"):
        without_forgetting(jnp.eye(2), jnp.ones(2), 0.0)
    with pytest.raises(ValueError, match=r"pretrained has shape \(3, 3\); it must have shape \(2, 2\)"):
        without_forgetting(jnp.eye(3), jnp.ones(2))
