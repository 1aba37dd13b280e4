"""The plan of a run: parameter counts of Qwen2.5-3B, and memory against XLA's own count."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import pytest
from flax import nnx
from tunix.models.qwen2.model import ModelConfig, Qwen2, RematConfig

from lsa_jax.lm import lora
from lsa_jax.lm.forward import response_loss
from lsa_jax.lm.plan import plan

LARGE = dataclasses.replace(ModelConfig.qwen2p5_3b(), dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, remat_config=RematConfig.DECODER)


@pytest.mark.parametrize(("targets", "millions"), [("qkv", 40.1), ("v", 10.6), ("q", 18.9), ("k", 10.6)])
def test_trained_parameters_are_the_published_ones(targets: str, millions: float) -> None:
    assert round(lora.Adapter(targets).num_parameters(LARGE) / 1e6, 1) == millions


def test_the_published_batch_fits_80_gb_with_rematerialisation_only() -> None:
    size = {"batch_size": 10, "length": 3072, "answers": 384}
    needed = plan(LARGE, lora.Adapter("qkv"), **size)
    assert 6.1e9 < needed.weights < 6.3e9
    assert needed.total < 80e9
    assert plan(dataclasses.replace(LARGE, remat_config=RematConfig.NONE), lora.Adapter("qkv"), **size).total > 80e9


def test_the_parts_are_those_of_a_count_by_hand() -> None:
    layer = (2048 * 2048 + 2048) + 2 * (256 * 2048 + 256) + 2048 * 2048 + 3 * 2048 * 11008 + 2 * 2048
    parameters = 151936 * 2048 + 36 * layer + 2048
    adapters = 36 * 128 * ((2048 + 2048) + 2 * (2048 + 256))
    states, scores, inner = 2 * 30720 * 2048, 4 * 10 * 16 * 3072**2, 2 * 30720 * 11008
    needed = plan(LARGE, lora.Adapter("qkv"), batch_size=10, length=3072, answers=384)
    assert parameters == pytest.approx(3.09e9, rel=0.01)
    by_hand = {"weights": 2 * parameters, "adapters": 16 * adapters, "logits": 3 * 4 * 10 * 384 * 151936}
    by_hand["activations"] = 36 * states + 2 * (3 * scores + 12 * states + 4 * inner)
    for part, count in by_hand.items():
        assert getattr(needed, part) == pytest.approx(count, rel=0.01)


def test_activations_are_about_what_xla_counts() -> None:
    sizes: dict[str, Any] = {"embed_dim": 128, "hidden_dim": 512, "num_heads": 4, "head_dim": 32, "num_kv_heads": 2}
    config = ModelConfig(num_layers=3, vocab_size=64, rope_theta=100, norm_eps=1e-6, use_tied_embedding=True, **sizes)
    adapter = lora.Adapter("qkv", 4, 4.0)
    model = lora.with_adapter(Qwen2(config, rngs=nnx.Rngs(0)), adapter, 0)
    arrays = {"tokens": jnp.zeros((2, 256), jnp.int32), "mask": jnp.ones((2, 256), bool), "weights": jnp.ones((2, 1))}
    places = {name: jnp.zeros((2, 1), jnp.int32) for name in ("places", "labels")}
    gradient = nnx.jit(nnx.grad(response_loss, argnums=nnx.DiffState(0, nnx.LoRAParam)))
    compiled: Any = gradient.lower(model, **arrays, **places).compile()
    counted = compiled.compiled.memory_analysis().temp_size_in_bytes
    assert 0.6 < plan(config, adapter, batch_size=2, length=256, answers=1).activations / counted < 1.8
