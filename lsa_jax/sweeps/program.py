"""The programs of a group: train one phase of a batch of lineages, measure a model of each, tell where pretraining landed.

Each is one jitted function whose static arguments say all that its code depends on, so that groups with equal ones share compiled code and
nothing else needs to remember it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from lsa_jax import evaluation, experiment
from lsa_jax.batching import vmap_last
from lsa_jax.empirical import RiskEstimate, empirical_risk
from lsa_jax.estimators import Baseline
from lsa_jax.experiment import Lineage, Rows
from lsa_jax.models import LINEAR, Model
from lsa_jax.models.protocol import all_finite
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior
from lsa_jax.regimes import Regime
from lsa_jax.regimes.paper import PRETRAINED
from lsa_jax.setting import Setting
from lsa_jax.sweeps.laws import Laws, knows_averages
from lsa_jax.training import Trained

LARGEST_DIM_BATCH_LAST = {"cpu": 12, "gpu": 20}
"""Largest dimension for which a platform gains from keeping the batch last: a CPU in time (2 times at d = 5, 1.2 at 12), above it matrix
products pay; a GPU in kernels and traffic of a step. A TPU lays arrays out as it likes and gains nothing."""

LAW_STREAMS = {"pool": 2**31, "prior": 2**31 + 1}
"""Streams of prompts over laws of tasks, beside those of single test tasks."""

SPLIT, WHOLE = PartitionSpec("lineage"), PartitionSpec()
"""What is spread over the devices, and what each of them has whole."""

Traced = Mapping[str, Array | np.ndarray]
"""The traced knobs of a batch of lineages, by name."""


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Grid:
    """Where models are evaluated, traced: numbers of shots, those of them at which errors are simulated, and cosines of the test tasks.

    Baselines are simulated at the finite ones among those.
    """

    evaluation_shots: Float[Array, " num_shots"]
    simulation_shots: Float[Array, " num_simulated"]
    baseline_shots: Float[Array, " num_finite"]
    cosines: Float[Array, " num_tasks"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Measured:
    """What is measured of models, by test task and number of shots; None for what is not known or was not asked for."""

    risk: Float[Array | np.ndarray, "*batch known shots"] | None
    optimum_risk: Float[Array | np.ndarray, "*batch known shots"] | None
    simulated_risk: Float[Array | np.ndarray, "*batch tasks simulated"] | None
    standard_error: Float[Array | np.ndarray, "*batch tasks simulated"] | None
    quantiles: Float[Array | np.ndarray, "*batch tasks simulated levels"] | None
    diverged: Bool[Array | np.ndarray, "*batch"]
    target_task: Float[Array | np.ndarray, "*batch dim"]
    optimum: Params | None


@dataclasses.dataclass(frozen=True)
class Static:
    """What the code of a program depends on: the setting but for its laws and traced knobs, rows of prompts, and the devices.

    Args:
        setting: static knobs; the others are at their defaults.
        rows: rows that prompts of tokens reserve.
        simulation_prompts: prompts that simulate each error; 0 for none.
        quantiles: levels of the quantiles over them.
        test_laws: laws of tasks over which errors are averaged beside single test tasks.
        mesh: the devices over which lineages are spread.
        platform: the platform they are of, or that the program is written for.
    """

    setting: Setting
    rows: Rows
    simulation_prompts: int
    quantiles: tuple[float, ...]
    test_laws: tuple[str, ...]
    mesh: Mesh
    platform: str


@functools.partial(jax.jit, static_argnums=(0, 1))
def train(static: Static, regime: Regime, traced: Traced, laws: Laws, knobs: Mapping[str, Array], parent: Trained | None) -> Trained:
    """Train one model of every lineage of a batch.

    Args:
        static: what is static.
        regime: the regime to train.
        traced: the traced knobs of the lineages.
        laws: what all of them share.
        knobs: values of the branch knobs that the regime reads.
        parent: the models they go on from; None for initial parameters.

    Returns:
        The trained models.
    """
    setting = static.setting
    small = setting.gradient == "population" and setting.dim <= LARGEST_DIM_BATCH_LAST.get(static.platform, 0)
    over_batch = vmap_last if small else jax.vmap

    def one(laws: Laws, knobs: Mapping[str, Array], traced: Traced, parent: Trained | None) -> Trained:
        setting, lineage = _drawn(static, laws, traced)
        return experiment.train(setting, lineage, regime, knobs, parent, static.rows)

    return _spread(static, over_batch(one, (None, None, 0, 0)), (laws, knobs), (traced, parent))


@functools.partial(jax.jit, static_argnums=(0, 1))
def measure(
    static: Static,
    forms: tuple[Regime, ...],
    traced: Traced,
    laws: Laws,
    grid: Grid,
    regime: Int[ArrayLike, ""],
    stream: ArrayLike,
    fine_tuning_shots: ArrayLike,
    trained: Trained | None,
) -> Measured:
    """Measure one model of every lineage of a batch.

    Args:
        static: what is static.
        forms: the regimes whose closed form may be asked for; none where the model has no closed form.
        traced: the traced knobs of the lineages.
        laws: what all of them share.
        grid: where to measure.
        regime: place of the model's regime among `forms`; traced, so that one program measures all.
        stream: the regime's stream of randomness.
        fine_tuning_shots: number of fine-tuning examples.
        trained: the trained models; None to measure the closed-form optimum itself.

    Returns:
        What is measured.
    """

    def one(common: tuple[Any, ...], traced: Traced, trained: Trained | None) -> Measured:
        laws, grid, regime, stream, shots = common
        setting, lineage = _drawn(static, laws, traced)
        optimal = _optimum(static, forms, setting, lineage, regime, shots, trained)
        return _measured(static, setting, lineage, grid, stream, optimal, trained)

    common = laws, grid, jnp.asarray(regime), jnp.asarray(stream), jnp.asarray(fine_tuning_shots)
    return _spread(static, jax.vmap(one, (None, 0, 0)), (common,), (traced, trained))


@functools.partial(jax.jit, static_argnums=(0, 1))
def measure_baseline(static: Static, baseline: Baseline, traced: Traced, laws: Laws, grid: Grid) -> Measured:
    """Fit a baseline to the pretraining law of every lineage of a batch, and measure it.

    Args:
        static: what is static.
        baseline: the estimator.
        traced: the traced knobs of the lineages.
        laws: what all of them share.
        grid: where to measure.

    Returns:
        What is measured, on the prompts that the pretrained model meets unless that is one head of one layer, which sees no whole prompt.
    """

    def one(common: tuple[Laws, Grid], traced: Traced) -> Measured:
        laws, grid = common
        setting, lineage = _drawn(static, laws, traced)
        fitted = lineage.prior if baseline.knows_pool else lineage.law
        key = jax.random.fold_in(jax.random.fold_in(lineage.key, experiment.BASELINE_STREAM), 0)
        params = baseline.fit(key, lineage.problem, fitted, setting.pretraining_shots)
        estimate = _simulated(static, _prompts_key(lineage, PRETRAINED.stream), lineage, grid, params, grid.baseline_shots, baseline)
        return _told(lineage, estimate)

    return _spread(static, jax.vmap(one, (None, 0)), ((laws, grid),), (traced,))


@functools.partial(jax.jit, static_argnums=0)
def above_minimum(static: Static, traced: Traced, laws: Laws, pretrained: Trained) -> Bool[Array, " batch"]:
    """Tell which lineages of a batch missed the minimum of pretraining.

    Args:
        static: what is static.
        traced: the traced knobs of the lineages.
        laws: what all of them share.
        pretrained: the pretrained models.

    Returns:
        True where it was missed.
    """

    def one(laws: Laws, traced: Traced, pretrained: Trained) -> Bool[Array, ""]:
        return experiment.above_minimum(*_drawn(static, laws, traced), pretrained.params)

    return _spread(static, jax.vmap(one, (None, 0, 0)), (laws,), (traced, pretrained))


def _drawn(static: Static, laws: Laws, traced: Traced) -> tuple[Setting, Lineage]:
    """A setting with its traced knobs in place, and what its seed starts from."""
    setting = dataclasses.replace(static.setting, **traced)
    return setting, experiment.draw(setting, laws.covariance, laws.prior, laws.target_task)


def _optimum(
    static: Static,
    forms: tuple[Regime, ...],
    setting: Setting,
    lineage: Lineage,
    regime: Int[Array, ""],
    shots: Float[Array, ""],
    trained: Trained | None,
) -> Params | None:
    """The closed-form optimum of a regime; None where there are no closed forms."""
    if not forms:
        return None
    reached = trained.params if trained is not None and setting.optimizer == "adam" else None
    given = experiment.given(setting, lineage, shots, reached)
    optima = [form.optimum for form in forms if form.optimum is not None]
    return jax.lax.switch(regime, [functools.partial(optimum, given) for optimum in optima])


def _measured(
    static: Static, setting: Setting, lineage: Lineage, grid: Grid, stream: Array, optimal: Params | None, trained: Trained | None
) -> Measured:
    """Errors of a trained model, or of the optimum itself, on tasks of the asked cosines."""
    model = setting.network
    params = optimal if trained is None else trained.params
    risk, estimate = None, None
    diverged = jnp.zeros((), bool) if trained is None else trained.diverged
    if model.theory is not None:
        risk = _exact(static, lineage, grid, params, model)
        diverged |= ~all_finite(risk)
    if static.simulation_prompts:
        estimate = _simulated(static, _prompts_key(lineage, stream), lineage, grid, params, grid.simulation_shots, model)
    return _told(
        lineage,
        estimate,
        risk=risk,
        optimum_risk=None if optimal is None else _exact(static, lineage, grid, optimal, LINEAR),
        diverged=diverged,
        optimum=optimal if trained is None else None,
    )


def _prompts_key(lineage: Lineage, stream: ArrayLike) -> Key[Array, ""]:
    """The randomness of the prompts on which the models of a regime are simulated."""
    return jax.random.fold_in(jax.random.fold_in(lineage.key, experiment.SIMULATION_STREAM), stream)


def _exact(static: Static, lineage: Lineage, grid: Grid, params: Any, model: Model) -> Float[Array, "tasks shots"]:
    """Exact errors on the test tasks, and averaged over the laws asked for where these averages are exact."""
    theory, shots = model.theory, grid.evaluation_shots
    assert theory is not None
    single = evaluation.error_curves(params, lineage.problem, _test_tasks(lineage, grid), shots, model=model)
    laws = _test_laws(static, lineage) if knows_averages(model, lineage.law) else ()
    means = [jax.vmap(theory.risk(lineage.problem, law), (None, 0))(params, shots) for law in laws]
    return jnp.concatenate([single, *(mean[None] for mean in means)])


def _simulated(
    static: Static,
    key: Key[Array, ""],
    lineage: Lineage,
    grid: Grid,
    params: Any,
    shots: Float[Array, " shots"],
    model: Model | Baseline,
) -> RiskEstimate:
    """Simulated errors on the test tasks, and over prompts each with a task of its own from the laws asked for."""
    count, drawing = static.simulation_prompts, dict[str, Any](model=model, quantiles=static.quantiles)
    if static.rows.evaluation is not None:
        drawing |= {"sampler": "tokens", "max_shots": static.rows.evaluation}
    found = [evaluation.simulated_curves(key, params, lineage.problem, _test_tasks(lineage, grid), shots, count, **drawing)]
    for law, stream in zip(_test_laws(static, lineage), static.test_laws, strict=True):
        law_key = jax.random.fold_in(key, LAW_STREAMS[stream])

        def estimate(cell: tuple[Array, Array], law: TaskPrior = law, law_key: Key[Array, ""] = law_key) -> RiskEstimate:
            return empirical_risk(jax.random.fold_in(law_key, cell[0]), params, lineage.problem, law, cell[1], count, **drawing)

        drawn = jax.lax.map(estimate, (jnp.arange(len(shots), dtype=jnp.uint32), shots))
        found.append(jax.tree.map(lambda leaf: leaf[None], drawn))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def _test_laws(static: Static, lineage: Lineage) -> tuple[TaskPrior, ...]:
    """The laws asked for."""
    known = {"pool": lineage.prior, "prior": lineage.law}
    return tuple(known[name] for name in static.test_laws)


def _test_tasks(lineage: Lineage, grid: Grid) -> Float[Array, "num_tasks dim"]:
    """The tasks of the asked cosines to the target task."""
    direction, target = jax.random.fold_in(lineage.key, experiment.DIRECTION_STREAM), lineage.target_task
    return jax.vmap(lambda cosine: evaluation.task_at_cosine(direction, lineage.problem, target, cosine))(grid.cosines)


def _told(lineage: Lineage, estimate: RiskEstimate | None, **known: Any) -> Measured:
    """What is measured, with the simulated errors if there are any."""
    told: dict[str, Any] = {"risk": None, "optimum_risk": None, "diverged": jnp.zeros((), bool), "optimum": None, **known}
    return Measured(
        simulated_risk=None if estimate is None else estimate.mean,
        standard_error=None if estimate is None else estimate.standard_error,
        quantiles=None if estimate is None else estimate.quantiles,
        target_task=lineage.target_task,
        **told,
    )


def _spread(static: Static, run: Callable[..., Any], common: tuple[Any, ...], along: tuple[Any, ...]) -> Any:
    """Call a function whose last arguments, and whose results, are spread over the devices; each works on its part alone."""
    places = (WHOLE,) * len(common) + (SPLIT,) * len(along)
    each = jax.shard_map(run, mesh=static.mesh, in_specs=places, out_specs=SPLIT, check_vma=False)
    return each(*common, *along)


def placed(static: Static, whole: Any, split: Any) -> tuple[Any, Any]:
    """Put arguments on the devices: the first whole on each, the second spread over them.

    Args:
        static: what is static, the devices among it.
        whole: what each device has whole.
        split: what is spread over them.

    Returns:
        Both, placed.
    """
    return jax.device_put(whole, NamedSharding(static.mesh, WHOLE)), jax.device_put(split, NamedSharding(static.mesh, SPLIT))
