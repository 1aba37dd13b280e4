"""A local Hugging Face snapshot of a model: checked file by file and loaded by tunix."""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import safetensors
from jax.sharding import Mesh
from tunix.models import safetensors_loader

from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.config import CONFIG, DTYPES, read_config, read_json
from lsa_jax.lm.families import Config, Decoder, completed, family_of, tensor_shapes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
IGNORED = ("lm_head.weight", "rotary_emb.inv_freq")
"""Tensors that some snapshots have though they follow from others: the output matrix of a tied model, and the rotary frequencies."""
STORED_TYPES = ("F32", "BF16", "F16")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A loaded model.

    Attributes:
        path: the folder it came from.
        config: tunix's configuration.
        model: tunix's flax module with the weights of the snapshot.
    """

    path: Path
    config: Config
    model: Decoder


def load(folder: Path, *, dtype: str = "float32", remat: bool = False, mesh: Mesh | None = None) -> Snapshot:
    """Load the weights of a snapshot; nothing is downloaded.

    Args:
        folder: config.json and one or many safetensors.
        dtype: `float32` or `bfloat16`.
        remat: compute activations again in the backward pass, see `lsa_jax.lm.config.read_config`.
        mesh: devices that the weights are split over, see `lsa_jax.lm.devices`; None for one.

    Returns:
        The model with its configuration.

    Raises:
        InputError: if files are missing or corrupt, do not belong to the configuration, or hold a weight that is no finite number.
    """
    config = read_config(folder, dtype=dtype, remat=remat)
    check_weights(folder, config)
    family = family_of(config)
    how: dict[str, Any] = {"mesh": mesh, "preprocess_fn": functools.partial(completed, config), "dtype": DTYPES[dtype]}
    model = safetensors_loader.load_and_create_model(str(folder), family.model, config, family.names, **how)
    wrong = forward.first_not_finite(forward.tensors(model))
    if wrong is not None:
        raise InputError(f"{folder} has {forward.BROKEN} in {wrong}; copy the snapshot again, or take another model")
    return Snapshot(folder, config, model)


def fingerprint(folder: Path) -> str:
    """Return a digest of what makes a model's answers: its weights, its configuration and its tokenizer.

    Args:
        folder: the snapshot.

    Returns:
        20 hexadecimal digits, the same wherever the folder lies.
    """
    digest = hashlib.sha256()
    others = [folder / name for name in (CONFIG, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")]
    for path in [*weight_files(folder), *(path for path in others if path.is_file())]:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


def check_weights(folder: Path, config: Config) -> None:
    """Compare the headers of the weight files with the configuration, without reading the weights.

    Args:
        folder: the snapshot.
        config: what it must hold.

    Raises:
        InputError: if a file or tensor is missing, twice there, corrupt, or of another shape or type.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        header = _header(path)
        for name in header.keys() & found.keys():
            raise InputError(f"{name} is in {path.name} and in another file of {folder}; keep the files of one snapshot only")
        found |= header
    wanted = tensor_shapes(config)
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise InputError(f"{folder} has no tensor {missing[0]} ({len(missing)} missing); copy the snapshot again, all its *.safetensors")
    unknown = sorted(name for name in found.keys() - wanted.keys() if not name.endswith(IGNORED))
    if unknown:
        raise InputError(f"{folder} has the tensor {unknown[0]}, which {CONFIG} knows nothing of; they belong to different models")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise InputError(f"{folder}: {name} has shape {found[name]}, config.json says {shape}; they belong to different models")


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a snapshot.

    Args:
        folder: the snapshot.

    Returns:
        Every file that the index names, or that there is.

    Raises:
        InputError: if there is none, or one that the index names is missing.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no *.safetensors; pass the folder of a complete Hugging Face snapshot")
    if (folder / INDEX).is_file():
        weight_map = read_json(folder, INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise InputError(f"{folder / INDEX} has no weight_map from tensors to files; copy it again")
        named = set(weight_map.values())
        for name in sorted(named - {path.name for path in files}):
            raise InputError(f"{folder} has no {name}, which {INDEX} names; copy it too")
    return files


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file, which must be of one floating type."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, the file is no mapping
            types = {one.get_dtype() for one in slices.values()}
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}); copy it again") from None
    if len(types) != 1 or not types <= set(STORED_TYPES):
        raise InputError(f"{path} holds tensors of type {', '.join(sorted(types))}; all must be of one of {', '.join(STORED_TYPES)}")
    return shapes
