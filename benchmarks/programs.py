"""The programs of a sweep run bare: a batch of lineages as a sweep trains it, and one lineage as a user would."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lsa_jax import lineage
from lsa_jax.sweeps import compiled, plan, processes, program, spec
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.spec import Spec

BATCH = 64
"""Lineages that a CPU trains at once."""

LARGEST_DIFFERENCE = 1e-4
"""Relative difference of risks that rounding in float32 explains after 5000 steps."""


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

    def run_single(self) -> Callable[[program.Lineages], dict[lineage.Model, program.Measured]]:
        """Return a single run as a user would write it: each phase jitted, no batch."""
        train = jax.jit(program.train, static_argnums=(0, 1))
        measure = jax.jit(program.measure, static_argnums=0)
        shots, places = self.common.fine_tuning_shots[0], {regime: place for place, regime in enumerate(lineage.PARENTS)}

        def run(one: program.Lineages) -> dict[lineage.Model, program.Measured]:
            trained: dict[lineage.Model, Any] = {}
            for model in self.made.phases:
                parent = lineage.PARENTS[model[0]]
                start = None if parent is None else trained[parent, None]
                trained[model] = train(self.made.protocol, model[0], self.common, one, shots, start)
            measured = {model: measure(self.made, self.common, one, places[model[0]], shots, trained[model]) for model in self.made.models}
            return jax.block_until_ready(measured)

        return run

    def largest_difference(self, number: int) -> float:
        """Return the largest relative difference of the risks of the first lineages, each run singly and all in the batch."""
        together, alone = self.run(self.batch()).measured, self.run_single()
        differences = [
            np.max(np.abs(np.asarray(one.risk) / together[model].risk[place] - 1))
            for place in range(number)
            for model, one in alone(self.single(place)).items()
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
