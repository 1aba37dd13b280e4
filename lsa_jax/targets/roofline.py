"""What a training step needs at least of any machine, counted by hand from the algorithm, and how fast a chip could do it."""

from typing import NamedTuple

from lsa_jax.models import LINEAR
from lsa_jax.regimes import Regime
from lsa_jax.setting import Setting
from lsa_jax.targets.chips import Chip

NORMAL_OPERATIONS = 95.0
"""Operations of a normal: half of Threefry's 20 rounds of 3 and its keys (38), the logarithm (20) and the polynomial of erf⁻¹ (37)."""

BACKWARD = 3.0
"""Operations of a value and its gradient over those of the value."""

COUNTED_TERMS = ("prior", "zero_shot", "few_shot")


class Needs(NamedTuple):
    """Operations of a step of one lineage, and bytes that it must read and write where its state lies in main memory."""

    operations: float
    bytes: float


def population_operations(dim: int, *, query_key: bool = True) -> float:
    """Return the operations of an exact training step of one head: products of the risk and its gradient, clipping, momentum and update.

    Args:
        dim: dimension d.
        query_key: whether Q is trained; else what depends on it alone is the same in all steps.

    Returns:
        Their number.

    Example:
        >>> population_operations(5)
        2324.0
    """
    products = 4 * (dim + 1) * (dim + 2) + (4 * dim**2 * (dim + 2) if query_key else 0)
    return 2.0 * products + 12.0 * (dim + 2) ** 2


def sampled_operations(dim: int, prompts: int, normals: int) -> float:
    """Return the operations of a training step of one head on sampled prompts, drawn through two projections of each context.

    Args:
        dim: dimension d.
        prompts: prompts a step.
        normals: normals that a prompt is made of.

    Returns:
        Their number.

    Example:
        >>> sampled_operations(5, prompts=1, normals=15)
        2415.0
    """
    query = 2 * dim**2 + 2 * (dim + 1) * (dim + 2)
    return prompts * (NORMAL_OPERATIONS * normals + BACKWARD * query) + 12.0 * (dim + 2) ** 2


def step_needs(setting: Setting, regime: Regime, itemsize: int) -> Needs | None:
    """Return what a step of one lineage needs.

    Args:
        setting: the knobs of the lineage.
        regime: what is trained.
        itemsize: bytes of a number.

    Returns:
        The needs; None where they are not counted: of other models than one head of linear attention, and of other terms than the paper's.
    """
    terms = [term.name for term in regime.terms]
    if setting.network != LINEAR or not set(terms) <= set(COUNTED_TERMS):
        return None
    dim, query_key = setting.dim, regime.train != "value"
    if setting.gradient == "sampled":
        normals = {"prior": 2 * dim + 5, "few_shot": dim + 5, "zero_shot": dim}
        operations = sum(sampled_operations(dim, setting.batch_size, normals[term]) for term in terms)
    else:
        operations = population_operations(dim, query_key=query_key) * len(terms)
    trained = (2 if query_key else 1) * (dim + 2) ** 2
    return Needs(operations, 4.0 * trained * itemsize)


def step_seconds(needs: Needs, chip: Chip, dtype: str) -> tuple[float, str] | None:
    """Return how long a step of one lineage takes a chip that is busy with nothing else, and what bounds it.

    Args:
        needs: what the step needs.
        chip: the chip.
        dtype: the floating type.

    Returns:
        Seconds, and `operations` or `bytes`; None where the chip does not compute in that type.

    Example:
        >>> from lsa_jax.targets.chips import CHIPS
        >>> step_seconds(Needs(operations=67e12, bytes=0.0), CHIPS["h100"], "float32")
        (1.0, 'operations')
    """
    if dtype not in chip.operations:
        return None
    return max((needs.operations / chip.operations[dtype], "operations"), (needs.bytes / chip.bandwidth, "bytes"))
