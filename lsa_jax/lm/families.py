"""The architectures that are supported: Qwen2, Llama and Qwen3, each described once, and the tensors of their models."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen2 import params as qwen2_params
from tunix.models.qwen3 import model as qwen3
from tunix.models.qwen3 import params as qwen3_params

Decoder = qwen2.Qwen2 | qwen3.Qwen3
"""A model of any family, as tunix's flax module."""
Config = qwen2.ModelConfig | qwen3.ModelConfig
"""Its configuration."""


class LlamaConfig(qwen2.ModelConfig):
    """A Llama model: Qwen2's whose biases are zero, and are not in its files.

    tunix's own Llama computes every rotary embedding with base 1e6, whatever its configuration says, so that it is not used.
    """


@dataclasses.dataclass(frozen=True)
class Family:
    """What is known of an architecture, and nothing of it is known elsewhere.

    Attributes:
        architecture: its name in a config.json.
        config: type of its configurations.
        model: tunix's module.
        names: tunix's paths of tensors, with what is done to each on loading, by patterns of Hugging Face's names.
        remat: whether activations are computed again in the backward pass, as configurations say it: of no layer, or of every.
        biases: whether q, k and v have biases in its files.
        head_norms: whether the queries and keys of each head are normalised.
        rope_theta: the only base of the rotary embedding that tunix computes, whatever the configuration says; None for any.
    """

    architecture: str
    config: type[Config]
    model: type[Decoder]
    names: Callable[[Any], dict[str, Any]]
    remat: tuple[Any, Any]
    biases: bool = False
    head_norms: bool = False
    rope_theta: int | None = None


_AS_QWEN2: dict[str, Any] = {
    "model": qwen2.Qwen2,
    "names": qwen2_params._get_key_and_transform_mapping,
    "remat": (qwen2.RematConfig.NONE, qwen2.RematConfig.DECODER),
}
_AS_QWEN3: dict[str, Any] = {
    "model": qwen3.Qwen3,
    "names": qwen3_params._get_key_and_transform_mapping,
    "remat": (qwen3.RematConfig.NONE, qwen3.RematConfig.DECODER),
}
FAMILIES = {
    "qwen2": Family("Qwen2ForCausalLM", qwen2.ModelConfig, **_AS_QWEN2, biases=True),
    "llama": Family("LlamaForCausalLM", LlamaConfig, **_AS_QWEN2),
    "qwen3": Family("Qwen3ForCausalLM", qwen3.ModelConfig, **_AS_QWEN3, head_norms=True, rope_theta=1_000_000),
}
"""By the `model_type` of a config.json."""


def family_of(config: Config) -> Family:
    """Return the family of a model."""
    return next(family for family in FAMILIES.values() if family.config is type(config))


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a model as Hugging Face names and shapes them (a kernel is output x input), by name."""
    family, width = family_of(config), config.embed_dim
    layer: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (width,)}
    for name, count in _heads(config).items():
        layer[f"self_attn.{name}_proj.weight"] = (count * config.head_dim, width)
        if family.biases:
            layer[f"self_attn.{name}_proj.bias"] = (count * config.head_dim,)
        if family.head_norms and name != "v":
            layer[f"self_attn.{name}_norm.weight"] = (config.head_dim,)
    layer |= {
        "self_attn.o_proj.weight": (width, config.num_heads * config.head_dim),
        "post_attention_layernorm.weight": (width,),
        "mlp.gate_proj.weight": (config.hidden_dim, width),
        "mlp.up_proj.weight": (config.hidden_dim, width),
        "mlp.down_proj.weight": (width, config.hidden_dim),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, width)}
    for place in range(config.num_layers):
        shapes |= {f"model.layers.{place}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (width,)
    if not config.use_tied_embedding:
        shapes["lm_head.weight"] = (config.vocab_size, width)
    return shapes


def completed(config: Config, tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of a model, by tunix's names, with the zero biases that make a Llama model a Qwen2 model."""
    if not isinstance(config, LlamaConfig):
        return tensors
    places = itertools.product(range(config.num_layers), _heads(config).items())
    biases = {f"layers.{place}.attn.{name}_bias": np.zeros(count * config.head_dim, np.float32) for place, (name, count) in places}
    return {**tensors, **biases}


def _heads(config: Config) -> dict[str, int]:
    """Numbers of heads of queries, keys and values."""
    return {"q": config.num_heads, "k": config.num_kv_heads, "v": config.num_kv_heads}
