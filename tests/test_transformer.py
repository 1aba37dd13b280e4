"""Deep models: the token path against the definition, the Gram path against the token path, and their trainable sets."""

import dataclasses

import depth_oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import models
from lsa_jax.models.transformer_params import TransformerParams

DIM = 3


def draw(model: lsa.Transformer, seed: int, num_tokens: int, std: float = 0.4) -> tuple[TransformerParams, jax.Array]:
    """Random parameters, every leaf of them, and a prompt of ones, normals and a query without label."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = model.init(keys[0], DIM, std)
    noise = [0.1 * jax.random.normal(jax.random.fold_in(keys[2], i), leaf.shape) for i, leaf in enumerate(jax.tree.leaves(params))]
    params = jax.tree.unflatten(jax.tree.structure(params), [a + b for a, b in zip(jax.tree.leaves(params), noise, strict=True)])
    tokens = jax.random.normal(keys[1], (num_tokens, DIM + 2 + model.extra_width)).at[:, 0].set(1.0).at[-1, -1].set(0.0)
    return params, tokens


def projections(params: TransformerParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, query and key for the oracle; a merged matrix is a query whose key is the identity."""
    value = np.asarray(params.value)
    if params.query_key is not None:
        return value, np.asarray(params.query_key), np.broadcast_to(np.eye(value.shape[-1]), value.shape)
    return value, np.asarray(params.query), np.asarray(params.key)


MODELS = {
    "linear (1,1) merged": lsa.Transformer(1, 1),
    "linear (2,2) separate": lsa.Transformer(2, 2, query_key="separate"),
    "linear (4,3) merged": lsa.Transformer(4, 3),
    "linear (3,1) masked": lsa.Transformer(3, 1, query_attends=False),
    "linear wide": lsa.Transformer(2, 1, extra_width=2),
    "softmax (1,2) merged": lsa.Transformer(1, 2, "softmax"),
    "softmax (3,2) separate": lsa.Transformer(3, 2, "softmax", "separate"),
    "softmax (2,1) masked": lsa.Transformer(2, 1, "softmax", query_attends=False),
}


