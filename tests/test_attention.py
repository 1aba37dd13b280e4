"""The forward pass against its definition, and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

import lsa_jax as lsa


def draw(seed: int, dim: int, num_tokens: int) -> tuple[lsa.Params, jax.Array]:
    """Random parameters and a random prompt whose query has a label too, to see the residual term."""
    value, query_key, tokens = jax.random.split(jax.random.key(seed), 3)
    size = (dim + 2, dim + 2)
    params = lsa.Params(value=jax.random.normal(value, size), query_key=jax.random.normal(query_key, size))
    return params, jax.random.normal(tokens, (num_tokens, dim + 2))


@pytest.mark.parametrize(("dim", "num_tokens"), [(1, 1), (1, 4), (3, 1), (3, 7), (5, 21)])
def test_prediction_is_the_last_entry_of_the_definition(dim: int, num_tokens: int) -> None:
    params, tokens = draw(0, dim, num_tokens)
    truth = oracles.loop_prediction(np.asarray(params.value), np.asarray(params.query_key), np.asarray(tokens))
    np.testing.assert_allclose(lsa.predict(params, tokens), truth, rtol=1e-12)


@pytest.mark.parametrize("num_tokens", [1, 2, 9])
def test_gram_matrix_gives_the_same_prediction(num_tokens: int) -> None:
    params, tokens = draw(1, 4, num_tokens)
    from_gram = lsa.predict_from_gram(params, tokens.T @ tokens, tokens[-1], num_tokens)
    np.testing.assert_allclose(from_gram, lsa.predict(params, tokens), rtol=1e-12)


def test_order_of_the_context_does_not_matter() -> None:
    params, tokens = draw(2, 3, 8)
    shuffled = tokens.at[:-1].set(tokens[:-1][::-1])
    np.testing.assert_allclose(lsa.predict(params, shuffled), lsa.predict(params, tokens), rtol=1e-12)


def test_zero_rows_pad_a_prompt_without_changing_its_prediction() -> None:
    params, tokens = draw(3, 3, 5)
    padded = jnp.concatenate([tokens[:-1], jnp.zeros((4, 5)), tokens[-1:]])
    np.testing.assert_allclose(lsa.predict(params, padded, 5), lsa.predict(params, tokens), rtol=1e-12)


def test_scaling_value_against_query_key_changes_nothing() -> None:
    params, tokens = draw(4, 3, 5)
    scaled = lsa.Params(value=-3.0 * params.value, query_key=params.query_key / -3.0)
    np.testing.assert_allclose(lsa.predict(scaled, tokens), lsa.predict(params, tokens), rtol=1e-12)


def test_only_the_last_value_row_and_the_first_query_key_columns_act() -> None:
    params, tokens = draw(5, 3, 5)
    gradient = jax.grad(lsa.predict)(params, tokens.at[-1, -1].set(0.0))
    assert not np.any(gradient.value[:-1])
    assert not np.any(gradient.query_key[:, -1])
    assert np.all(gradient.value[-1] != 0)
    assert np.all(gradient.query_key[:, :-1] != 0)


def test_prediction_never_forms_a_matrix_of_tokens_by_tokens() -> None:
    params, tokens = draw(6, 3, 1000)
    shapes = [var.aval.shape for eqn in jax.make_jaxpr(lsa.predict)(params, tokens).eqns for var in eqn.outvars]
    assert max(np.prod(shape) for shape in shapes) <= tokens.size


def test_labels_scale_the_prediction_of_a_pretrained_model(pretrained: lsa.Params) -> None:
    tokens = draw(7, 5, 9)[1].at[:, 0].set(1.0).at[-1, -1].set(0.0)
    doubled = tokens.at[:, -1].multiply(2.0)
    np.testing.assert_allclose(lsa.predict(pretrained, doubled), 2 * lsa.predict(pretrained, tokens), rtol=1e-12)


def test_tokens_of_another_size_are_refused() -> None:
    params, _ = draw(8, 3, 5)
    with pytest.raises(ValueError, match=r"tokens have shape \(4, 4\); these params want rows of 5"):
        lsa.predict(params, jnp.ones((4, 4)))
