"""One lineage: a pretrained model and the models fine-tuned from it, as pure functions of a seed and its setting."""

import dataclasses
from collections.abc import Callable, Iterable

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real, UInt

from lsa_jax import objectives, optima, optimizers, prompts, training
from lsa_jax.population import prior_risk
from lsa_jax.priors import SpherePrior, TaskPrior
from lsa_jax.problem import LinearRegression, Params

PARENTS = {
    "pretrained": None,
    "full": "pretrained",
    "value": "pretrained",
    "value_auxiliary": "value",
    "value_annealed": "pretrained",
}
"""Regimes in the order they are trained, and where each starts. Stage 1 of regime (d) is regime (c), so (d) goes on from it."""

TUNED_ON_SHOTS = ("value_auxiliary", "value_annealed")
"""Regimes whose fine-tuning loss has examples in the prompt; the others do not depend on their number."""

Model = tuple[str, int | None]
"""A regime, and for those in `TUNED_ON_SHOTS` which of the lineage's numbers of shots it is tuned on."""

INIT_STREAM, TASK_STREAM, POOL_STREAM, SIMULATION_STREAM, TRAINING_STREAM = range(5)
DIRECTION_STREAM = TRAINING_STREAM + len(PARENTS)

MINIMUM_FACTOR = 1.1
"""A pretraining loss above the global minimum by this factor has not reached it."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is static in the training of a lineage.

    Args:
        dim: dimension d.
        gradient: `population`, `sampled`, or `closed_form` for no training at all.
        steps: gradient steps of each phase.
        batch_size: prompts a step.
        pool_size: labelled examples in the fine-tuning pool; 0 for fresh ones.
        optimizer: `sgd` or `adam`.
        decay: shape of the learning-rate decay.
        max_shots: rows to reserve for fine-tuning examples where their number is traced; needed with a pool.
    """

    dim: int
    gradient: str
    steps: int
    batch_size: int
    pool_size: int
    optimizer: str
    decay: str
    max_shots: int | None = None

    @property
    def training(self) -> training.Settings:
        """Settings of every training phase."""
        return training.Settings(steps=self.steps, history_stride=training.stride_for(self.steps))


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Setting:
    """What is traced in the training of a lineage, and may differ from one to the next."""

    problem: LinearRegression
    prior: TaskPrior
    pretraining_shots: Real[ArrayLike, "*batch"]
    learning_rate: Real[ArrayLike, "*batch"]
    init_std: Real[ArrayLike, "*batch"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Seed:
    """All that belongs to one training seed: its randomness, its target task and its fine-tuning examples."""

    key: Key[Array, "*batch"]
    target_task: Float[Array, "*batch dim"]
    pool: prompts.Pool | None


def draw_seed(
    number: UInt[ArrayLike, ""], protocol: Protocol, problem: LinearRegression, target: Float[Array, " dim"] | None = None
) -> Seed:
    """Draw what a training seed starts from.

    Args:
        number: the seed, from 0 to 2**32 - 1.
        protocol: what is static.
        problem: covariance of the covariates and label noise.
        target: the target task; by default one drawn uniformly from the unit sphere.

    Returns:
        The seed's key, target task and pool.
    """
    key = jax.random.key(number)
    if target is None:
        target = prompts.sample_task(jax.random.fold_in(key, TASK_STREAM), SpherePrior(dim=protocol.dim))
    pool = None
    if protocol.pool_size and protocol.gradient == "sampled":
        pool = prompts.sample_pool(jax.random.fold_in(key, POOL_STREAM), problem, target, protocol.pool_size)
    return Seed(key=key, target_task=target, pool=pool)


def initial_params(protocol: Protocol, setting: Setting, seed: Seed) -> Params:
    """Return the parameters a seed's pretraining starts from, the published initialisation.

    Args:
        protocol: what is static.
        setting: what is traced.
        seed: what belongs to the seed.

    Returns:
        The parameters.
    """
    return training.initial_params(jax.random.fold_in(seed.key, INIT_STREAM), protocol.dim, setting.init_std)


def place(regime: str) -> int:
    """Return the number of a regime, its place in `PARENTS`: what its streams of randomness and traced choices go by.

    Args:
        regime: the regime.

    Returns:
        The number.

    Example:
        >>> place("full")
        1
    """
    return list(PARENTS).index(regime)


def training_key(seed: Seed, regime: str) -> Key[Array, ""]:
    """Return the randomness of one training phase.

    Args:
        seed: what belongs to the seed.
        regime: the regime it trains.

    Returns:
        The key.
    """
    return jax.random.fold_in(seed.key, TRAINING_STREAM + place(regime))


def objective(protocol: Protocol, setting: Setting, regime: str, seed: Seed, shots: ArrayLike) -> objectives.Objective:
    """Return what a regime minimises from its parent on; for `value_auxiliary` its second stage.

    Args:
        protocol: what is static.
        setting: what is traced.
        regime: name of the regime.
        seed: what belongs to the seed.
        shots: number of fine-tuning examples; not used by `pretrained`, `full` and `value`.

    Returns:
        The objective.
    """
    tasks = setting.prior if regime == "pretrained" else seed.target_task
    if protocol.gradient == "population":
        risk = objectives.population_gradient(setting.problem, tasks)
    elif regime == "pretrained" or seed.pool is None:
        risk = objectives.fresh_prompts(setting.problem, tasks, protocol.batch_size)
    else:
        risk = objectives.pooled_prompts(seed.pool, protocol.batch_size, max_shots=protocol.max_shots)
    return objectives.stages(regime, risk, setting.pretraining_shots if regime == "pretrained" else shots)[-1]


def in_training_order(models: Iterable[Model]) -> tuple[Model, ...]:
    """Return the trainings that some models need, each after the one it starts from and each once.

    Args:
        models: the models.

    Returns:
        The models, with those they descend from.

    Example:
        >>> in_training_order([("value_auxiliary", 0), ("value_auxiliary", 1)])
        (('pretrained', None), ('value', None), ('value_auxiliary', 0), ('value_auxiliary', 1))
    """
    needed: set[Model] = set()
    for regime, index in models:
        needed.add((regime, index))
        parent = PARENTS[regime]
        while parent is not None:
            needed.add((parent, None))
            parent = PARENTS[parent]
    return tuple(sorted(needed, key=lambda model: (place(model[0]), model[1] or 0)))


def train(
    protocol: Protocol, setting: Setting, seed: Seed, regime: str, fine_tuning_shots: ArrayLike, parent: training.Trained | None = None
) -> training.Trained:
    """Train one model of a lineage.

    Args:
        protocol: what is static.
        setting: what is traced.
        seed: what belongs to the seed.
        regime: the regime to train.
        fine_tuning_shots: number of fine-tuning examples; not used by `pretrained`, `full` and `value`.
        parent: the model it starts from, see `PARENTS`; None for `pretrained`.

    Returns:
        The outcome; a model whose parent diverged counts as diverged.

    Example:
        >>> import lsa_jax as lsa
        >>> protocol = Protocol(5, "population", 100, 1, 0, "sgd", "linear")
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.3)
        >>> setting = Setting(problem=problem, prior=lsa.SpherePrior(dim=5), pretraining_shots=20.0, learning_rate=0.01, init_std=0.05)
        >>> seed = draw_seed(jnp.uint32(0), protocol, problem)
        >>> train(protocol, setting, seed, "pretrained", 20).history.shape
        (100,)
    """
    optimizer = optimizers.by_name(protocol.optimizer, setting.learning_rate, protocol.steps, protocol.decay)
    start = initial_params(protocol, setting, seed) if parent is None else parent.params
    goal = objective(protocol, setting, regime, seed, fine_tuning_shots)
    run = training.train(training_key(seed, regime), goal, start, optimizer, protocol.training)
    return run if parent is None else dataclasses.replace(run, diverged=run.diverged | parent.diverged)


def closed_forms(
    setting: Setting, target_task: Float[Array, " dim"], fine_tuning_shots: ArrayLike, full: Params | None = None
) -> dict[str, Callable[[], Params]]:
    """Return the theory's parameters of the paper's regimes for one target task, each computed when it is called.

    The pretrained optimum is known up to $(cV, Q/c)$; c is fixed by the conserved quantity, whose mean at the published initialisation is
    $-d(d+2)s^2$ for entries of standard deviation s. That fixes the scale of `full`.

    Args:
        setting: what is traced.
        target_task: the target task θ₀.
        fine_tuning_shots: number of examples in the auxiliary few-shot loss.
        full: a model trained as `full`, to take the scale of `full` from. Adam conserves nothing: only the run itself says where it ends.

    Returns:
        Parameters by regime; there are none for `value_annealed`, which minimises no fixed loss.

    References:
        docs/theory.md, section on optima.
    """
    problem = setting.problem
    conserved = -problem.dim * (problem.dim + 2) * setting.init_std**2
    pretrained = optima.balanced(optima.pretrained(problem, setting.prior, setting.pretraining_shots), conserved)
    scale = None if full is None else reached_scale(full, target_task)
    return {
        "pretrained": lambda: pretrained,
        "full": lambda: optima.full(problem, target_task, scale, pretrained if full is None else full),
        "value": lambda: optima.value(pretrained, problem, target_task),
        "value_auxiliary": lambda: optima.value_auxiliary(pretrained, problem, target_task, fine_tuning_shots),
    }


def reached_scale(params: Params, task: Float[Array, " dim"]) -> Float[Array, ""]:
    r"""Return the scale w of parameters of the form $v_x = w\theta_0$.

    Args:
        params: parameters fine-tuned as `full`.
        task: the target task θ₀.

    Returns:
        The scale.
    """
    return jnp.sum(params.value[-1, 1:-1] * task) / jnp.sum(task**2)


def above_minimum(setting: Setting, pretrained: Params) -> Bool[Array, ""]:
    """Tell whether pretraining missed its global minimum: the landscape has strict spurious ones, and steps may be too few.

    Args:
        setting: what is traced.
        pretrained: the pretrained parameters.

    Returns:
        True if the pretraining loss is above the minimum by more than a tenth of it.

    References:
        docs/theory.md, section on pretraining.
    """
    shots, problem, prior = setting.pretraining_shots, setting.problem, setting.prior
    minimum = prior_risk(optima.pretrained(problem, prior, shots), problem, prior, shots)
    return prior_risk(pretrained, problem, prior, shots) > MINIMUM_FACTOR * minimum
