"""Adapters in PEFT's format: what was trained here written for others, and what others trained read."""

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from flax import nnx
from safetensors.flax import load_file

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm.config import ADAPTER_CONFIG, DTYPES, read_json
from lsa_jax.lm.export import check_free, save_tensors
from lsa_jax.lm.families import Config, Decoder
from lsa_jax.lm.forward import BROKEN, DivergedError, first_not_finite
from lsa_jax.lm.lora import TARGETS, Adapter, adapters, projections, with_adapter

WEIGHTS = "adapter_model.safetensors"
NAME = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+)\.lora_([AB])\.weight")
UNLIKE = ("use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices")
"""Settings of PEFT's with which an adapter is more, or something else, than two matrices of one rank a projection."""


def save(model: Decoder, adapter: Adapter, base: Path, out: Path, dtype: str = "float32") -> Path:
    """Write the adapters of a model as PEFT does.

    Args:
        model: a model with adapters.
        adapter: what they are.
        base: the snapshot that they belong to, as PEFT is told.
        out: folder; it must be new or empty.
        dtype: what the matrices are stored in, `float32` or `bfloat16`.

    Returns:
        The folder.

    Raises:
        InputError: if the folder holds something.
        DivergedError: if a weight is no finite number.
    """
    check_free(out)
    tensors: dict[str, np.ndarray] = {}
    for kernel, (inner, outer) in adapters(model).items():
        place = _their_name(kernel.rpartition(".")[0].replace(".", "/"))
        tensors[f"{place}.lora_A.weight"] = np.asarray(inner).reshape(-1, adapter.rank).T
        tensors[f"{place}.lora_B.weight"] = np.asarray(outer).reshape(adapter.rank, -1).T
    wrong = first_not_finite({name: jnp.asarray(one) for name, one in tensors.items()})
    if wrong is not None:
        raise DivergedError(f"{wrong} has {BROKEN}; nothing is written")
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(out / WEIGHTS, {name: one.astype(DTYPES[dtype]) for name, one in tensors.items()})
    common = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "inference_mode": True}
    sizes = {"r": adapter.rank, "lora_alpha": adapter.alpha, "lora_dropout": 0.0, "bias": "none"}
    store.save_json(out / ADAPTER_CONFIG, {**common, **sizes, "target_modules": _their_targets(adapter, model.config)})
    return out


def load(folder: Path, model: Decoder) -> tuple[Decoder, Adapter]:
    """Put adapters in PEFT's format on a model.

    Args:
        folder: adapter_config.json and adapter_model.safetensors.
        model: the base model; its arrays are shared, not changed.

    Returns:
        The model with the adapters, and what they are.

    Raises:
        InputError: if a file is missing or damaged, the adapters are of a kind that is not implemented, or belong to another model.
        DivergedError: if a weight is no finite number.
    """
    adapter, tensors = read(folder, model.config)
    wrong = first_not_finite(tensors)
    if wrong is not None:
        raise DivergedError(f"{folder} has {BROKEN} in {wrong}")
    adapted = with_adapter(model, adapter, seed=0)
    flat = dict(nnx.to_flat_state(nnx.state(adapted, nnx.LoRAParam)))
    for path, variable in flat.items():
        kernel, _, which = ".".join(map(str, path)).rpartition("_lora_")
        name = f"{_their_name(kernel.rpartition('.')[0].replace('.', '/'))}.lora_{which.upper()}.weight"
        flat[path] = variable.replace(tensors[name].T.reshape(variable.shape).astype(jnp.float32))
    nnx.update(adapted, nnx.from_flat_state(list(flat.items())))
    return adapted, adapter


