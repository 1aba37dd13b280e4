"""From a spec to groups: cells that differ in traced values only, and that one compiled program trains together."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lsa_jax.errors import InputError
from lsa_jax.experiment import Rows
from lsa_jax.regimes import Branch, Family
from lsa_jax.setting import SHARED, STATIC, TRACED, Setting
from lsa_jax.sweeps import laws
from lsa_jax.sweeps.spec import Axes, Spec

MOST_LINEAGES = 2 * 10**7
LINEAGE = (*STATIC, *SHARED, *TRACED)
"""Axes that together name a lineage: one pretrained model and what is fine-tuned from it."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Lineages that one program trains together.

    Args:
        number: its place in the plan, and in the names of its files.
        setting: the values all its lineages share; its traced fields say nothing.
        lineages: one row a lineage, one column a traced knob.
        cells: the cells of each lineage, with the values of all branch knobs.
        family: the regimes there are.
    """

    number: int
    setting: Setting
    lineages: pd.DataFrame
    cells: tuple[Branch, ...]
    family: Family

    @functools.cached_property
    def models(self) -> dict[Branch, Branch]:
        """The model of each cell: cells that differ in a knob that is not read share one."""
        return {cell: self.family.branch(cell.regime, cell.knobs) for cell in self.cells}

    @functools.cached_property
    def trainings(self) -> tuple[Branch, ...]:
        """The trainings a lineage takes, in their order, those of models that others go on from included."""
        return self.family.needed(self.models.values()) if self.setting.trained else ()

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return len(self.lineages) * len(self.cells)

    @property
    def finite(self) -> bool:
        """Whether prompts drawn for its model are finite."""
        theory = self.setting.network.theory
        return theory is None or not theory.samples_limit

    def exact_shots(self, spec: Spec) -> tuple[float, ...]:
        """Return the numbers of shots at which its model's errors are exact."""
        theory = self.setting.network.theory
        return () if theory is None else tuple(shots for shots in spec.evaluation_shots if theory.knows(shots))

    def exact_tests(self, spec: Spec) -> tuple[tuple[str, float], ...]:
        """Return the test tasks and laws on which its model's errors are exact, as `Spec.tests` does."""
        known = laws.knows_averages(self.setting.network, laws.prior_of(self.setting))
        return spec.tests if known else spec.tests[: len(spec.cosines)]

    def simulated_shots(self, spec: Spec) -> tuple[float, ...]:
        """Return the numbers of shots at which its model's errors can be simulated, of those asked for."""
        return tuple(shots for shots in spec.simulation_shots if not self.finite or math.isfinite(shots))

    def rows(self, spec: Spec) -> Rows:
        """Return the rows that its prompts of tokens reserve; None where none are drawn."""
        model = self.setting.network
        drawn = model.theory is None or model.theory.sampled_errors is None
        pooled = bool(self.setting.pool_size) and self.setting.gradient == "sampled"
        compared = any(term.compares for branch in self.trainings for term in self.family.by_name[branch.regime].terms)
        shots = [cell.knobs["fine_tuning_shots"] for cell in self.cells]
        return Rows(
            prior=_most(self.lineages["pretraining_shots"]) if drawn or compared else None,
            target=_most(shots) if drawn or compared or pooled else None,
            evaluation=_most(spec.evaluation_shots) if drawn else None,
        )


def plan(spec: Spec) -> list[Group]:
    """Cut a sweep into groups; cells that several blocks name are there once, those of sweeps it goes on from first.

    Args:
        spec: the sweep.

    Returns:
        The groups, in the order of their first cell.

    Raises:
        ValueError: if a covariance, a prior or a model cannot be made or trained as asked, there are too many lineages, or
            baselines would be measured twice.

    Example:
        >>> from lsa_jax.sweeps import spec
        >>> groups = plan(spec.read({"dim": [3, 5], "noise_std": [0.1, 0.3], "seed": "0:10"}))
        >>> [(group.setting.dim, len(group.lineages), group.num_cells) for group in groups]
        [(3, 20, 80), (5, 20, 80)]
    """
    groups: list[Group] = []
    for one in spec.history:
        earlier = tuple(groups)
        for group in _groups(one):
            groups += [dataclasses.replace(part, number=len(groups) + place) for place, part in enumerate(_new(group, earlier, one))]
    for group in groups:
        laws.require_trainable(spec, group)
    return groups


