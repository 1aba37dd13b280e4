"""The paper's table, and damage between its columns: errors of the four regimes, their limits and how fast these are approached."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lsa_jax import evaluation
from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.claims.settings import Settings
from lsa_jax.population import population_risk
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import paper_limits

REGIMES = ("pretrained", "full", "value", "value_auxiliary")
"""Those of the paper's table."""

BETWEEN = (0.5, 0.0, -0.5)
"""Cosines to the target task at which damage is checked, beside 1 and -1 in the paper's table."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One error of a regime: on which task, at which shots, and its limit in units of the target task's size."""

    name: str
    cosine: float
    few_shot: bool
    excess: float


def cells(regime: str, dim: int) -> list[Cell]:
    """Return the errors of a regime that have a stated limit.

    Args:
        regime: `pretrained`, `full`, `value` or `value_auxiliary`.
        dim: dimension d.

    Returns:
        The three of the paper's table; for the regimes tuned on the value matrix also few-shot errors on tasks in between.

    Example:
        >>> [cell.name for cell in cells("pretrained", dim=5)]
        ['zero-shot, θ₀', 'few-shot, θ₀', 'few-shot, -θ₀']
    """
    limits = paper_limits(regime, dim)
    found = [
        Cell("zero-shot, θ₀", 1.0, False, limits.zero_shot_target),
        Cell("few-shot, θ₀", 1.0, True, limits.few_shot_target),
        Cell("few-shot, -θ₀", -1.0, True, limits.few_shot_opposite),
    ]
    if regime in {"value", "value_auxiliary"} and dim > 1:
        damage = {"value": lambda cosine: 1.0, "value_auxiliary": lambda cosine: 2 * (1 - cosine)}[regime]
        found += [Cell(f"few-shot, cosine {cosine:g}", cosine, True, damage(cosine) / (dim + 4) ** 2) for cosine in BETWEEN]
    return found


def check(case: Case, regime: str) -> list[Finding]:
    """Compare the errors of one regime with their limits, and simulate them.

    Args:
        case: where to check.
        regime: the regime.

    Returns:
        One finding an error.
    """
    settings, dim = case.settings, case.settings.dim
    params = case.optima(settings.pretraining_shots, settings.shots)[regime]
    place, found = REGIMES.index(regime), []
    for index, cell in enumerate(cells(regime, dim)):
        task = test_task(case, cell.cosine)
        here, limit, by_shots, by_context = _limits(case, regime, cell)
        stated = case.noise_variance + cell.excess * case.size
        simulated = case.simulate(100 * place + index, params, task, settings.shots if cell.few_shot else 0)
        found.append(
            Finding(
                case=cell.name,
                stated=stated,
                exact=here,
                at_limit=limit,
                rates={"n": rate(by_shots - limit, dim, case.size), "m": rate(by_context - limit, dim, case.size)},
                simulated=float(simulated.mean),
                standard_error=float(simulated.standard_error),
                scale=max(stated, here, 1e-3 * case.size),
            )
        )
    return found


def test_task(case: Case, cosine: float) -> Float[Array, " dim"]:
    """Return the test task of the target's size at a cosine to it."""
    return evaluation.task_at_cosine(case.key(0), case.problem, case.target_task, cosine)


def _limits(case: Case, regime: str, cell: Cell) -> tuple[float, float, np.ndarray, np.ndarray]:
    """The exact error here, at the limit, and far out along n (at m = ∞) and along m (at n = ∞)."""
    far = large_numbers(case.settings.dim)
    pretraining_shots = jnp.array([case.settings.pretraining_shots, np.inf, *[np.inf] * len(far), *far])
    shots = jnp.array([case.settings.shots, np.inf, *far, *[np.inf] * len(far)])
    values = np.asarray(_errors(case.problem, case.prior, case.target_task, test_task(case, cell.cosine), pretraining_shots, shots))
    values = values[REGIMES.index(regime), int(cell.few_shot)]
    return float(values[0]), float(values[1]), values[2 : 2 + len(far)], values[2 + len(far) :]


@jax.jit
def _errors(
    problem: LinearRegression,
    prior: TaskPrior,
    target_task: Float[Array, " dim"],
    task: Float[Array, " dim"],
    pretraining_shots: Float[Array, " pairs"],
    shots: Float[Array, " pairs"],
) -> Float[Array, "regimes 2 pairs"]:
    """Zero-shot and few-shot errors of every regime at pairs (m, n)."""
    case = Case(Settings(dim=problem.dim), problem, prior, target_task)

    def at(pair: tuple[Array, Array]) -> Float[Array, "regimes 2"]:
        params = case.optima(*pair)
        curve = jax.vmap(population_risk, (None, None, None, 0))
        return jnp.stack([curve(params[regime], problem, task, jnp.stack([jnp.zeros(()), pair[1]])) for regime in REGIMES])

    return jnp.moveaxis(jax.lax.map(at, (pretraining_shots, shots)), 0, -1)
