"""From a spec to groups: cells that differ in traced values only, and that one compiled program trains together."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd

from lsa_jax.lineage import TUNED_ON_SHOTS, Model, Protocol, in_training_order
from lsa_jax.sweeps.axes import AXES, Value, require_laws
from lsa_jax.sweeps.spec import Spec

BRANCHES = ("regime", "fine_tuning_shots")
"""Axes along which models branch from one pretrained model."""

SHARED = ("dim", "gradient", "steps", "batch_size", "pool_size", "optimizer", "decay", "covariance", "prior")
"""Axes whose value all of a group shares."""

TRACED = ("pretraining_shots", "noise_std", "learning_rate", "init_std", "seed")
"""Axes that vary inside a group; together they name a lineage: one pretrained model and what is fine-tuned from it."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Lineages that one program trains together.

    Args:
        number: its place in the plan, and in the names of its files.
        shared: the values all its lineages share.
        lineages: one row a lineage, one column an axis of `TRACED`.
        branches: the cells of each lineage, as (regime, number of fine-tuning shots).
    """

    number: int
    shared: dict[str, Value]
    lineages: pd.DataFrame
    branches: tuple[tuple[str, float], ...]

    @property
    def fine_tuning_shots(self) -> tuple[float, ...]:
        """The numbers of fine-tuning shots of its cells."""
        return tuple(sorted({shots for _, shots in self.branches}))

    @property
    def models(self) -> tuple[Model, ...]:
        """The distinct models of a lineage: cells that differ in a number of shots that is not used share one."""
        return tuple(dict.fromkeys(self.model_of(regime, shots) for regime, shots in self.branches))

    @property
    def num_trained(self) -> int:
        """How many trainings a lineage takes, those of models that others start from included."""
        if self.shared["gradient"] == "closed_form":
            return 0
        return len(in_training_order(self.models))

    def model_of(self, regime: str, shots: float) -> Model:
        """Return the model of a cell: its regime, and the place of its number of shots if it is tuned on one."""
        return regime, self.fine_tuning_shots.index(shots) if regime in TUNED_ON_SHOTS else None

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return len(self.lineages) * len(self.branches)

    @property
    def protocol(self) -> Protocol:
        """What is static in its program."""
        shared: dict[str, Any] = self.shared
        finite = [int(shots) for shots in self.fine_tuning_shots if math.isfinite(shots)]
        pooled = shared["gradient"] == "sampled" and shared["pool_size"]
        names = [field.name for field in dataclasses.fields(Protocol) if field.name in shared]
        return Protocol(**{name: shared[name] for name in names}, max_shots=max(finite) if pooled else None)


def plan(spec: Spec) -> list[Group]:
    """Cut a sweep into groups; cells that several blocks name are there once.

    Args:
        spec: the sweep.

    Returns:
        The groups, in the order of their first cell.

    Raises:
        ValueError: if a covariance or a prior cannot be made in one of the dimensions.

    Example:
        >>> from lsa_jax.sweeps import spec
        >>> groups = plan(spec.read({"dim": [3, 5], "noise_std": [0.1, 0.3], "seed": "0:10"}))
        >>> [(group.shared["dim"], len(group.lineages), group.num_cells) for group in groups]
        [(3, 20, 80), (5, 20, 80)]
    """
    levels = {name: _levels(spec, name) for name in AXES}
    codes = _cells(spec, levels)
    shared = _flat(codes, SHARED, levels)
    lineage = _flat(codes, (*SHARED, *TRACED), levels)
    branch = _flat(codes, BRANCHES, levels)
    _, first, lineage = np.unique(lineage, return_index=True, return_inverse=True)
    kinds, branch = np.unique(branch, return_inverse=True)
    wanted = np.zeros((len(first), len(kinds)), bool)
    wanted[lineage, branch] = True
    patterns, pattern = np.unique(np.packbits(wanted, axis=1), axis=0, return_inverse=True)
    keys = shared[first] * len(patterns) + pattern.ravel()
    _, starts, members = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(members, kind="stable")
    bounds = np.cumsum(np.bincount(members))[:-1]
    groups = [
        _group(levels, {name: column[first[rows]] for name, column in codes.items()}, kinds[wanted[rows[0]]])
        for rows in np.split(order, bounds)
    ]
    ordered = [groups[index] for index in np.argsort(first[starts], kind="stable")]
    return [dataclasses.replace(group, number=number) for number, group in enumerate(ordered)]


def _levels(spec: Spec, name: str) -> list[Value]:
    """The values of an axis in any block."""
    return list(dict.fromkeys(value for block in spec.blocks for value in block[name]))


def _cells(spec: Spec, levels: dict[str, list[Value]]) -> dict[str, np.ndarray]:
    """One column an axis, one row a cell: places among the levels."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in AXES}
    for block in spec.blocks:
        for dim in block["dim"]:
            for covariance in block["covariance"]:
                for prior in block["prior"]:
                    require_laws(str(covariance), str(prior), int(dim))
        places = {value: index for index, value in enumerate(levels["seed"])}
        own = {name: np.array([levels[name].index(value) for value in values]) for name, values in block.items() if name != "seed"}
        own["seed"] = np.array([places[value] for value in block["seed"]])
        grid = np.unravel_index(np.arange(math.prod(map(len, block.values()))), [len(own[name]) for name in AXES])
        for name, place in zip(AXES, grid, strict=True):
            columns[name].append(own[name][place])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _flat(codes: dict[str, np.ndarray], names: tuple[str, ...], levels: dict[str, list[Value]]) -> np.ndarray:
    """The places along several axes as one number."""
    return np.ravel_multi_index([codes[name] for name in names], [len(levels[name]) for name in names])


def _group(levels: dict[str, list[Value]], codes: dict[str, np.ndarray], kinds: np.ndarray) -> Group:
    """One group from the places of its lineages."""
    sizes = [len(levels[name]) for name in BRANCHES]
    places = np.stack(np.unravel_index(kinds, sizes), axis=1)
    branches = tuple((str(levels["regime"][regime]), float(levels["fine_tuning_shots"][shots])) for regime, shots in places)
    return Group(
        number=0,
        shared={name: levels[name][codes[name][0]] for name in SHARED},
        lineages=pd.DataFrame({name: np.array(levels[name])[codes[name]] for name in TRACED}),
        branches=branches,
    )