@pytest.mark.thinned(2)
@pytest.mark.parametrize("num_tokens", [1, pytest.param(2, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("name", MODELS)
def test_prediction_is_the_last_entry_of_the_definition(name: str, num_tokens: int) -> None:
    model = MODELS[name]
    params, tokens = draw(model, 0, num_tokens)
    if num_tokens == 1 and not model.query_attends:
        truth = 0.0
    else:
        truth = depth_oracles.loop_transformer(
            *projections(params), np.asarray(tokens), softmax=model.attention == "softmax", query_attends=model.query_attends
        )
    np.testing.assert_allclose(model.predict(params, tokens), truth, rtol=1e-11, atol=1e-13)


def test_norm_and_mlp_stand_where_the_docstring_says() -> None:
    model = lsa.Transformer(1, 1, "softmax", mlp=4, norm=True)
    params, tokens = draw(model, 1, 6)
    leaf = {
        field.name: np.asarray(getattr(params, field.name))[0]
        for field in dataclasses.fields(params)
        if getattr(params, field.name) is not None
    }
    normed = [depth_oracles.layer_norm(row, leaf["norm_scale"][0], leaf["norm_shift"][0]) for row in np.asarray(tokens)]
    weights = np.exp([row @ leaf["query_key"][0] @ normed[-1] for row in normed])
    state = np.asarray(tokens)[-1] + leaf["value"][0] @ (weights @ np.stack(normed)) / weights.sum()
    seen = depth_oracles.layer_norm(state, leaf["norm_scale"][1], leaf["norm_shift"][1])
    hidden = np.array([depth_oracles.gelu(entry) for entry in leaf["mlp_in"] @ seen + leaf["mlp_in_bias"]])
    state = state + leaf["mlp_out"] @ hidden + leaf["mlp_out_bias"]
    np.testing.assert_allclose(model.predict(params, tokens), state[-1], rtol=1e-11)


PADDED = [MODELS["linear (3,1) masked"], MODELS["softmax (2,1) masked"], lsa.Transformer(2, 1, "softmax", mlp=4, norm=True)]


@pytest.mark.thinned(3)
@pytest.mark.parametrize("model", PADDED, ids=str)
def test_zero_rows_pad_a_prompt_without_changing_its_prediction(model: lsa.Transformer) -> None:
    params, tokens = draw(model, 2, 5)
    padded = jnp.concatenate([tokens[:-1], jnp.zeros((4, tokens.shape[1])), tokens[-1:]])
    alone = model.predict(params, tokens)
    np.testing.assert_allclose(model.predict(params, padded, 5), alone, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(model.predict)(params, padded, 5), alone, rtol=1e-12)
    assert not np.isclose(model.predict(params, padded), alone), "the number of tokens made no difference"


DEFAULT_GRAMS = {(1, 2, True), (2, 2, False), (3, 1, True), (4, 3, True)}
GRAMS = [(layers, heads, attends) for layers in (1, 2, 3, 4) for heads in (1, 2, 3) for attends in (True, False)]


@pytest.mark.parametrize(
    ("layers", "heads", "query_attends"),
    [pytest.param(*case, marks=[] if case in DEFAULT_GRAMS else pytest.mark.slow) for case in GRAMS],
)
def test_gram_path_predicts_what_the_token_path_does(layers: int, heads: int, query_attends: bool) -> None:
    model = lsa.Transformer(layers, heads, query_key="separate", query_attends=query_attends)
    params, tokens = draw(model, 3, 9)
    from_tokens = model.predict(params, tokens)
    alone = model.predict_from_gram(params, tokens.T @ tokens, tokens[-1], 9)
    np.testing.assert_allclose(alone, from_tokens, rtol=1e-12)
    batch = jnp.stack([tokens.T @ tokens, jnp.outer(tokens[-1], tokens[-1])], axis=-1)
    queries = jnp.stack([tokens[-1], tokens[-1]], axis=-1)
    np.testing.assert_allclose(model.predict_from_gram(params, batch, queries, 9)[0], from_tokens, rtol=1e-12)


def test_gram_path_knows_tokens_narrower_than_the_model() -> None:
    model = lsa.Transformer(2, 2, extra_width=2)
    params, tokens = draw(model, 4, 6)
    narrow = jnp.delete(tokens, jnp.array([4, 5]), axis=1)
    filled = tokens.at[:, 4:6].set(0.0)
    np.testing.assert_allclose(model.predict(params, narrow), model.predict(params, filled), rtol=1e-12)
    np.testing.assert_allclose(model.predict_from_gram(params, narrow.T @ narrow, narrow[-1], 6), model.predict(params, filled), rtol=1e-12)


@pytest.mark.thinned(2)
@pytest.mark.parametrize("size", [DIM, 15])
def test_batched_gram_path_has_the_gradient_of_the_token_path(size: int) -> None:
    model = lsa.Transformer(3, 2)
    params = model.init(jax.random.key(0), size, 0.2)
    prompts = jax.random.normal(jax.random.key(1), (4, 6, size + 2)).at[:, -1, -1].set(0.0)
    grams, queries = jnp.einsum("bia,bic->acb", prompts, prompts), prompts[:, -1].T
    from_gram = jax.grad(lambda params: jnp.sum(jnp.tanh(model.predict_from_gram(params, grams, queries, 6))))(params)
    from_tokens = jax.grad(lambda params: jnp.sum(jnp.tanh(jax.vmap(model.predict, (None, 0))(params, prompts))))(params)
    for one, other in zip(jax.tree.leaves(from_gram), jax.tree.leaves(from_tokens), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_one_prompt_has_a_hessian_by_either_path() -> None:
    model = lsa.Transformer(2, 1)
    params, tokens = draw(model, 5, 6)

    def with_row(row: jax.Array) -> TransformerParams:
        return dataclasses.replace(params, value=params.value.at[0, 0, -1].set(row))

    row = params.value[0, 0, -1]
    by_tokens = jax.hessian(lambda row: model.predict(with_row(row), tokens) ** 2)(row)
    by_gram = jax.hessian(lambda row: model.predict_from_gram(with_row(row), tokens.T @ tokens, tokens[-1], 6) ** 2)(row)
    np.testing.assert_allclose(by_gram, by_tokens, rtol=1e-10, atol=1e-12)


def test_one_layer_is_the_one_layer_model() -> None:
    params, tokens = draw(lsa.Transformer(1, 1), 6, 8)
    assert params.query_key is not None
    single = lsa.Params(value=params.value[0, 0], query_key=params.query_key[0, 0])
    np.testing.assert_allclose(lsa.Transformer(1, 1).predict(params, tokens), lsa.predict(single, tokens), rtol=1e-12)


def test_init_is_normal_of_the_wanted_size_and_the_same_in_both_precisions() -> None:
    model = lsa.Transformer(3, 4, query_key="separate", mlp=50, norm=True)
    single, double = model.init(jax.random.key(0), 8, 0.05, jnp.float32), model.init(jax.random.key(0), 8, 0.05)
    for leaf in (double.value, double.query, double.key, double.mlp_in, double.mlp_out):
        assert leaf is not None
        assert float(leaf.std()) == pytest.approx(0.05, rel=5 / (2 * leaf.size) ** 0.5)
    assert double.norm_scale is not None
    assert double.norm_scale.shape == (3, 2, 10)
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_trainable_sets_name_leaves_layers_and_heads() -> None:
    model = lsa.Transformer(3, 2, query_key="separate", mlp=4, norm=True)
    assert list(model.groups) == ["value", "query", "key", "mlp", "norm"]
    assert models.require_group(model, "all")("mlp_in") is True
    assert models.require_group(model, "mlp")("mlp_out_bias") is True
    assert models.require_group(model, "query")("query_key") is False
    assert np.argwhere(models.require_group(model, "key[2,1]")("key")).tolist() == [[2, 1, 0, 0]]
    assert models.require_group(model, "key[2,1]")("value") is False
    assert np.argwhere(models.require_group(model, "norm[1]")("norm_scale")).tolist() == [[1, 0, 0]]
    assert np.argwhere(models.require_group(model, "mlp[0]")("mlp_in_bias")).tolist() == [[0, 0]]
    assert "value[2]" in model.groups
    assert "valeu[2]" not in model.groups


BAD = {
    "no layers": (lambda: lsa.Transformer(0, 1), r"layers is 0; it must be a whole number, at least 1"),
    "no heads": (lambda: lsa.Transformer(1, 0), r"heads is 0; it must be a whole number, at least 1"),
    "attention": (lambda: lsa.Transformer(1, 1, "lineer"), r"unknown attention 'lineer'.*Did you mean 'linear'"),
    "query_key": (lambda: lsa.Transformer(1, 1, query_key="split"), r"unknown query_key 'split'; it must be one of merged, separate"),
    "mlp": (lambda: lsa.Transformer(1, 1, mlp=0), r"mlp is 0; it must be a whole number"),
    "extra width": (lambda: lsa.Transformer(1, 1, extra_width=-1), r"extra_width is -1; it must be a whole number, at least 0"),
    "std": (lambda: lsa.Transformer(1, 1).init(jax.random.key(0), 3, -1.0), r"std is -1; it must be at least 0"),
    "set of another model": (
        lambda: models.require_group(lsa.Transformer(1, 1), "key"),
        r"unknown trainable set .*'key'; it must be one of all, value, query_key",
    ),
    "misspelt set": (
        lambda: models.require_group(lsa.Transformer(1, 1), "valeu[0]"),
        r"unknown trainable set .*'valeu\[0\]'.*Did you mean 'value'",
    ),
    "malformed set": (lambda: models.require_group(lsa.Transformer(1, 1), "value[a]"), r"unknown trainable set 'value\[a\]'"),
    "layer of a set": (lambda: models.require_group(lsa.Transformer(2, 1), "value[2]"), r"layers are counted from 0 and the model has 2"),
    "head of a set": (lambda: models.require_group(lsa.Transformer(2, 3), "value[1,3]"), r"heads are counted from 0 and the model has 3"),
    "head of an MLP": (
        lambda: models.require_group(lsa.Transformer(2, 3, mlp=2), "mlp[1,0]"),
        r"mlp has no heads: name a layer only, as in mlp\[1\]",
    ),
    "layer of all": (
        lambda: models.require_group(lsa.Transformer(2, 3), "all[1]"),
        r"unknown trainable set .*'all\[1\]'; it must be one of all, value, query_key",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_models_and_sets_are_refused(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_prompts_and_parameters_are_refused() -> None:
    model = lsa.Transformer(2, 1)
    params, tokens = draw(model, 7, 4)
    with pytest.raises(ValueError, match=r"tokens have shape \(4, 4\); these params want rows of 5 entries"):
        model.predict(params, tokens[:, 1:])
    with pytest.raises(ValueError, match=r"num_tokens is 5 for a prompt of 4 rows; it must be from 1 to 4"):
        model.predict(params, tokens, 5)
    assert np.isnan(jax.jit(model.predict)(params, tokens, 5))
    with pytest.raises(ValueError, match=r"params have leaves .*; this model wants .*: make them with its init"):
        lsa.Transformer(3, 1).predict(params, tokens)
    with pytest.raises(ValueError, match=r"gram has shape \(4, 4\)"):
        model.predict_from_gram(params, jnp.eye(4), jnp.ones(4), 2)
    for other in (lsa.Transformer(2, 1, "softmax"), lsa.Transformer(2, 1, mlp=2), lsa.Transformer(2, 1, norm=True)):
        with pytest.raises(ValueError, match=r"linear attention without MLP and norm only: pass tokens to predict"):
            other.predict_from_gram(draw(other, 0, 3)[0], jnp.eye(5), jnp.ones(5), 2)
    narrow = TransformerParams(value=jnp.ones((1, 1, 2, 2)), query_key=jnp.ones((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"params are for tokens of width 2; it must be at least d \+ 2"):
        lsa.Transformer(1, 1).predict(narrow, jnp.ones((3, 2)))
