"""The laws that all lineages of a group share, as arrays, and what a group's model, prior and gradient allow."""

import functools
import math
import warnings
from typing import TYPE_CHECKING

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lsa_jax import checks, covariances, estimators, models, priors
from lsa_jax.errors import InputError
from lsa_jax.given import Given
from lsa_jax.objectives import LowRank, plain_set
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.setting import Setting

if TYPE_CHECKING:
    from lsa_jax.sweeps.plan import Group
    from lsa_jax.sweeps.spec import Spec


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Laws:
    """Covariance of the covariates, law of the pretraining tasks, and the target task where one is given."""

    covariance: Float[Array, "dim dim"]
    prior: TaskPrior
    target_task: Float[Array, " dim"] | None


def of(setting: Setting) -> Laws:
    """Return the laws of a setting as arrays, checked.

    Args:
        setting: the knobs.

    Returns:
        The laws, in JAX's default floating type.

    Raises:
        ValueError: if one cannot be made in this dimension.

    Example:
        >>> of(Setting(dim=2, target_task=(1.0, 0.0))).covariance.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    dim, real = setting.dim, jnp.result_type(float)
    target = None
    if setting.target_task != "random":
        target = checks.as_task("target_task", np.array(setting.target_task), dim, zero_allowed=False).astype(real)
    return Laws(covariance=_covariance(setting).astype(real), prior=prior_of(setting), target_task=target)


def prior_of(setting: Setting) -> TaskPrior:
    """Return the law of the pretraining tasks that a setting names or holds, in JAX's default floating type.

    Args:
        setting: the knobs.

    Returns:
        The prior.

    Raises:
        ValueError: if it cannot be made in this dimension.
    """
    written = setting.prior.value if isinstance(setting.prior, Given) else setting.prior
    prior = written if isinstance(written, TaskPrior) else priors.from_spec(written, setting.dim)
    priors.require_prior_dim(prior, setting.dim)
    real = jnp.result_type(float)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, real) if jnp.issubdtype(leaf.dtype, jnp.floating) else jnp.asarray(leaf), prior)


def has_minimiser(setting: Setting) -> bool:
    """Tell whether closed-form minimisers hold for a setting: one layer of linear attention, and a pool or a symmetric law with moments."""
    theory = setting.network.theory
    return theory is not None and theory.minimisers and (math.isfinite(setting.num_tasks) or _is_symmetric(setting.prior, setting.dim))


@functools.lru_cache(maxsize=1024)
def _is_symmetric(prior: str | Given, dim: int) -> bool:
    """Whether a law of tasks has exact moments and is that of the opposite tasks."""
    law = prior_of(Setting(dim=dim, prior=prior))
    return has_moments(law) and bool(priors.is_symmetric(law))


def has_moments(prior: TaskPrior) -> bool:
    """Tell whether exact averages over a prior are known."""
    return hasattr(prior, "moments")


def knows_averages(model: models.Model, law: TaskPrior) -> bool:
    """Tell whether a model's errors averaged over a law of tasks are exact, at every number of shots."""
    return model.theory is not None and model.theory.exact_at is None and has_moments(law)


def require_trainable(spec: "Spec", group: "Group") -> None:
    """Refuse a group whose laws cannot be made, or whose model, prior and gradient do not go together, before anything is computed.

    Args:
        spec: the sweep.
        group: the group.

    Raises:
        ValueError: if so.
    """
    setting, model = group.setting, group.setting.network
    _require_laws(setting)
    _require_averages(spec, group)
    _require_baselines(spec, group)
    for regime in {cell.regime for cell in group.cells}:
        for one in group.family.lineage_of(regime):
            _require_set(model, one.train, setting.dim)
        if setting.gradient == "closed_form" and group.family.by_name[regime].optimum is None:
            raise InputError(f"regime {regime!r} has no closed form: leave it out where gradient = 'closed_form'")
    _warn_of_curved_constraints(group, model)
    if setting.gradient == "closed_form" and not has_minimiser(setting):
        raise InputError(f"model {model.name!r} with prior {setting.prior} has no closed-form optima: set another gradient")
    if model.theory is None or model.theory.exact_at is not None:
        _require_simulated(spec, group, model)
    elif setting.gradient == "population":
        _require_moments(group)


def _require_set(model: models.Model, train: str, dim: int) -> None:
    """Refuse a trainable set that the model lacks, or a rank that its tokens have no room for."""
    models.require_group(model, plain_set(train))
    adapter = LowRank.of(train)
    if adapter is not None:
        start = jax.eval_shape(functools.partial(model.init, dim=dim, std=1.0), jax.random.key(0))
        jax.eval_shape(functools.partial(adapter.start, model), jax.random.key(0), start)


