"""The drawn Gram matrix has the law of that of drawn tokens, at any number of shots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lsa_jax as lsa
from lsa_jax import prompts
from lsa_jax.models.transformer_params import TransformerParams

DIM, COUNT = 3, 20_000
TASK = jnp.array([0.5, -1.0, 2.0])
PROBLEM = lsa.LinearRegression(covariance=lsa.covariances.rotated(jax.random.key(7), lsa.covariances.power_law(DIM, 1.0)), noise_std=0.5)
SHOTS = [1, 2, DIM + 1, 20, 200]


def from_gram(key: int, num_shots: float) -> prompts.GramPrompts:
    """Prompts drawn as Gram matrices."""
    return jax.jit(lambda n: prompts.sample_gram_prompts(jax.random.key(key), PROBLEM, TASK[:, None], n, COUNT))(num_shots)


def context_grams(drawn: prompts.GramPrompts) -> np.ndarray:
    """Gram matrices of the contexts, one a row."""
    return np.moveaxis(np.asarray(drawn.gram - drawn.query[:, None] * drawn.query[None]), -1, 0)


def token_grams(num_shots: int) -> np.ndarray:
    """Gram matrices of contexts of drawn tokens, by numpy alone."""
    random = np.random.default_rng(0)
    root, size = np.asarray(PROBLEM.root), COUNT // 4
    x = random.standard_normal((size, num_shots, DIM)) @ root.T
    y = x @ np.asarray(TASK) + 0.5 * random.standard_normal((size, num_shots))
    tokens = np.concatenate([np.ones_like(y)[..., None], x, y[..., None]], axis=2)
    return np.swapaxes(tokens, 1, 2) @ tokens


@pytest.mark.parametrize("num_shots", SHOTS)
def test_moments_are_those_of_the_tokens(num_shots: int) -> None:
    grams = context_grams(from_gram(0, num_shots))
    mean = np.zeros(DIM + 2)
    mean[0] = 1
    task, covariance = np.asarray(TASK), np.asarray(PROBLEM.covariance)
    second = np.zeros((DIM + 2, DIM + 2))
    second[1:-1, 1:-1], second[-1, 1:-1] = covariance, covariance @ task
    second[1:-1, -1], second[-1, -1] = covariance @ task, task @ covariance @ task + 0.25
    error = grams.std(axis=0) / COUNT**0.5 + 1e-9
    deviation = np.abs(grams.mean(axis=0) - num_shots * (second + np.outer(mean, mean))) / error
    assert deviation.max() < 5
    assert grams[:, 0, 0] == pytest.approx(np.full(COUNT, num_shots), rel=1e-12)
    # Variance of an entry of a sum of n tokens, by Isserlis about the mean: C_ii C_jj + C_ij^2 + m_i^2 C_jj + m_j^2 C_ii + 2 m_i m_j C_ij.
    diagonal = np.diag(second)
    variance = np.outer(diagonal, diagonal) + second**2 + np.outer(mean**2, diagonal) + np.outer(diagonal, mean**2)
    variance += 2 * np.outer(mean, mean) * second
    acting = variance > 0
    spread = ((grams - grams.mean(axis=0)) ** 2)[:, acting]
    error = spread.std(axis=0) / COUNT**0.5
    assert (np.abs(spread.mean(axis=0) - num_shots * variance[acting]) / error).max() < 5
    assert (error / spread.mean(axis=0)).max() < 0.05, "too little power to see a variance off by a quarter"


@pytest.mark.parametrize("num_shots", SHOTS)
def test_law_is_that_of_the_tokens(num_shots: int) -> None:
    grams, tokens = context_grams(from_gram(1, num_shots))[: COUNT // 4], token_grams(num_shots)
    left, right = np.array([0.3, 1.0, -0.5, 0.2, 0.7]), np.array([-0.2, 0.4, 0.6, 1.0, -0.8])

    def spectrum(grams: np.ndarray) -> np.ndarray:
        return np.linalg.eigvalsh(grams)

    seen = {
        "quadratic form": lambda grams: grams @ left @ left,
        "bilinear form": lambda grams: grams @ left @ right,
        "largest eigenvalue": lambda grams: spectrum(grams)[:, -1],
        "label against ones": lambda grams: grams[:, 0, -1],
        "square of the trace": lambda grams: (grams @ grams @ grams)[:, 1, -1],
    }
    if num_shots >= DIM + 2:
        seen["smallest eigenvalue"] = lambda grams: spectrum(grams)[:, 0]
    for name, statistic in seen.items():
        assert stats.ks_2samp(statistic(grams), statistic(tokens)).pvalue > 1e-3, name
    control = stats.ks_2samp(seen["bilinear form"](grams), 1.2 * seen["bilinear form"](tokens)).pvalue
    assert control < 1e-3, "a law a fifth wider would have passed"
    rank = np.linalg.matrix_rank(grams[:50], hermitian=True, tol=1e-9)
    assert np.all(rank == min(num_shots, DIM + 2))


def test_no_shots_leave_the_query_alone_and_infinitely_many_are_refused() -> None:
    drawn = from_gram(2, 0)
    np.testing.assert_allclose(context_grams(drawn), 0, atol=1e-12)
    np.testing.assert_allclose(drawn.signal, TASK @ drawn.query[1:-1], rtol=1e-12)
    assert drawn.num_tokens == 1
    with pytest.raises(ValueError, match=r"num_shots is infinite, and so is the Gram matrix: use the infinite-context limit"):
        prompts.sample_gram_prompts(jax.random.key(0), PROBLEM, TASK[:, None], jnp.inf, 2)
    assert np.all(np.isnan(from_gram(3, jnp.inf).gram))


def test_cost_does_not_depend_on_the_number_of_shots() -> None:
    def sizes(num_shots: float) -> list[int]:
        traced = jax.make_jaxpr(lambda: prompts.sample_gram_prompts(jax.random.key(0), PROBLEM, TASK[:, None], num_shots, 4))()
        return [variable.aval.size for equation in traced.eqns for variable in equation.outvars]

    assert sizes(20.0) == sizes(100_000.0)
    assert max(sizes(20.0)) <= 4 * (DIM + 2) ** 3


@pytest.mark.slow
def test_a_one_layer_model_reads_the_same_risk_from_the_gram_matrix() -> None:
    single = lsa.Params(
        value=0.3 * jax.random.normal(jax.random.key(3), (5, 5)), query_key=0.3 * jax.random.normal(jax.random.key(4), (5, 5))
    )
    model = lsa.Transformer(1, 1)
    params = TransformerParams(value=single.value[None, None], query_key=single.query_key[None, None])
    for num_shots in (1, 2, 20):
        drawn = from_gram(5, num_shots)
        errors = np.asarray(model.predict_from_gram(params, drawn.gram, drawn.query, drawn.num_tokens) - drawn.signal) ** 2
        exact = float(lsa.population_risk(single, PROBLEM, TASK, num_shots)) - 0.25
        assert abs(errors.mean() - exact) < 5 * errors.std() / COUNT**0.5
        assert errors.std() / COUNT**0.5 < 0.05 * exact
