"""The configuration of a Hugging Face snapshot, read and checked."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.families import FAMILIES, Config, Family

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
POSITIONS = "max_position_embeddings"
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
SIZES = {
    "num_layers": "num_hidden_layers",
    "vocab_size": "vocab_size",
    "embed_dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
}
"""Names of the sizes here, and in a config.json."""


def read_config(folder: Path, *, dtype: str = "float32", remat: bool = False) -> Config:
    """Read the config.json of a snapshot.

    Args:
        folder: the snapshot.
        dtype: what weights are held and activations computed in, `float32` or `bfloat16`.
        remat: compute the activations of a decoder layer again in the backward pass instead of keeping them.

    Returns:
        tunix's configuration of the model.

    Raises:
        InputError: if the file is missing or no JSON, or describes another architecture or a variant that is not implemented.
    """
    precision = jnp.dtype(DTYPES[checks.as_choice("dtype", dtype, tuple(DTYPES))])
    content = read_json(folder, CONFIG)
    family = _family(folder / CONFIG, content)
    sizes: dict[str, Any] = {name: _size(folder / CONFIG, content, key) for name, key in SIZES.items()}
    whole = content.get("head_dim") is not None
    if (not whole and sizes["embed_dim"] % sizes["num_heads"]) or sizes["num_heads"] % sizes["num_kv_heads"]:
        raise InputError(
            f"{folder / CONFIG}: hidden_size {sizes['embed_dim']}, num_attention_heads {sizes['num_heads']} and num_key_value_heads "
            f"{sizes['num_kv_heads']} do not divide each other; take the file that came with the weights"
        )
    head_dim = _size(folder / CONFIG, content, "head_dim") if whole else sizes["embed_dim"] // sizes["num_heads"]
    if head_dim % 2:
        raise InputError(f"{folder / CONFIG}: heads are {head_dim} wide, which must be even: take the file that came with the weights")
    return family.config(
        **sizes,
        head_dim=head_dim,
        rope_theta=_rope_theta(folder / CONFIG, content, family),
        norm_eps=_number(folder / CONFIG, "rms_norm_eps", content.get("rms_norm_eps", 1e-6), above=0.0),
        use_tied_embedding=content.get("tie_word_embeddings", False) is True,
        remat_config=family.remat[remat],
        dtype=precision,
        param_dtype=precision,
    )


def max_positions(folder: Path) -> int | None:
    """Return how many tokens the model of a snapshot was made for; None if its config.json does not say."""
    content = read_json(folder, CONFIG)
    return None if content.get(POSITIONS) is None else _size(folder / CONFIG, content, POSITIONS)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a snapshot.

    Args:
        folder: the snapshot.
        name: the file.

    Returns:
        Its content.

    Raises:
        InputError: if there is no such folder or file, or no JSON object in it.
    """
    path = folder / name
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; pass a Hugging Face snapshot ({CONFIG}, *.safetensors, tokenizer.json)")
    if not path.is_file() and (folder / ADAPTER_CONFIG).is_file():
        raise InputError(f"{folder} holds an adapter ({ADAPTER_CONFIG}) and no model; pass the snapshot of the model it was trained on")
    if not path.is_file():
        raise InputError(f"{folder} has no {name}; pass the folder of a complete Hugging Face snapshot")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); copy it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object; copy it again")
    return content


def _family(path: Path, content: Mapping[str, Any]) -> Family:
    """The family of a model; refuses what is not a plain decoder of one of them."""
    model_type = content.get("model_type")
    architectures = content.get("architectures") or [model_type]
    name = architectures[0] if isinstance(architectures, list) else architectures
    family = FAMILIES.get(str(model_type))
    if family is None or name not in (family.architecture, model_type):
        *most, last = (one.architecture for one in FAMILIES.values())
        known = f"{', '.join(most)} and {last}"
        raise InputError(f"{path} describes {name}; only {known} are supported")
    if content.get("quantization_config") is not None:
        raise InputError(f"{path} describes quantised weights (quantization_config); take the snapshot in bfloat16, float16 or float32")
    rope = {**_section(path, content, "rope_parameters"), **_section(path, content, "rope_scaling")}
    unlike = {
        "use_sliding_window": content.get("use_sliding_window", False) is not False,
        "attention_bias": not family.biases and content.get("attention_bias", False) is not False,
        "mlp_bias": content.get("mlp_bias", False) is not False,
        "hidden_act": content.get("hidden_act", "silu") != "silu",
        "tie_word_embeddings": not isinstance(content.get("tie_word_embeddings", False), bool),
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
    }
    for key, differs in unlike.items():
        if differs:
            raise InputError(f"{path}: this value of {key} is not implemented; take a model with Qwen2.5's own setting")
    return family


def _section(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object of the file; empty where it is null or not there."""
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {value!r}; it must be an object or null: take the file that came with the weights")
    return value or {}


def _size(path: Path, content: Mapping[str, Any], key: str) -> int:
    """A positive whole number of the file."""
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{path}: {key} is {value!r}; it must be a positive whole number: take the file that came with the weights")
    return value


def _rope_theta(path: Path, content: Mapping[str, Any], family: Family) -> int:
    """The base of the rotary embedding, in the old spelling or the new one."""
    found = content.get("rope_theta", _section(path, content, "rope_parameters").get("rope_theta"))
    value = _number(path, "rope_theta", found, above=1.0)
    if value != int(value):
        raise InputError(f"{path}: rope_theta is {value!r}; only whole numbers are supported")
    if family.rope_theta not in {None, value}:
        raise InputError(f"{path}: rope_theta is {value:.0f}; {family.architecture} takes {family.rope_theta} only: take another model")
    return int(value)


def _number(path: Path, key: str, value: Any, *, above: float) -> float:
    """A finite number of the file above a bound."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= above:
        raise InputError(f"{path}: {key} is {value!r}; it must be a number above {above:g}: take the file that came with the weights")
    return float(value)
