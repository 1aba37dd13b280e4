"""A group's programs at one batch size: run for a batch, or compiled ahead for what they take."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from lsa_jax import precision
from lsa_jax.estimators import Baseline, baseline
from lsa_jax.regimes import Branch, Regime
from lsa_jax.setting import STATIC, TRACED, Setting
from lsa_jax.sweeps import laws as laws_of
from lsa_jax.sweeps import program
from lsa_jax.sweeps.laws import Laws
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.program import Grid, Measured, Static
from lsa_jax.sweeps.spec import Spec
from lsa_jax.training import Trained


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a batch came to: one measurement and one trained model by branch, and which lineages missed the pretraining minimum."""

    measured: dict[Branch, Measured]
    trained: dict[Branch, Trained]
    above_minimum: np.ndarray


class Part(NamedTuple):
    """One program: what it does, the jitted function, and its arguments: what is static, and the shapes of the rest."""

    name: str
    function: Any
    arguments: tuple[Any, ...]

    def lower(self) -> Any:
        """Return it lowered for the devices of its arguments."""
        return self.function.lower(*self.arguments)


@dataclasses.dataclass(frozen=True)
class Programs:
    """All programs of a group, with the arguments that all batches share.

    Args:
        group: the group.
        static: what their code depends on.
        forms: the regimes whose optimum has a closed form here.
        laws: what all lineages share.
        grid: where models are measured.
        landing: whether the pretraining minimum is known.
        baselines: the estimators that are measured beside the models.
        trains: whether models are trained; else they are given.
    """

    group: Group
    static: Static
    forms: tuple[Regime, ...]
    laws: Laws
    grid: Grid
    landing: bool
    baselines: tuple[Baseline, ...] = ()
    trains: bool = True

    def run(self, first: int, last: int, size: int, given: Mapping[Branch, Trained] | None = None) -> Outcome:
        """Train and measure lineages of the group.

        Args:
            first: the first lineage.
            last: the one after the last.
            size: size of the batch, a multiple of the number of devices; the last lineage is repeated to fill it.
            given: their trained models, where they are not to be trained.

        Returns:
            The outcome, on the host.
        """
        (laws, grid), traced = program.placed(self.static, (self.laws, self.grid), self.traced(first, last, size))
        if given is None:
            trained = self._trained(traced, laws)
        else:
            trained = {branch: program.placed(self.static, None, one)[1] for branch, one in given.items()}
        measured = {}
        for branch in dict.fromkeys(self.group.models.values()):
            fixed, which = self._measuring(branch)
            measured[branch] = jax.device_get(program.measure(*fixed, traced, laws, grid, *which, trained.get(branch)))
        for one in self.baselines:
            measured[Branch(one.name)] = jax.device_get(program.measure_baseline(self.static, one, traced, laws, grid))
        missed, root = np.zeros(size, bool), self.group.family.branch("pretrained", {})
        if self.landing and root in trained:
            missed = jax.device_get(program.above_minimum(self.static, traced, laws, trained[root]))
        return Outcome(measured=measured, trained=trained, above_minimum=missed)

    def memory(self, size: int) -> int:
        """Return the bytes that the programs take on each device at a batch size; 0 where nothing is told."""
        return self.taken(part.memory_analysis() for part in self.compile(size))

    def taken(self, analyses: Iterable[Any]) -> int:
        """Return the bytes that the largest program and the trained models take on each device.

        Args:
            analyses: what the compiler says of the memory of each program; None where it says nothing.

        Returns:
            The number of bytes.
        """
        known = [one for one in analyses if one is not None]
        kept = len(self.group.trainings) * max((one.output_size_in_bytes for one in known), default=0)
        return kept + max(map(bytes_taken, known), default=0)

    def traced(self, first: int, last: int, size: int) -> dict[str, np.ndarray]:
        """Return the traced knobs of lineages as arrays, the last one repeated to fill the batch."""
        rows = self.group.lineages.iloc[np.minimum(np.arange(first, first + size), last - 1)]
        real = jnp.result_type(float)
        return {name: np.asarray(rows[name], np.uint32 if name == "seed" else real) for name in TRACED}

    def _trained(self, traced: Mapping[str, Any], laws: Laws) -> dict[Branch, Trained]:
        """The models of a batch, each trained after the one it goes on from."""
        trained: dict[Branch, Trained] = {}
        for branch in self.group.trainings:
            parent = self.group.family.parent(branch)
            start = None if parent is None else trained[parent]
            regime = self.group.family.by_name[branch.regime]
            trained[branch] = jax.block_until_ready(program.train(self.static, regime, traced, laws, self._knobs(branch), start))
        return trained

    def _knobs(self, branch: Branch) -> Mapping[str, Any]:
        """The values of the knobs that a regime itself reads."""
        read = self.group.family.by_name[branch.regime].knobs
        return {name: np.asarray(value, jnp.result_type(float)) for name, value in branch.values if name in read}

    def _measuring(self, branch: Branch) -> tuple[tuple[Static, tuple[Regime, ...]], tuple[Any, ...]]:
        """What is static in measuring a model, and what tells it from the others."""
        regime = self.group.family.by_name[branch.regime]
        known = regime in self.forms
        shots = branch.knobs.get("fine_tuning_shots", 1.0)
        which = np.int32(self.forms.index(regime) if known else 0), np.uint32(regime.stream), np.asarray(shots, jnp.result_type(float))
        return (self.static, self.forms if known else ()), which

    def compile(self, size: int) -> list[Any]:
        """Return the programs compiled for a batch size, each while the next is traced; calling them later compiles nothing again."""
        real, asked = jnp.result_type(float), precision.current()

        def compiled(part: Any) -> Any:
            with jax.enable_x64(real == jnp.float64), jax.default_matmul_precision(asked):
                return part.compile()

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
            jobs = [threads.submit(compiled, part.lower()) for part in self.parts(size)]
            return [job.result() for job in jobs]

    def parts(self, size: int) -> Iterator[Part]:
        """Walk through the programs.

        Args:
            size: size of the batch.

        Yields:
            Each of them.
        """
        whole, split = (NamedSharding(self.static.mesh, place) for place in (program.WHOLE, program.SPLIT))
        laws, grid = _shapes(self.laws, whole), _shapes(self.grid, whole)
        traced = {name: jax.ShapeDtypeStruct((size,), knob.dtype, sharding=split) for name, knob in self.traced(0, 1, 1).items()}
        trained: dict[str, Any] = {}
        for branch in self.group.trainings:
            regime = self.group.family.by_name[branch.regime]
            if branch.regime not in trained:
                start = None if regime.start is None else trained[regime.start]
                arguments = self.static, regime, traced, laws, self._knobs(branch), start
                if self.trains:
                    yield Part(f"train {branch.regime}", program.train, arguments)
                trained[branch.regime] = _shapes(program.train.eval_shape(*arguments), split)
        for branch in {self._measuring(branch)[0]: branch for branch in self.group.models.values()}.values():
            fixed, which = self._measuring(branch)
            name = "measure, beside the optimum" if fixed[1] else "measure"
            yield Part(name, program.measure, (*fixed, traced, laws, grid, *which, trained.get(branch.regime)))
        for one in self.baselines:
            yield Part(f"measure {one.name}", program.measure_baseline, (self.static, one, traced, laws, grid))
        if self.landing and "pretrained" in trained:
            yield Part("find local minima", program.above_minimum, (self.static, traced, laws, trained["pretrained"]))


