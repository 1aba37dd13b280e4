"""The programs of a sweep run bare: a batch of lineages as a sweep trains it, and one lineage as a user would."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsa_jax import lineage
from lsa_jax.sweeps import compiled, plan, processes, program, spec
from lsa_jax.sweeps.estimate import LARGEST_BATCH
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.spec import Spec

BATCH = LARGEST_BATCH["cpu"]
"""Lineages in a batch, as a sweep has them on a CPU."""

LARGEST_DIFFERENCE = 1e-4
"""Relative difference of risks that rounding in float32 explains after 5000 steps."""

TRAIN, MEASURE = jax.jit(program.train, static_argnums=(0, 1)), jax.jit(program.measure, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled programs of a sweep of one group, with what they are called with."""

    group: Group
    made: program.Program
    common: program.Common
    together: compiled.Compiled

    def batch(self, first: int = 0) -> program.Lineages:
        """Return a batch of the sweep's lineages."""
        return program.lineages_of(self.group, first, first + self.together.batch_size, self.together.batch_size)

    def single(self, place: int = 0) -> program.Lineages:
        """Return one of the sweep's lineages."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), self.batch())

    def run(self, batch: program.Lineages) -> compiled.Outcome:
        """Train and measure a batch."""
        return self.together(batch, self.common)

    def run_single(self, one: program.Lineages) -> dict[lineage.Model, program.Measured]:
        """Train and measure one lineage as a user would: each phase jitted, no batch."""
        shots, trained = self.common.fine_tuning_shots[0], dict[lineage.Model, Any]()
        for model in self.made.phases:
            parent = lineage.PARENTS[model[0]]
            start = None if parent is None else trained[parent, None]
            trained[model] = TRAIN(self.made.protocol, model[0], self.common, one, shots, start)
        places = {model: lineage.place(model[0]) for model in self.made.models}
        measured = {model: MEASURE(self.made, self.common, one, place, shots, trained[model]) for model, place in places.items()}
        return jax.block_until_ready(measured)

    def largest_difference(self, number: int) -> float:
        """Return the largest relative difference of the risks of the first lineages, each run singly and all in the batch."""
        together = self.run(self.batch()).measured
        differences = [
            np.max(np.abs(np.asarray(one.risk) / together[model].risk[place] - 1))
            for place in range(number)
            for model, one in self.run_single(self.single(place)).items()
        ]
        if (found := float(max(differences))) > LARGEST_DIFFERENCE:
            raise RuntimeError(f"lineages run singly and in a batch differ by {found:.2g}: nothing is timed")
        return found


def programs(sweep: Mapping[str, Any] | Spec, batch_size: int) -> Programs:
    """Compile the programs of a sweep for all devices of this process.

    Args:
        sweep: the sweep, of one group.
        batch_size: lineages in a batch.

    Returns:
        The programs.
    """
    read = spec.read(sweep)
    (group,) = plan.plan(read)
    made = program.program_of(group, read, keep_params=False)
    return Programs(group, made, program.common_of(group, read), compiled.compiled(made, batch_size, processes.local_mesh()))
