"""Several devices: a mesh of them, over which tunix splits a model and its batches, and what cannot be split."""

from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AbstractMesh, Mesh

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm.families import Config, Decoder, family_of

AXES = ("fsdp", "tp")
"""tunix's names of what is split: batches and most weights over the first, heads and widths of layers over the second."""


def mesh_of(text: str) -> Mesh | None:
    """Return the mesh that a text such as `fsdp=2` or `fsdp=2,tp=2` describes; None for an empty one: one device.

    Args:
        text: numbers of devices by axis; one that is left out is 1.

    Returns:
        The mesh, of the first devices there are.

    Raises:
        InputError: if it describes none, or there are not as many devices.
    """
    sizes = dict.fromkeys(AXES, 1)
    for part in text.split(",") if text else []:
        name, equals, number = part.partition("=")
        if name not in AXES or not equals or not number.isdecimal():
            raise InputError(f"mesh is {text!r}; it must be fsdp=N, tp=N, or both separated by a comma")
        sizes[name] = checks.as_count(name, int(number))
    wanted, there = sizes["fsdp"] * sizes["tp"], jax.devices()
    if wanted > len(there):
        raise InputError(f"mesh {text} needs {wanted} devices, there are {len(there)}: ask for fewer")
    return Mesh(np.array(there[:wanted]).reshape(tuple(sizes.values())), AXES) if text else None


def check_split(mesh: Mesh | AbstractMesh, config: Config, batch_size: int) -> None:
    """Refuse a mesh that does not divide the examples whose gradient is computed at once, or a weight of the model."""
    if batch_size % mesh.shape["fsdp"]:
        raise InputError(
            f"{batch_size} examples (batch_size / accumulation) cannot be split over fsdp={mesh.shape['fsdp']} devices: choose a multiple"
        )
    state = nnx.state(nnx.eval_shape(lambda: family_of(config).model(config, rngs=nnx.Rngs(params=0))), nnx.Param)
    shardings: dict[Any, Any] = dict(nnx.to_flat_state(nnx.get_named_sharding(state, mesh)))
    for path, variable in nnx.to_flat_state(state):
        try:
            shardings[path].get_value().shard_shape(variable.shape)
        except ValueError:
            name, size = ".".join(map(str, path)), ",".join(f"{axis}={number}" for axis, number in mesh.shape.items())
            raise InputError(f"{name} of shape {variable.shape} cannot be split over {size} devices: ask for fewer") from None


def shard(model: Decoder, mesh: Mesh) -> None:
    """Split what a model holds over a mesh, as tunix says for each part; what it says nothing of is copied to every device."""
    state = nnx.state(model)
    nnx.update(model, jax.device_put(state, nnx.get_named_sharding(state, mesh)))
