"""Compiled programs: one for each training phase and one for measuring, for batches of one size spread over the devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lsa_jax import lineage, precision, priors
from lsa_jax.batching import vmap_last
from lsa_jax.lineage import Model, Protocol
from lsa_jax.problem import Params
from lsa_jax.sweeps import program as programs
from lsa_jax.sweeps.program import Common, Lineages, Measured, Program
from lsa_jax.training import Trained

LARGEST_DIM_BATCH_LAST = 12
"""Largest dimension for which a CPU gains from keeping the batch last; above it matrix products pay."""

SPLIT, WHOLE = PartitionSpec("lineage"), PartitionSpec()
"""What is spread over the devices, and what each of them has whole."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a batch came to: one measurement a model, and which lineages missed the pretraining minimum."""

    measured: dict[Model, Measured]
    above_minimum: np.ndarray


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The compiled code of a program for one batch size: a part for each training phase and for each kind of measurement."""

    program: Program
    batch_size: int
    mesh: Mesh
    phases: dict[str, Any]
    measure: Any
    landing: Any

    def __call__(self, lineages: Lineages, common: Common) -> Outcome:
        """Train and measure a batch."""
        lineages = jax.device_put(lineages, NamedSharding(self.mesh, SPLIT))
        common = jax.device_put(common, NamedSharding(self.mesh, WHOLE))
        trained: dict[Model, Trained] = {}
        for model in self.program.phases:
            parent = lineage.PARENTS[model[0]]
            start = None if parent is None else trained[parent, None]
            trained[model] = jax.block_until_ready(self.phases[model[0]](lineages, common, _shots(common, model), start))
        measured = {}
        for model in self.program.models:
            regime = np.int32(lineage.place(model[0]))
            measured[model] = jax.device_get(self.measure(lineages, common, regime, _shots(common, model), trained.get(model)))
        missed = np.zeros(self.batch_size, bool)
        if self.landing is not None:
            missed = jax.device_get(self.landing(lineages, common, trained[programs.PRETRAINED]))
        return Outcome(measured=measured, above_minimum=missed)

    @property
    def memory(self) -> int:
        """Bytes that its largest part and the trained models take on each device; 0 where the compiler does not tell."""
        parts = (*self.phases.values(), self.measure, *([self.landing] if self.landing else []))
        analyses = [part.memory_analysis() for part in parts]
        known = [part for part in analyses if part is not None]
        kept = len(self.program.phases) * max((part.output_size_in_bytes for part in known), default=0)
        return kept + max((part.temp_size_in_bytes + part.argument_size_in_bytes + part.output_size_in_bytes for part in known), default=0)


def compiled(program: Program, batch_size: int, mesh: Mesh) -> Compiled:
    """Compile a program for a batch size, in the floating type and precision that JAX is set to; what is known is not compiled again.

    Args:
        program: the program.
        batch_size: lineages in a batch, a multiple of the number of devices.
        mesh: the devices to spread them over.

    Returns:
        The compiled code.
    """
    setting = batch_size, mesh, jnp.result_type(float), precision.current()
    shape = program.prior_family, program.num_fine_tuning_shots, program.num_evaluation_shots, program.num_tasks
    trained = dict.fromkeys(regime for regime, _ in program.phases)
    return Compiled(
        program=program,
        batch_size=batch_size,
        mesh=mesh,
        phases={regime: _phase(program.protocol, regime, shape, *setting) for regime in trained},
        measure=_measure(dataclasses.replace(program, models=()), shape, *setting),
        landing=_landing(program.protocol, shape, *setting) if trained else None,
    )


def _shots(common: Common, model: Model) -> jax.Array:
    """The number of fine-tuning examples of a model."""
    return common.fine_tuning_shots[model[1] or 0]


@functools.lru_cache(maxsize=256)
def _phase(
    protocol: Protocol, regime: str, shape: tuple[str, int, int, int], batch_size: int, mesh: Mesh, dtype: np.dtype, _precision: str
) -> Any:
    """The compiled training of one regime; floating type and precision are JAX's own settings and only tell the entries apart."""
    small = protocol.gradient == "population" and protocol.dim <= LARGEST_DIM_BATCH_LAST
    over_batch = vmap_last if small and mesh.devices.flat[0].platform == "cpu" else jax.vmap
    one = functools.partial(programs.train, protocol, regime)

    def run(lineages: Lineages, common: Common, shots: jax.Array, parent: Trained | None) -> Trained:
        return over_batch(one, (None, 0, None, 0))(common, lineages, shots, parent)

    lineages, common = _example(protocol, shape, batch_size, dtype)
    parent = None if lineage.PARENTS[regime] is None else _trained(protocol, batch_size, dtype)
    return _spread(run, mesh, (True, False, False, True), (lineages, common, jnp.ones((), dtype), parent))


