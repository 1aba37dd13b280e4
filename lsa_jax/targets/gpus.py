"""GPUs as the compiler is told of them, in the text form of XLA's GpuTargetConfigProto."""

from collections.abc import Mapping
from typing import Any

ALL: Mapping[str, Any] = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "shared_memory_per_block": 49152,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
}
"""What all of them have in common."""

HOPPER: Mapping[str, Any] = {
    "core_count": 132,
    "fpus_per_core": 128,
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "l2_cache_size": 52428800,
    "clock_rate_ghz": 1.98,
    "cuda_compute_capability": {"major": 9},
}

AMPERE: Mapping[str, Any] = {
    "core_count": 108,
    "fpus_per_core": 64,
    "shared_memory_per_core": 167936,
    "shared_memory_per_block_optin": 166912,
    "l2_cache_size": 41943040,
    "clock_rate_ghz": 1.41,
    "cuda_compute_capability": {"major": 8},
}

GPUS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a100": ("NVIDIA A100-SXM4-80GB", {**AMPERE, "memory_bandwidth": 2039040000000, "device_memory_size": 85100068864}),
    "h100": ("NVIDIA H100 80GB HBM3", {**HOPPER, "memory_bandwidth": 3352320000000, "device_memory_size": 84942979072}),
    "h200": ("NVIDIA H200 141GB HBM3e", {**HOPPER, "memory_bandwidth": 4800000000000, "device_memory_size": 151397597184}),
}
"""What each of them is called and has, from the specifications that come with XLA (xla/backends/gpu/target_config/specs)."""


def config(name: str) -> str:
    """Return what the compiler is told of a GPU.

    Args:
        name: the name of its chip.

    Returns:
        The text.

    Example:
        >>> "core_count: 132" in config("h100")
        True
    """
    called, own = GPUS[name]
    told = {
        "gpu_device_info": {**ALL, **own},
        "platform_name": "CUDA",
        "dnn_version_info": {"major": 9, "minor": 10},
        "runtime_version": {"major": 12, "minor": 9},
        "device_description_str": called,
    }
    return _text(told)


def _text(fields: Mapping[str, Any]) -> str:
    """Fields in the text form of a message."""
    lines = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            lines.append(f"{name} {{ {_text(value)} }}")
        else:
            lines.append(f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}")
    return " ".join(lines)
