"""Adapters merged into their base, and a model back to a Hugging Face snapshot."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tunix.models.qwen2 import params
from tunix.models.qwen2.model import ModelConfig, Qwen2
from tunix.utils.torch_utils import torch_key_to_jax_key

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm.config import CONFIG, DTYPES, read_json, tensor_shapes
from lsa_jax.lm.lora import Adapter, adapters
from lsa_jax.lm.tiny import write_weights

COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
SHARD_BYTES = 4 * 2**30


def merged(model: Qwen2, adapter: Adapter | None = None) -> dict[str, np.ndarray]:
    """Return the weights of a model as Hugging Face names and shapes them, adapters added to their kernels.

    Args:
        model: the model, with or without adapters.
        adapter: what its adapters are, if it has some.

    Returns:
        Tensors in float32 by name.
    """
    weights = {".".join(map(str, path)): value[...] for path, value in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    if adapter is not None:
        for kernel, (inner, outer) in adapters(model).items():
            weights[kernel] = weights[kernel].astype(jnp.float32) + adapter.scale * _product(inner, outer)
    return {name: _as_stored(weights, model.config, name) for name in tensor_shapes(model.config)}


def export(source: Path, out: Path, tensors: Mapping[str, np.ndarray], dtype: str = "float32") -> Path:
    """Write a snapshot that transformers loads: weights, and config and tokenizer of the snapshot they came from.

    Args:
        source: the snapshot that was trained.
        out: folder of the new one; it must be new or empty.
        tensors: weights, see `merged`.
        dtype: what they are stored in, `float32` or `bfloat16`.

    Returns:
        The folder.

    Raises:
        InputError: if the folder holds something.
    """
    precision = DTYPES[checks.as_choice("dtype", dtype, tuple(DTYPES))]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something already; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.astype(precision) for name, tensor in tensors.items()}
    write_weights(out, stored, 1 + sum(tensor.nbytes for tensor in stored.values()) // SHARD_BYTES)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    content = {name: value for name, value in read_json(source, CONFIG).items() if name not in {"dtype", "torch_dtype"}}
    store.save_json(out / CONFIG, {**content, "torch_dtype": dtype})
    return out


def _product(inner: jax.Array, outer: jax.Array) -> jax.Array:
    """A B, in the shape of the kernel, exact to float32."""
    return jnp.tensordot(inner, outer, axes=1, precision=jax.lax.Precision.HIGHEST)


def _as_stored(weights: Mapping[str, jax.Array], config: ModelConfig, name: str) -> np.ndarray:
    """One tensor, tunix's transposition on loading undone."""
    path, transform = torch_key_to_jax_key(params._get_key_and_transform_mapping(config), name)
    value = np.asarray(weights[path], dtype=np.float32)
    shape = tensor_shapes(config)[name]
    return value.reshape(shape) if transform is None else value.reshape(shape[::-1]).T
