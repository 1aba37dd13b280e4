"""Adapters merged into their base, and a model back to a Hugging Face snapshot: its weight files written."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import save_file
from tunix.utils.torch_utils import torch_key_to_jax_key

from lsa_jax import checks, store
from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.config import CONFIG, DTYPES, read_json
from lsa_jax.lm.families import Config, Decoder, family_of, tensor_shapes
from lsa_jax.lm.forward import BROKEN, DivergedError, first_not_finite
from lsa_jax.lm.lora import Adapter, adapters
from lsa_jax.lm.snapshot import INDEX, WEIGHTS

COPIED = ("*.json", "*.jinja", "*.txt", "*.model", "additional_chat_templates/*.jinja")
"""What a snapshot holds beside weights: tokenizer, chat templates, settings of generation."""
SHARD_BYTES = 4 * 2**30


def merged(model: Decoder, adapter: Adapter | None = None) -> dict[str, np.ndarray]:
    """Return the weights of a model as Hugging Face names and shapes them, adapters added to their kernels.

    Args:
        model: the model, with or without adapters.
        adapter: what its adapters are, if it has some.

    Returns:
        Tensors in float32 by name.
    """
    weights = forward.tensors(model)
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
        DivergedError: if a weight is no finite number.
    """
    precision = DTYPES[checks.as_choice("dtype", dtype, tuple(DTYPES))]
    check_free(out)
    wrong = first_not_finite({name: jnp.asarray(tensor) for name, tensor in tensors.items()})
    if wrong is not None:
        raise DivergedError(f"{wrong} of the merged model has {BROKEN}; nothing is written")
    out.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.astype(precision) for name, tensor in tensors.items()}
    write_weights(out, stored, 1 + sum(tensor.nbytes for tensor in stored.values()) // SHARD_BYTES)
    for path in (path for pattern in COPIED for path in source.glob(pattern)):
        if path.name != CONFIG and not path.name.endswith(".index.json"):
            copy = out / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
    content = {name: value for name, value in read_json(source, CONFIG).items() if name not in {"dtype", "torch_dtype"}}
    store.save_json(out / CONFIG, {**content, "torch_dtype": dtype})
    return out


def write_weights(folder: Path, tensors: Mapping[str, np.ndarray], num_shards: int = 1) -> None:
    """Write weight files as Hugging Face names them, with their index if there are several.

    Args:
        folder: where.
        tensors: what to write, by name.
        num_shards: number of files.

    Raises:
        OSError: if they cannot be written, for example where the disk is full.
    """
    names = sorted(tensors)
    if num_shards == 1:
        return save_tensors(folder / WEIGHTS, {name: tensors[name] for name in names})
    weight_map: dict[str, Any] = {}
    for place in range(num_shards):
        file = f"model-{place + 1:05d}-of-{num_shards:05d}.safetensors"
        part = names[place::num_shards]
        save_tensors(folder / file, {name: tensors[name] for name in part})
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    return store.save_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write one file of tensors, whole or not at all.

    Args:
        path: the file.
        tensors: what it holds, by name.

    Raises:
        OSError: if it cannot be written, for example where the disk is full.
    """
    with store.replacing(path) as temporary:
        try:
            save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, temporary, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path} cannot be written ({error}): free some space, or choose another folder") from None


def check_free(out: Path) -> None:
    """Refuse a file, and a folder that holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} holds something already; choose another --out")


def _product(inner: jax.Array, outer: jax.Array) -> jax.Array:
    """A B, in the shape of the kernel, exact to float32."""
    return jnp.tensordot(inner, outer, axes=1, precision=jax.lax.Precision.HIGHEST)


def _as_stored(weights: Mapping[str, jax.Array], config: Config, name: str) -> np.ndarray:
    """One tensor, tunix's transposition on loading undone."""
    path, transform = torch_key_to_jax_key(family_of(config).names(config), name)
    value = np.asarray(weights[path], dtype=np.float32)
    shape = tensor_shapes(config)[name]
    return value.reshape(shape) if transform is None else value.reshape(shape[::-1]).T