def _warn_of_curved_constraints(group: "Group", model: models.Model) -> None:
    """Say where steps leave the argmin set they should stay in, and what shows by how much."""
    for name in dict.fromkeys(branch.regime for branch in group.trainings):
        regime = group.family.by_name[name]
        if regime.constraint is not None and regime.train not in model.linear_in:
            told = f"regime {name!r} stays within the argmin set of {regime.constraint.name} to second order only: predictions of model"
            why = f"{model.name!r} are not linear in {regime.train!r}. Compare its zero-shot errors with those of {regime.start!r}"
            warnings.warn(f"{told} {why}, or use a penalty", stacklevel=2)


def _require_laws(setting: Setting) -> None:
    """Refuse laws that cannot be made in this dimension; those that are texts are read, not made."""
    if isinstance(setting.covariance, str):
        covariances.parse(setting.covariance, setting.dim)
    else:
        _covariance(setting)
    if isinstance(setting.prior, str):
        priors.parse(setting.prior)
    else:
        prior_of(setting)
    if isinstance(setting.target_task, tuple):
        checks.as_task("target_task", np.array(setting.target_task), setting.dim)


def _require_averages(spec: "Spec", group: "Group") -> None:
    """Refuse averages over laws of tasks as test tasks where they are neither exact nor simulated."""
    model = group.setting.network
    if spec.test_laws and not spec.simulation_prompts and not knows_averages(model, prior_of(group.setting)):
        told = f"model {model.name!r} has no exact average over prior {group.setting.prior}"
        raise InputError(f"{told}: set simulation_prompts, or leave {' and '.join(spec.test_laws)} out of test_tasks")


def _require_baselines(spec: "Spec", group: "Group") -> None:
    """Refuse baselines that a prior, no noise or infinite contexts leave undefined."""
    noise, shots = float(group.lineages["noise_std"].min()), float(group.lineages["pretraining_shots"].max())
    law, number = prior_of(group.setting), group.setting.num_tasks
    pool = priors.FiniteTasks(tasks=jnp.zeros((int(number), law.dim))) if math.isfinite(number) else law
    for name in spec.baselines:
        seen = pool if estimators.baseline(name).knows_pool else law
        estimators.require_baseline(name, LinearRegression(jnp.eye(group.setting.dim), noise), seen, shots)


def _require_moments(group: "Group") -> None:
    """Refuse exact gradients over a prior without exact moments, where a term asks for them."""
    asked = {term.name for cell in group.trainings for term in group.family.by_name[cell.regime].terms}
    if "prior" in asked and math.isinf(group.setting.num_tasks) and not has_moments(prior_of(group.setting)):
        raise InputError(f"prior {group.setting.prior} has no exact moments: set gradient = 'sampled', or give it `moments`")


def _require_simulated(spec: "Spec", group: "Group", model: models.Model) -> None:
    """Refuse exact gradients and infinite contexts of a model about which nothing is exact, or infinitely long prompts alone."""
    exact = f"model {model.name!r} has no exact risk" + (" but in infinite contexts" if model.theory else "")
    if group.setting.gradient != "sampled":
        raise InputError(f"{exact}: set gradient = 'sampled'")
    if not spec.simulation_prompts and len(group.exact_shots(spec)) < len(spec.evaluation_shots):
        raise InputError(f"{exact}: set simulation_prompts, to measure it on prompts")
    finite = f"prompts of model {model.name!r} are finite"
    if math.inf in {*group.lineages["pretraining_shots"], *(cell.knobs["fine_tuning_shots"] for cell in group.cells)}:
        raise InputError(f"pretraining_shots or fine_tuning_shots is infinite, but {finite}: leave inf out")
    if not group.exact_shots(spec) and not group.simulated_shots(spec):
        raise InputError(f"evaluation_shots are all infinite, but {finite}: add a finite number")


def _covariance(setting: Setting) -> Float[Array, "dim dim"]:
    """The covariance that a setting names or holds."""
    if isinstance(setting.covariance, str):
        return covariances.from_text(setting.covariance, setting.dim)
    matrix = setting.covariance.value
    if isinstance(matrix, dict):
        if "covariance" not in matrix:
            raise InputError(f"covariance is given as {', '.join(matrix)}; it must be one matrix, or a file with an array 'covariance'")
        matrix = matrix["covariance"]
    return checks.as_covariance("covariance", jnp.asarray(matrix), setting.dim)