def _groups(spec: Spec) -> list[Group]:
    """The groups of a sweep alone."""
    sizes = [math.prod(len(block[name]) for name in LINEAGE) for block in spec.blocks]
    if sum(sizes) > MOST_LINEAGES:
        raise InputError(f"the sweep has {sum(sizes):.3g} lineages; one plan holds at most {MOST_LINEAGES:.0e}: split it into several")
    shared = (*STATIC, *SHARED)
    levels = {name: tuple(dict.fromkeys(itertools.chain.from_iterable(block[name] for block in spec.blocks))) for name in shared}
    patterns = [_cells(spec.family, block) for block in spec.blocks]
    known = {cells: place for place, cells in enumerate(dict.fromkeys(patterns))}
    parts = [_lineages(levels, block).assign(pattern=known[cells]) for block, cells in zip(spec.blocks, patterns, strict=True)]
    frame, all_cells = _merged(pd.concat(parts, ignore_index=True), list(known))
    groups = []
    for number, (_, rows) in enumerate(frame.groupby([*shared, "pattern"], sort=False)):
        first = rows.iloc[0]
        setting = Setting(**{name: levels[name][int(first[name])] for name in shared})
        lineages = rows[list(TRACED)].reset_index(drop=True)
        groups.append(Group(number, setting, lineages, all_cells[int(first["pattern"])], spec.family))
    return groups


def _new(group: Group, known: Sequence[Group], spec: Spec) -> list[Group]:
    """The parts of a group that those of earlier sweeps do not hold: whole lineages, and lineages that lack some cells."""
    alike = [one for one in known if one.setting == group.setting]
    if not alike:
        return [group]
    rows = pd.MultiIndex.from_frame(group.lineages)
    held, place = np.unique(
        np.stack([rows.isin(pd.MultiIndex.from_frame(one.lineages)) for one in alike], axis=1), axis=0, return_inverse=True
    )
    parts = []
    for number, holders in enumerate(held):
        there = {cell for one, holds in zip(alike, holders, strict=True) if holds for cell in one.cells}
        cells = tuple(cell for cell in group.cells if cell not in there)
        if cells and there and spec.baselines:
            raise InputError("regimes cannot be added where baselines are measured already, which would count twice: choose another --out")
        if cells:
            parts.append(dataclasses.replace(group, lineages=group.lineages[place == number].reset_index(drop=True), cells=cells))
    return parts


def _cells(family: Family, block: Axes) -> tuple[Branch, ...]:
    """The cells of each lineage of a block: every regime at every value of the branch knobs that it or its ancestors read."""
    # knobs of the paper's own terms belong to every regime, so that regimes can be compared along them
    common = {name for regime in Family.of().regimes for name in regime.knobs}
    found = []
    for name in block["regime"]:
        line = family.lineage_of(name)
        read = {knob for regime in line for knob in regime.knobs} | common
        swept = {axis: values for regime in line for axis, values in regime.swept.items()}
        values: dict[str, Sequence[float]] = {knob: swept[knob] if knob in swept else block[knob] for knob in sorted(read)}
        found += [Branch(name, tuple(zip(values, chosen, strict=True))) for chosen in itertools.product(*values.values())]
    return tuple(found)


def _lineages(levels: Mapping[str, Sequence[Any]], block: Axes) -> pd.DataFrame:
    """The lineages of a block, one row each: places among the levels where values are shared, and the traced values."""
    columns = []
    for name in LINEAGE:
        if name in levels:
            places = {value: place for place, value in enumerate(levels[name])}
            columns.append(np.array([places[value] for value in block[name]], np.int32))
        else:
            columns.append(np.asarray(block[name], np.int64 if name == "seed" else np.float64))
    grid = np.unravel_index(np.arange(math.prod(map(len, columns))), [len(column) for column in columns])
    return pd.DataFrame({name: column[place] for name, column, place in zip(LINEAGE, columns, grid, strict=True)})


def _merged(frame: pd.DataFrame, patterns: list[tuple[Branch, ...]]) -> tuple[pd.DataFrame, list[tuple[Branch, ...]]]:
    """Each lineage once, with the cells of all blocks that hold it."""
    twice = frame.duplicated(list(LINEAGE), keep=False)
    if not twice.any():
        return frame, patterns
    held = frame[twice].groupby(list(LINEAGE), sort=False)["pattern"]
    unions = {places: tuple(sorted(places)) for places in held.agg(frozenset).unique()}
    extended, number = list(patterns), {}
    for places, ordered in unions.items():
        cells = tuple(dict.fromkeys(itertools.chain.from_iterable(patterns[place] for place in ordered)))
        if cells not in extended:
            extended.append(cells)
        number[places] = extended.index(cells)
    joined = held.transform(lambda places: number[frozenset(places)])
    frame = frame.assign(pattern=joined.reindex(frame.index).fillna(frame["pattern"]).astype(int))
    return frame.drop_duplicates(list(LINEAGE), ignore_index=True), extended


def _most(numbers: Iterable[float]) -> int:
    """The largest finite one of several numbers of shots, 0 if there is none."""
    return int(max((number for number in numbers if math.isfinite(number)), default=0))
