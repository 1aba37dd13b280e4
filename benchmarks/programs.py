"""The programs of a sweep run bare: a batch of lineages as a sweep trains it, and one lineage as a user would."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from lsa_jax import evaluation, experiment
from lsa_jax.regimes import Branch
from lsa_jax.setting import Setting
from lsa_jax.sweeps import compiled, plan, processes, spec
from lsa_jax.sweeps.estimate import LARGEST_BATCH
from lsa_jax.sweeps.spec import Spec

BATCH = LARGEST_BATCH["cpu"]
"""Lineages in a batch, as a sweep has them on a CPU."""

LARGEST_DIFFERENCE = 1e-4
"""Relative difference of risks that rounding in float32 explains after 5000 steps."""


@dataclasses.dataclass(frozen=True)
class Bare:
    """The programs of a sweep of one group, at one batch size."""

    programs: compiled.Programs
    size: int

    def run(self, first: int = 0) -> compiled.Outcome:
        """Train and measure the batch that begins with this lineage."""
        return self.programs.run(first, first + self.size, self.size)

    def run_single(self, place: int) -> dict[Branch, jax.Array]:
        """Train one lineage as a user would, each phase jitted, no batch, and return the exact errors of every model."""
        knobs = {name: column[0] for name, column in self.programs.traced(place, place + 1, 1).items()}
        trained: dict[Branch, Any] = {}
        for branch in self.programs.group.trainings:
            parent = self.programs.group.family.parent(branch)
            trained[branch] = self._train(branch, knobs, None if parent is None else trained[parent])
        return jax.block_until_ready({branch: self._measure(knobs, run) for branch, run in trained.items()})

    def largest_difference(self, number: int) -> float:
        """Return the largest relative difference of the risks of the first lineages, each run singly and all in the batch."""
        together = self.run().measured
        differences = [
            np.max(np.abs(np.asarray(risk) / np.asarray(together[branch].risk)[place] - 1))
            for place in range(number)
            for branch, risk in self.run_single(place).items()
        ]
        if (found := float(max(differences))) > LARGEST_DIFFERENCE:
            raise RuntimeError(f"lineages run singly and in a batch differ by {found:.2g}: nothing is timed")
        return found

    def _train(self, branch: Branch, knobs: Mapping[str, Any], parent: Any) -> Any:
        """One phase of one lineage."""
        regime = self.programs.group.family.by_name[branch.regime]
        return TRAIN(self.programs.static.setting, regime, self.programs.laws, knobs, branch.knobs, parent)

    def _measure(self, knobs: Mapping[str, Any], trained: Any) -> jax.Array:
        """The exact errors of one model on the test tasks."""
        return MEASURE(self.programs.static.setting, self.programs.laws, self.programs.grid, knobs, trained.params)


def _train(setting: Setting, regime: Any, laws: Any, knobs: Mapping[str, Any], branch: Mapping[str, Any], parent: Any) -> Any:
    """Train one model of one lineage."""
    setting = dataclasses.replace(setting, **knobs)
    return experiment.train(setting, experiment.draw(setting, laws.covariance, laws.prior, laws.target_task), regime, branch, parent)


def _measure(setting: Setting, laws: Any, grid: Any, knobs: Mapping[str, Any], params: Any) -> jax.Array:
    """Measure one model of one lineage."""
    setting = dataclasses.replace(setting, **knobs)
    lineage = experiment.draw(setting, laws.covariance, laws.prior, laws.target_task)
    key = jax.random.fold_in(lineage.key, experiment.DIRECTION_STREAM)
    tasks = jax.vmap(lambda cosine: evaluation.task_at_cosine(key, lineage.problem, lineage.target_task, cosine))(grid.cosines)
    return evaluation.error_curves(params, lineage.problem, tasks, grid.evaluation_shots)


TRAIN, MEASURE = jax.jit(_train, static_argnums=(0, 1)), jax.jit(_measure, static_argnums=0)


def programs(sweep: Mapping[str, Any] | Spec, size: int) -> Bare:
    """Return the programs of a sweep for all devices of this process.

    Args:
        sweep: the sweep, of one group.
        size: lineages in a batch.

    Returns:
        The programs.
    """
    read = spec.read(sweep)
    (group,) = plan.plan(read)
    return Bare(compiled.programs_of(group, read, processes.local_mesh()), size)