@functools.lru_cache(maxsize=256)
def _measure(program: Program, shape: tuple[str, int, int, int], batch_size: int, mesh: Mesh, dtype: np.dtype, _precision: str) -> Any:
    """The compiled measuring of models of any regime."""
    one = functools.partial(programs.measure, program)

    def run(lineages: Lineages, common: Common, regime: jax.Array, shots: jax.Array, trained: Trained | None) -> Measured:
        return jax.vmap(one, (None, 0, None, None, 0))(common, lineages, regime, shots, trained)

    lineages, common = _example(program.protocol, shape, batch_size, dtype)
    trained = None if program.protocol.gradient == "closed_form" else _trained(program.protocol, batch_size, dtype)
    return _spread(run, mesh, (True, False, False, False, True), (lineages, common, np.int32(0), jnp.ones((), dtype), trained))


@functools.lru_cache(maxsize=256)
def _landing(protocol: Protocol, shape: tuple[str, int, int, int], batch_size: int, mesh: Mesh, dtype: np.dtype, _precision: str) -> Any:
    """The compiled test of where pretraining landed."""
    one = functools.partial(programs.above_minimum, protocol)

    def run(lineages: Lineages, common: Common, pretrained: Trained) -> jax.Array:
        return jax.vmap(one, (None, 0, 0))(common, lineages, pretrained)

    lineages, common = _example(protocol, shape, batch_size, dtype)
    return _spread(run, mesh, (True, False, True), (lineages, common, _trained(protocol, batch_size, dtype)))


def _spread(run: Callable[..., Any], mesh: Mesh, along: tuple[bool, ...], arguments: tuple[Any, ...]) -> Any:
    """The compiled function whose marked arguments and results are spread over the devices; each works on its part alone."""
    places = tuple(SPLIT if flag else WHOLE for flag in along)
    shardings = tuple(NamedSharding(mesh, place) for place in places)
    each = jax.shard_map(run, mesh=mesh, in_specs=places, out_specs=SPLIT, check_vma=False)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), arguments)
    return jax.jit(each, in_shardings=shardings, out_shardings=NamedSharding(mesh, SPLIT)).lower(*shapes).compile()


def _example(protocol: Protocol, shape: tuple[str, int, int, int], batch_size: int, dtype: np.dtype) -> tuple[Lineages, Common]:
    """Arguments of the right shapes and types."""
    prior_family, num_fine_tuning, num_evaluation, num_tasks = shape
    one = np.ones(batch_size, dtype)
    seeds = np.arange(batch_size, dtype=np.uint32)
    lineages = Lineages(seed=seeds, noise_std=one, pretraining_shots=one, learning_rate=one, init_std=one)
    common = Common(
        covariance=jnp.eye(protocol.dim, dtype=dtype),
        prior=jax.tree.map(lambda leaf: leaf.astype(dtype), priors.from_text(prior_family, protocol.dim)),
        fine_tuning_shots=jnp.ones(num_fine_tuning, dtype),
        evaluation_shots=jnp.ones(num_evaluation, dtype),
        cosines=jnp.ones(num_tasks, dtype),
    )
    return lineages, common


def _trained(protocol: Protocol, batch_size: int, dtype: np.dtype) -> Trained:
    """A batch of trained models of the right shapes and types."""
    matrix = np.zeros((batch_size, protocol.dim + 2, protocol.dim + 2), dtype)
    params = jax.vmap(lambda value: Params(value=value, query_key=value))(matrix)
    history = np.zeros((batch_size, protocol.training.num_records), dtype)
    return Trained(params=params, history=jnp.asarray(history), diverged=jnp.zeros(batch_size, bool))
