"""What fine-tuning forgets after pretraining on a finite pool of tasks, against the size of the pool."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax import lab, optima
from lsa_jax.claims.case import PUBLISHED_INIT
from lsa_jax.params import Params
from lsa_jax.plotting.style import TITLES, half_width
from lsa_jax.priors import FiniteTasks, TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import PAPER, Given
from lsa_jax.studies import pool_remedies
from lsa_jax.studies.setting import published

SIZES = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256, 1024)
"""Numbers of tasks in a pool. With a single task Q_xx is 0 and zero-shot errors do not depend on V, so that nothing is to be compared."""

POOLS = 32
MOVED_SIZES, MOVED_POOLS = (2, 3, 4, 8, 16, 64, 256, np.inf), 8
"""Numbers of tasks, and pools of each, after which remedies over all parameters are taken as well: they have no closed form."""

PANELS = ("zero_shot", "pool", "prior")
SHARE = 0.75
"""Part of the zero-shot gain of value-only fine-tuning at which remedies are compared."""

REMEDIES = {
    "prior": np.logspace(5, -5, 201),
    "ewc": np.logspace(5, -5, 201),
    "l2_sp": np.logspace(5, -5, 201),
    "early_stopping": np.logspace(-4, 5, 201),
    "averaging": np.linspace(0, 1, 51),
}
"""Values of each remedy's knob, the most protective first."""


def task_diversity(prompts: int) -> pd.DataFrame:
    """Compute what the four regimes and remedies do after pretraining on pools of every size, averaged over pools.

    Pretraining is the minimum at v = e_y over a pool drawn from the prior; the target is one more task of the prior, not in the pool. A
    larger pool holds the smaller ones of the same draw. Every error is exact. Remedies over all parameters end at the zero-shot errors of
    those over V alone.

    Args:
        prompts: not used; everything is exact.

    Returns:
        One row a mean over pools: kind (`regime`, `remedy` over V or `remedy_all` over all parameters), name, title, panel (`zero_shot` on
        the target; few-shot on tasks of the `pool` and on fresh ones of the `prior`), tasks (infinite for the prior itself), the error,
        half_width of its 95 % interval, and forgotten, the mean error above that of the pretrained model, with forgotten_half_width.
    """
    case, drawn = published(), []
    rows = _common_rows(case.settings.dim)
    for number in range(POOLS):
        key = case.key(2300, number)
        tasks = np.asarray(case.prior.sample(jax.random.fold_in(key, 0), SIZES[-1])).T
        target = case.prior.sample(jax.random.fold_in(key, 1), 1)[:, 0]
        axes = np.concatenate([np.eye(case.settings.dim), -np.eye(case.settings.dim)])
        for size, pool in {**{size: tasks[:size] for size in SIZES}, np.inf: axes}.items():
            whole = FiniteTasks(tasks=np.tile(pool, (rows // len(pool), 1)))
            found = errors_after(case.problem, case.prior, whole, target, float(case.settings.shots))
            if number < MOVED_POOLS and size in MOVED_SIZES:
                shots = jnp.asarray(float(case.settings.shots))
                start = pretrained(case.problem, whole, shots)
                begun = pool_remedies.Pretrained(case.problem, whole, target, shots, start)
                found["remedy_all"] = pool_remedies.errors_at(float(_level(found["regime"])), begun, case.prior)
            drawn += _told(found, float(size))
    return _means(pd.DataFrame(drawn))


@jax.jit
def errors_after(
    problem: LinearRegression, prior: TaskPrior, pool: FiniteTasks, target: Float[Array, " dim"], num_shots: Float[Array, ""]
) -> dict[str, dict[str, Float[Array, " panels"]]]:
    """Compute the errors of every regime and remedy after pretraining on one pool.

    Args:
        problem: covariance of the covariates and label noise.
        prior: the law that fresh tasks come from.
        pool: the pretraining tasks.
        target: the target task.
        num_shots: number of examples of every prompt that has any.

    Returns:
        For `regime` and `remedy` the errors of `PANELS` by name.
    """
    start = pretrained(problem, pool, num_shots)
    inputs = lab.exact_inputs(problem, pool, target, num_shots, train="value")
    begun = pool_remedies.Pretrained(problem, pool, target, num_shots, start)

    def errors(params: Params) -> Float[Array, " panels"]:
        return pool_remedies.errors(params, begun, prior)

    given = Given(problem, start, target, num_shots)
    regimes = {regime.name: errors(regime.optimum(given)) for regime in PAPER if regime.optimum is not None}
    level, remedies = _level(regimes), {}
    for name, knobs in REMEDIES.items():
        front = lab.value_front(inputs, start, name, knobs)
        along = jax.vmap(lambda row: errors(start.replace(value=start.value.at[-1].set(row))))(front)
        remedies[name] = _at(level, along)
    return {"regime": regimes, "remedy": remedies}


def pretrained(problem: LinearRegression, pool: TaskPrior, num_shots: Float[Array, ""]) -> Params:
    """Return the minimum over a pool at v = e_y, at the scale that training from the published initialisation ends at.

    Args:
        problem: covariance of the covariates and label noise.
        pool: the pretraining tasks.
        num_shots: number of pretraining examples.

    Returns:
        The parameters.
    """
    conserved = -problem.dim * (problem.dim + 2) * PUBLISHED_INIT**2
    return optima.balanced(optima.pretrained_slice(problem, pool, num_shots), conserved)


def _level(regimes: dict[str, Float[Array, " panels"]]) -> Float[Array, ""]:
    """The zero-shot error at which remedies are compared."""
    return (1 - SHARE) * regimes["pretrained"][0] + SHARE * regimes["value"][0]


def _at(level: Float[Array, ""], along: Float[Array, "knobs panels"]) -> Float[Array, " panels"]:
    """Errors where a front, along which the zero-shot error falls, reaches a level of it; at its first knob where that is below already."""
    rising = along[::-1]
    return jax.vmap(lambda column: jnp.interp(level, rising[:, 0], column), in_axes=1)(rising)


def _common_rows(dim: int) -> int:
    """Rows in which pools of all sizes can be repeated, so that all have one shape."""
    return int(np.lcm.reduce([*SIZES, 2 * dim]))


def _told(found: dict[str, dict[str, Any]], tasks: float) -> list[dict[str, object]]:
    """One row a regime or remedy and panel."""
    before = np.asarray(found["regime"]["pretrained"])
    titles = TITLES | {name: lab.remedy(name).title for name in (*REMEDIES, *pool_remedies.REMEDIES)}
    return [
        {
            "kind": kind,
            "name": name,
            "title": title,
            "panel": panel,
            "tasks": tasks,
            "error": float(error),
            "forgotten": float(error - base),
        }
        for kind, models in found.items()
        for name, title in titles.items()
        if name in models
        for panel, error, base in zip(PANELS, np.asarray(models[name]), before, strict=True)
    ]


def _means(drawn: pd.DataFrame) -> pd.DataFrame:
    """Means over pools and their 95 % intervals."""
    groups = drawn.groupby(["kind", "name", "title", "panel", "tasks"], sort=False)
    found = groups[["error", "forgotten"]].mean()
    for name, column in (("half_width", "error"), ("forgotten_half_width", "forgotten")):
        found[name] = half_width(groups[column].std().to_numpy(), groups[column].count().to_numpy())
    return found.reset_index()