def read(folder: Path, config: Config) -> tuple[Adapter, dict[str, jax.Array]]:
    """Read adapters in PEFT's format and check that they fit a model.

    Args:
        folder: where they are.
        config: the model.

    Returns:
        What they are, and their matrices by PEFT's names.

    Raises:
        InputError: see `load`.
    """
    content = read_json(folder, ADAPTER_CONFIG)
    rank, alpha = _sizes(folder / ADAPTER_CONFIG, content)
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; save the adapter with safetensors, PEFT's default")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{folder / WEIGHTS} is no readable safetensors file ({error}); copy it again") from None
    widths, chosen = projections(config), {_our_path(folder, name) for name in tensors}
    if not chosen:
        raise InputError(f"{folder / WEIGHTS} holds no tensor; copy it again")
    for path in sorted(chosen):
        if path not in widths:
            raise InputError(f"{folder} has adapters of {path}, which the model has not; they belong to another model")
        out, into = widths[path]
        for which, shape in (("A", (rank, into)), ("B", (out, rank))):
            found = tensors.get(f"{_their_name(path)}.lora_{which}.weight")
            if found is None or found.shape != shape:
                got = "is missing" if found is None else f"has shape {found.shape}"
                raise InputError(f"{folder}: lora_{which} of {path} {got}, wanted is {shape}; they belong to another model")
    return Adapter(_our_targets(chosen, widths), rank, alpha), tensors


def fingerprint(folder: Path) -> str:
    """Return a digest of adapters, the same wherever their folder lies.

    Args:
        folder: where they are.

    Returns:
        20 hexadecimal digits.
    """
    return hashlib.sha256((folder / ADAPTER_CONFIG).read_bytes() + (folder / WEIGHTS).read_bytes()).hexdigest()[:20]


def _sizes(path: Path, content: Mapping[str, Any]) -> tuple[int, float]:
    """Rank, and the alpha whose ratio to it is the factor of the adapters' outputs; refuses other kinds of adapters."""
    if content.get("peft_type") != "LORA":
        raise InputError(f"{path} describes an adapter of type {content.get('peft_type')!r}; only LORA is supported")
    for key in UNLIKE:
        if content.get(key):
            raise InputError(f"{path}: this value of {key} is not implemented; take a plain LoRA adapter")
    if content.get("bias", "none") != "none":
        raise InputError(f"{path}: bias is {content['bias']!r}; only adapters without trained biases are supported")
    rank, alpha = content.get("r"), content.get("lora_alpha")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InputError(f"{path}: r is {rank!r}; it must be a positive whole number: copy the file again")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise InputError(f"{path}: lora_alpha is {alpha!r}; it must be a positive number: copy the file again")
    return rank, float(alpha) * (math.sqrt(rank) if content.get("use_rslora") else 1.0)


def _their_name(path: str) -> str:
    """PEFT's name of a projection such as layers/0/attn/q_proj."""
    return f"base_model.model.model.{path.replace('/attn/', '/self_attn/').replace('/', '.')}"


def _our_path(folder: Path, name: str) -> str:
    """The path of a projection from the name of one of its matrices."""
    found = NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{folder} has the tensor {name}, which is no matrix of a decoder layer's adapter; train projections only")
    place, part, projection, _ = found.groups()
    return f"layers/{place}/{part.removeprefix('self_')}/{projection}"


def _their_targets(adapter: Adapter, config: Config) -> list[str] | str:
    """PEFT's target_modules: names of projections where all layers have them, else an expression over modules."""
    chosen = adapter.projections(config)
    names = {path.rpartition("/")[2] for path in chosen}
    if {path for path in projections(config) if path.rpartition("/")[2] in names} == set(chosen):
        return sorted(names)
    return "|".join(re.escape(_their_name(path).removeprefix("base_model.model.")) for path in chosen)


def _our_targets(chosen: set[str], every: Mapping[str, Any]) -> str:
    """A key of `TARGETS` if it chooses the same projections, else an expression."""
    named = (name for name, rule in TARGETS.items() if {path for path in every if re.fullmatch(rule, path)} == chosen)
    return next(named, "|".join(map(re.escape, sorted(chosen))))
