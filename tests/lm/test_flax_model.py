"""Models written in flax, which comes with the extra lm: the example against the built-in transformer, and through a sweep."""

import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lsa_jax as lsa
from lsa_jax import objectives, optimizers, training
from lsa_jax.models.transformer_params import TransformerParams

DIM, WIDTH = 2, 4
EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "flax_model.py"))
BUILT_IN = lsa.Transformer(2, 1, "softmax", query_key="separate", mlp=4 * WIDTH)
PROBLEM, TASK = lsa.LinearRegression(covariance=np.diag([1.0, 0.5]), noise_std=0.3), jnp.array([0.6, -0.8])


class Nnx(lsa.models.Plain):
    """A module of nnx as a model, from a function that makes it for a dimension."""

    def __init__(self, make: Any, **groups: Any) -> None:
        self.make, self.name, self.groups = make, make.__name__, groups

    def init(self, key: jax.Array, dim: int, std: Any) -> Any:
        """Parameters as the module draws them."""
        return nnx.to_pure_dict(nnx.state(self.make(dim, nnx.Rngs(key)), nnx.Param))

    def predict(self, params: Any, tokens: jax.Array, num_tokens: Any = None) -> jax.Array:
        """The prediction for one prompt."""
        graph, state = nnx.split(nnx.eval_shape(lambda: self.make(tokens.shape[1] - 2, nnx.Rngs(0))))
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(tokens, len(tokens) if num_tokens is None else num_tokens)


class Bridge(nnx.Module):
    """The example's layers in nnx."""

    def __init__(self, dim: int, rngs: nnx.Rngs) -> None:
        width = dim + 2
        for layer in range(2):
            for name in ("value", "query", "key"):
                setattr(self, f"{name}{layer}", nnx.Linear(width, width, use_bias=False, rngs=rngs))
            setattr(self, f"mlp_in{layer}", nnx.Linear(width, 4 * width, rngs=rngs))
            setattr(self, f"mlp_out{layer}", nnx.Linear(4 * width, width, rngs=rngs))

    def __call__(self, tokens: jax.Array, num_tokens: Any) -> jax.Array:
        """The prediction for one prompt."""
        row = jnp.arange(len(tokens))
        seen = (row < num_tokens - 1) | (row == len(tokens) - 1)
        for layer in range(2):
            value, query, key = (getattr(self, f"{name}{layer}")(tokens) for name in ("value", "query", "key"))
            tokens = tokens + nnx.softmax(jnp.where(seen[None], query @ key.T, -jnp.inf)) @ value
            tokens = tokens + getattr(self, f"mlp_out{layer}")(nnx.gelu(getattr(self, f"mlp_in{layer}")(tokens)))
        return tokens[-1, -1]


def copied(params: TransformerParams) -> dict[str, Any]:
    """Parameters of the built-in transformer for a module of flax, whose kernels stand on the right of a token."""
    leaf: Any = params
    found: dict[str, Any] = {}
    for layer in range(2):
        for name in ("value", "query", "key"):
            found[f"{name}{layer}"] = {"kernel": leaf[name][layer, 0].T}
        for name in ("mlp_in", "mlp_out"):
            found[f"{name}{layer}"] = {"kernel": leaf[name][layer].T, "bias": leaf[f"{name}_bias"][layer]}
    return found


MODELS = {
    "linen": (EXAMPLE["model"], lambda params: {"params": copied(params)}),
    "nnx": (Nnx(Bridge, value=lambda path: path.startswith("value")), copied),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_module_of_flax_is_the_built_in_transformer_where_it_computes_the_same(name: str) -> None:
    model, from_built_in = MODELS[name]
    with jax.enable_x64(True):
        params = BUILT_IN.init(jax.random.key(0), DIM, 0.5)
        assert jax.tree.map(jnp.shape, model.init(jax.random.key(0), DIM, 0.5)) == jax.tree.map(jnp.shape, from_built_in(params))
        estimates = [
            lsa.empirical_risk(jax.random.key(1), one, PROBLEM, TASK, shots, 500, model=which, max_shots=7)
            for which, one in ((model, from_built_in(params)), (BUILT_IN, params))
            for shots in (0, 3, 7)
        ]
    for own, built_in in zip(estimates[:3], estimates[3:], strict=True):
        np.testing.assert_allclose([own.mean, own.standard_error], [built_in.mean, built_in.standard_error], rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_both_are_trained_to_the_same_parameters(name: str) -> None:
    model, from_built_in = MODELS[name]
    ends = []
    with jax.enable_x64(True):
        params = BUILT_IN.init(jax.random.key(0), DIM, 0.5)
        for which, start in ((model, from_built_in(params)), (BUILT_IN, params)):
            risk = objectives.fresh_prompts(PROBLEM, TASK, 32, model=which)
            inputs = objectives.Inputs(which, "value", risk, risk, 5, {"fine_tuning_shots": 5})
            objective = lsa.Regime(name="own", loss={"few_shot": 1.0}, train="value").objective(inputs)
            trained = training.train(jax.random.key(2), objective, start, optimizers.sgd(0.1, 20), training.Settings(steps=20))
            ends.append(trained.params)
        wanted = from_built_in(ends[1])
    assert not np.array_equal(ends[1].value, params.value)
    for found, expected in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["linen", pytest.param("nnx", marks=pytest.mark.slow)])
def test_a_module_of_flax_goes_through_a_sweep(name: str, tmp_path: Path) -> None:
    model = MODELS[name][0]
    lsa.run_sweep({**EXAMPLE["spec"], "model": model, "steps": 20, "simulation_prompts": 100}, tmp_path, save_params=True)
    frame = lsa.load(tmp_path).frame
    assert set(frame["model"]) == {model.name}
    assert set(frame["metric"]) == {"simulated_risk", "standard_error"}
    assert set(frame["regime"]) == {"pretrained", "full", "value"}
    assert not frame["diverged"].any()
    (arrays,) = [dict(np.load(path)) for path in (tmp_path / "params").glob("*.npz")]
    leaves = {name.removesuffix(" value") for name in arrays if name.endswith(" value") and not name.startswith("history")}
    moved = {leaf for leaf in leaves if not np.array_equal(arrays[f"{leaf} value"], arrays[f"{leaf} pretrained"])}
    assert moved == {leaf for leaf in leaves if "value" in leaf}
    assert len(moved) == 2
