"""The program of a group: trains a batch of lineages and evaluates every model, the same compiled code for every batch of one size."""

import dataclasses
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, UInt

from lsa_jax import covariances, evaluation, lineage, priors
from lsa_jax.lineage import Model, Protocol, Seed, Setting
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression, Params
from lsa_jax.sweeps.plan import Group
from lsa_jax.sweeps.spec import Spec
from lsa_jax.training import Trained

PRETRAINED: Model = ("pretrained", None)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Lineages:
    """What differs between the lineages of a batch."""

    seed: UInt[Array | np.ndarray, "*batch"]
    noise_std: Float[Array | np.ndarray, "*batch"]
    pretraining_shots: Float[Array | np.ndarray, "*batch"]
    learning_rate: Float[Array | np.ndarray, "*batch"]
    init_std: Float[Array | np.ndarray, "*batch"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Common:
    """What all lineages of a batch share, traced: one program serves every covariance, prior and set of shots and tasks."""

    covariance: Float[Array, "dim dim"]
    prior: TaskPrior
    fine_tuning_shots: Float[Array, " num_fine_tuning"]
    evaluation_shots: Float[Array, " num_shots"]
    cosines: Float[Array, " num_tasks"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Measured:
    """What is measured of models: errors by test task and number of shots, and what became of the training."""

    risk: Float[Array | np.ndarray, "*batch tasks shots"]
    optimum_risk: Float[Array | np.ndarray, "*batch tasks shots"]
    simulated_risk: Float[Array | np.ndarray, "*batch tasks shots"] | None
    standard_error: Float[Array | np.ndarray, "*batch tasks shots"] | None
    diverged: Bool[Array | np.ndarray, "*batch"]
    params: Params | None


@dataclasses.dataclass(frozen=True)
class Program:
    """What is static in a group; groups with equal programs share their compiled code."""

    protocol: Protocol
    models: tuple[Model, ...]
    prior_family: str
    num_fine_tuning_shots: int
    num_evaluation_shots: int
    num_tasks: int
    simulation_prompts: int
    keep_params: bool

    @property
    def phases(self) -> tuple[Model, ...]:
        """The trainings, in their order."""
        if self.protocol.gradient == "closed_form":
            return ()
        return lineage.in_training_order((*self.models, PRETRAINED))


def program_of(group: Group, spec: Spec, *, keep_params: bool) -> Program:
    """Return the program that trains a group.

    Args:
        group: the group.
        spec: the sweep it belongs to.
        keep_params: return trained parameters too.

    Returns:
        The program.
    """
    return Program(
        protocol=group.protocol,
        models=group.models,
        prior_family=priors.parse(str(group.shared["prior"]))[0],
        num_fine_tuning_shots=len(group.fine_tuning_shots),
        num_evaluation_shots=len(spec.evaluation_shots),
        num_tasks=len(spec.cosines),
        simulation_prompts=spec.simulation_prompts,
        keep_params=keep_params,
    )


def common_of(group: Group, spec: Spec) -> Common:
    """Return what all lineages of a group share, checked.

    Args:
        group: the group.
        spec: the sweep it belongs to.

    Returns:
        Covariance, prior, shots and tasks.
    """
    dim = int(group.shared["dim"])
    return Common(
        covariance=covariances.from_text(str(group.shared["covariance"]), dim),
        prior=jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(float)), priors.from_text(str(group.shared["prior"]), dim)),
        fine_tuning_shots=jnp.array(group.fine_tuning_shots),
        evaluation_shots=jnp.array(spec.evaluation_shots),
        cosines=jnp.array(spec.cosines),
    )


def lineages_of(group: Group, first: int, last: int, batch_size: int) -> Lineages:
    """Return lineages of a group as arrays, the last one repeated to fill the batch.

    Args:
        group: the group.
        first: the first lineage.
        last: the one after the last.
        batch_size: size of the batch.

    Returns:
        The batch.
    """
    rows = group.lineages.iloc[np.minimum(np.arange(first, first + batch_size), last - 1)]
    real = jnp.result_type(float)
    columns = {name: np.asarray(rows[name], np.uint32 if name == "seed" else real) for name in rows.columns}
    return Lineages(**columns)


