"""Rough time and memory of a group before anything is compiled, and how many lineages to train at once."""

from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.spec import Spec

OPERATIONS_A_SECOND = {"cpu": 1e10, "accelerator": 5e12}
"""Measured on a CPU core (a population step at d = 5 takes 0.6 µs a model); a guess for accelerators."""

LARGEST_BATCH = {"cpu": 64, "accelerator": 16384}
"""Lineages a device trains at once where time and memory allow it; on a CPU more than this gains nothing."""

CHUNK_SECONDS = 10.0
"""Time a chunk should take at most, for an interruption to be answered in."""

COMPILE_SECONDS = 15.0


def operations(group: Group, spec: Spec) -> float:
    """Return roughly how many floating-point operations a lineage takes.

    Args:
        group: the group.
        spec: the sweep.

    Returns:
        The number of operations.
    """
    setting, dim = group.setting, group.setting.dim
    prompt = (2000.0 + 12.0 * dim**2) * setting.layers * setting.heads
    step = setting.batch_size * prompt if setting.gradient == "sampled" else 30.0 * dim**3 + 100.0 * dim**2
    steps = (group.family.by_name[branch.regime].steps or setting.steps for branch in group.trainings)
    training = sum(steps) * step
    errors = len(set(group.models.values())) * len(spec.tests) * len(spec.evaluation_shots)
    return training + errors * (2 * 30.0 * dim**3 + spec.simulation_prompts * prompt)


def seconds(group: Group, spec: Spec, platform: str, devices: int) -> float:
    """Return roughly how long a group takes, compiling included.

    Args:
        group: the group.
        spec: the sweep.
        platform: platform of the devices, such as `cpu`.
        devices: number of devices.

    Returns:
        The time in seconds.
    """
    return COMPILE_SECONDS + len(group.lineages) * operations(group, spec) / OPERATIONS_A_SECOND[_kind(platform)] / devices


def bytes_a_lineage(group: Group, spec: Spec) -> float:
    """Return roughly the memory a lineage takes while it is trained: the compiled program knows it exactly.

    Args:
        group: the group.
        spec: the sweep.

    Returns:
        The memory in bytes.
    """
    setting, size = group.setting, group.setting.dim + 2
    numbers = 2 * size**2 * (8.0 + len(set(group.models.values()))) + 2 * len(set(group.models.values())) * len(spec.tests) * len(
        spec.evaluation_shots
    )
    numbers += setting.pool_size * (setting.dim + 1)
    if setting.gradient == "sampled":
        numbers += 10.0 * setting.batch_size * (setting.dim + 4)
    return numbers * (8 if spec.dtype == "float64" else 4)


def batch_size(group: Group, spec: Spec, lineages: int, platform: str, devices: int, memory: float) -> int:
    """Return how many lineages to train at once: as many as a device takes well, less if a chunk would take long or memory is short.

    Args:
        group: the group.
        spec: the sweep.
        lineages: how many there are to train.
        platform: platform of the devices, such as `cpu`.
        devices: number of devices.
        memory: bytes a device has to offer.

    Returns:
        A multiple of the number of devices.
    """
    each = operations(group, spec) / OPERATIONS_A_SECOND[_kind(platform)]
    wanted = min(LARGEST_BATCH[_kind(platform)], CHUNK_SECONDS / each, memory / bytes_a_lineage(group, spec))
    if group.setting.gradient == "closed_form":
        wanted = 1024
    per_device = max(1, min(int(wanted), -(-lineages // devices)))
    return per_device * devices


def _kind(platform: str) -> str:
    """The kind of device a platform has."""
    return "cpu" if platform == "cpu" else "accelerator"
