"""The devices of a target as a mesh to compile for, none of which is there."""

import importlib.metadata
import itertools
import os
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from lsa_jax.errors import InputError
from lsa_jax.targets import gpus
from lsa_jax.targets.chips import Target

PACKAGES: Mapping[str, tuple[str, ...]] = {"tpu": ("libtpu",), "cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin")}
"""The compiler of each platform: one of these packages."""

EXTRAS: Mapping[str, str] = {"tpu": "tpu-target", "cuda": "gpu-target"}
"""The extra that installs it."""

ENVIRONMENT: Mapping[str, str] = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-4"}
"""What keeps the compiler for TPUs from asking the network which TPU it is on; the slice is that of the target all the same."""


def mesh(target: Target) -> Mesh:
    """Return the devices of a target, along which lineages are spread; from here on JAX computes on the CPU.

    Args:
        target: the target.

    Returns:
        The mesh.

    Raises:
        ValueError: if the compiler for it is not installed, or it has no such slice.
    """
    platform = target.chip.platform
    if not any(itertools.chain.from_iterable(importlib.metadata.distributions(name=name) for name in PACKAGES[platform])):
        raise InputError(f"--target {target} needs the compiler for it: pip install 'lsa-jax[{EXTRAS[platform]}]'")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")  # the compiler is a plugin that would look for its own devices too
    try:
        described = topologies.get_topology_desc(str(target), platform=platform, **_options(target))
    except (jax.errors.JaxRuntimeError, NotImplementedError, ValueError) as error:
        told, host = " ".join(str(error).split())[:200], f"{target.chip.name}:{target.chip.slices}"
        raise InputError(f"there is no target {str(target)!r} ({told}): one host is {host}") from None
    return Mesh(np.array(described.devices), ("lineage",))


def _options(target: Target) -> dict[str, str]:
    """What the compiler is told beside the name, which tells that for TPUs which target is meant."""
    return {"topology": "1x1x1", "target_config": gpus.config(target.chip.name)} if target.chip.platform == "cuda" else {}