def train(protocol: Protocol, regime: str, common: Common, one: Lineages, shots: Float[Array, ""], parent: Trained | None) -> Trained:
    """Train one model of one lineage.

    Args:
        protocol: what is static; its gradient is not `closed_form`.
        regime: the regime to train.
        common: what all lineages share.
        one: the lineage.
        shots: number of fine-tuning examples.
        parent: the model it starts from; None for `pretrained`.

    Returns:
        The trained model.
    """
    setting, seed = _setting(protocol, common, one)
    return lineage.train(protocol, setting, seed, regime, shots, parent)


def measure(
    program: Program, common: Common, one: Lineages, regime: Int[ArrayLike, ""], shots: Float[Array, ""], trained: Trained | None
) -> Measured:
    """Measure one model of one lineage.

    Args:
        program: what is static.
        common: what all lineages share.
        one: the lineage.
        regime: the model's regime, as its `lineage.place`; traced, so that one program measures all.
        shots: number of fine-tuning examples.
        trained: the trained model; None to measure the closed-form optimum itself.

    Returns:
        What is measured.
    """
    setting, seed = _setting(program.protocol, common, one)
    reached = trained.params if trained is not None and program.protocol.optimizer == "adam" else None
    forms = lineage.closed_forms(setting, seed.target_task, shots, reached)
    optimal = jax.lax.switch(regime, [forms.get(name, lambda: _nothing_like(forms)) for name in lineage.PARENTS])
    problem, params = setting.problem, optimal if trained is None else trained.params
    direction = jax.random.fold_in(seed.key, lineage.DIRECTION_STREAM)
    tasks = jax.vmap(lambda cosine: evaluation.task_at_cosine(direction, problem, seed.target_task, cosine))(common.cosines)
    mean = error = None
    if program.simulation_prompts:
        key = jax.random.fold_in(jax.random.fold_in(seed.key, lineage.SIMULATION_STREAM), regime)
        estimate = evaluation.simulated_curves(key, params, problem, tasks, common.evaluation_shots, program.simulation_prompts)
        mean, error = estimate.mean, estimate.standard_error
    return Measured(
        risk=evaluation.error_curves(params, problem, tasks, common.evaluation_shots),
        optimum_risk=evaluation.error_curves(optimal, problem, tasks, common.evaluation_shots),
        simulated_risk=mean,
        standard_error=error,
        diverged=jnp.zeros((), bool) if trained is None else trained.diverged,
        params=params if program.keep_params else None,
    )


def above_minimum(protocol: Protocol, common: Common, one: Lineages, pretrained: Trained) -> Bool[Array, ""]:
    """Tell whether the pretraining of a lineage missed its global minimum.

    Args:
        protocol: what is static.
        common: what all lineages share.
        one: the lineage.
        pretrained: its pretrained model.

    Returns:
        True if it did.
    """
    return lineage.above_minimum(_setting(protocol, common, one)[0], pretrained.params)


def _nothing_like(forms: Mapping[str, Callable[[], Params]]) -> Params:
    """Parameters that are NaN, for a model of which no closed form is known."""
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), forms["pretrained"]())


def _setting(protocol: Protocol, common: Common, one: Lineages) -> tuple[Setting, Seed]:
    """What a lineage is trained in, and what belongs to its seed."""
    problem = LinearRegression(common.covariance, one.noise_std)
    setting = Setting(
        problem=problem,
        prior=common.prior,
        pretraining_shots=one.pretraining_shots,
        learning_rate=one.learning_rate,
        init_std=one.init_std,
    )
    return setting, lineage.draw_seed(one.seed, protocol, problem)
