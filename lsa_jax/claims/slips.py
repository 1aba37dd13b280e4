"""The known slips of the published code: what is used there, what is right, and what it costs in risk."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import optima
from lsa_jax.claims.case import Case
from lsa_jax.claims.value_minimum import fitted_value
from lsa_jax.params import Params
from lsa_jax.population import population_risk, prior_risk

PUBLISHED_POOL = 100_000


@dataclasses.dataclass(frozen=True)
class Slip:
    """One slip: the number used and the right one, and the error each leads to."""

    name: str
    used: float
    right: float
    risk: str
    risk_used: float
    risk_right: float


def slips(case: Case) -> list[Slip]:
    """Compute the five slips at a setting.

    Args:
        case: the setting.

    Returns:
        One row a slip.
    """
    checks: tuple[Callable[[Case], Slip], ...] = (_pretrained_scale, _one_shot_late, _limit_of_other_tasks, _noise_floor, _pools)
    return [check(case) for check in checks]


def _pretrained_scale(case: Case) -> Slip:
    """The pretraining optimum without noise and for another normaliser and prior."""
    dim, shots = case.settings.dim, case.settings.pretraining_shots
    right, used_scale = case.pretrained(), shots / (shots + 1 + dim)
    limit = case.pretrained(jnp.inf)
    used = Params(value=limit.value, query_key=used_scale * limit.query_key)
    return Slip(
        name="pretrained scale: m/(m+1+d)",
        used=used_scale,
        right=float(jnp.trace(right.query_key[1:-1, 1:-1] @ case.problem.covariance)) / dim,
        risk=f"pretraining loss, m = {shots}",
        risk_used=float(prior_risk(used, case.problem, case.prior, shots)),
        risk_right=float(prior_risk(right, case.problem, case.prior, shots)),
    )


def _one_shot_late(case: Case) -> Slip:
    """w* read off at n + 1."""
    shots, start = case.settings.shots, case.pretrained(jnp.inf)
    late, right = (optima.value_auxiliary(start, case.problem, case.target_task, number) for number in (shots + 1, shots))
    return Slip(
        name="w* read off one shot late",
        used=float(late.value[-1, -1]),
        right=float(right.value[-1, -1]),
        risk=f"{shots}-shot error on θ₀, Q_xx = Σ⁻¹",
        risk_used=_risk(case, late, case.target_task, shots),
        risk_right=_risk(case, right, case.target_task, shots),
    )


def _limit_of_other_tasks(case: Case) -> Slip:
    """The limit of w* taken for every task."""
    dim = case.settings.dim
    tuned = optima.value(case.pretrained(jnp.inf), case.problem, case.target_task)
    used, right = (dim + 3) / (dim + 4), (dim + 5) / (dim + 4)
    errors = [
        _risk(case, Params(value=tuned.value.at[-1, -1].set(scale), query_key=tuned.query_key), -case.target_task, jnp.inf)
        for scale in (used, right)
    ]
    return Slip("w*(∞) = (d+3)/(d+4) for every task, here -θ₀", used, right, "few-shot limit on -θ₀", *errors)


def _noise_floor(case: Case) -> Slip:
    """The limit of full fine-tuning without the noise floor."""
    right = _risk(case, case.optima(jnp.inf, case.settings.shots)["full"], case.target_task, jnp.inf)
    return Slip("limit of full: θ₀ᵀΣθ₀", case.size, right, "few-shot limit on θ₀", case.size, right)


def _pools(case: Case) -> Slip:
    """Fine-tuning data redrawn for each method: two pools, one method."""
    fit = jax.jit(lambda key: fitted_value(case, key, PUBLISHED_POOL))
    fits = [fit(key) for key in jax.random.split(case.key(1500))]
    first, second = (float(jnp.sqrt(jnp.sum(fit.value[-1, 1:-1] ** 2))) for fit in fits)
    errors = [_risk(case, fit, case.target_task, 0) for fit in fits]
    return Slip("another fine-tuning pool for each method (|v_x| of two)", first, second, "zero-shot error on θ₀", *errors)


def _risk(case: Case, params: Params, task: Float[Array, " dim"], shots: ArrayLike) -> float:
    """An exact error as a number."""
    return float(population_risk(params, case.problem, task, shots))
