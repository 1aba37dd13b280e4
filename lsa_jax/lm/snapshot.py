"""A local Hugging Face snapshot of a Qwen2 model, checked file by file and then loaded by tunix."""

import dataclasses
from pathlib import Path

import safetensors
from tunix.models.qwen2 import params
from tunix.models.qwen2.model import ModelConfig, Qwen2

from lsa_jax.errors import InputError
from lsa_jax.lm.config import DTYPES, read_config, read_json, tensor_shapes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
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
    config: ModelConfig
    model: Qwen2


def load(folder: Path, *, dtype: str = "float32", remat: bool = False) -> Snapshot:
    """Load the weights of a snapshot; nothing is downloaded.

    Args:
        folder: config.json and one or many safetensors.
        dtype: `float32` or `bfloat16`.
        remat: compute activations again in the backward pass, see `lsa_jax.lm.config.read_config`.

    Returns:
        The model with its configuration.

    Raises:
        InputError: if files are missing or corrupt, or do not belong to the configuration.
    """
    config = read_config(folder, dtype=dtype, remat=remat)
    check_weights(folder, config)
    return Snapshot(folder, config, params.create_model_from_safe_tensors(str(folder), config, dtype=DTYPES[dtype]))


def check_weights(folder: Path, config: ModelConfig) -> None:
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
        named = set(read_json(folder, INDEX).get("weight_map", {}).values())
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