def bytes_taken(analysis: Any) -> int:
    """Return the bytes that one program takes on each device, from what the compiler says of its memory."""
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes


def _shapes(tree: Any, sharding: NamedSharding) -> Any:
    """Shapes and types of arrays, placed on the devices."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


def programs_of(group: Group, spec: Spec, mesh: Mesh) -> Programs:
    """Return the programs of a group, in the floating type and precision that JAX is set to.

    Args:
        group: the group.
        spec: the sweep it belongs to.
        mesh: the devices over which lineages are spread.

    Returns:
        The programs.
    """
    real = jnp.result_type(float)
    static = Setting(**{name: getattr(group.setting, name) for name in STATIC})
    rows = group.rows(spec)
    known = laws_of.has_minimiser(group.setting)
    return Programs(
        group=group,
        static=Static(
            setting=static,
            rows=rows,
            simulation_prompts=spec.simulation_prompts,
            quantiles=spec.simulation_quantiles,
            test_laws=spec.test_laws,
            mesh=mesh,
            platform=mesh.devices.flat[0].platform,
        ),
        forms=tuple(regime for regime in group.family.regimes if regime.optimum is not None) if known else (),
        laws=laws_of.of(group.setting),
        grid=Grid(
            evaluation_shots=jnp.array(group.exact_shots(spec), real),
            simulation_shots=jnp.array(group.simulated_shots(spec), real),
            baseline_shots=jnp.array(spec.finite_shots, real),
            cosines=jnp.array(spec.cosines, real),
        ),
        landing=known and group.setting.trained,
        baselines=tuple(map(baseline, spec.baselines)),
    )
