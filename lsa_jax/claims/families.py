"""The two families of minimisers of the zero-shot error over all parameters, and the one in them that keeps in-context learning."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from lsa_jax.claims.case import Case
from lsa_jax.claims.findings import Finding
from lsa_jax.params import Params
from lsa_jax.population import population_risk

SCALE = 0.7


def members(case: Case) -> dict[str, Params]:
    r"""Return a member of each family of docs/theory.md, equation (13), with random free entries, and two with none.

    Args:
        case: the data law and target task.

    Returns:
        Parameters by name: `(i)` and `(ii)` with random free entries; `(i), keeping ICL` and `(ii), no free entries`.
    """
    dim, task = case.settings.dim, case.target_task
    size, zeros = dim + 2, jnp.zeros((dim + 2, dim + 2))
    free = 0.3 * jax.random.normal(case.key(1002), (size, size))
    antisymmetric = jnp.tril(free[:-1, :-1], -1) - jnp.tril(free[:-1, :-1], -1).T
    free_key = zeros.at[:-1, :-1].set(antisymmetric).at[-1, :-1].set(free[-1, :-1])
    first = zeros.at[-1, 1:-1].set(SCALE * task)
    second = zeros.at[-1, 0].set(SCALE)
    linear = zeros.at[0, 1:-1].set(task / (2 * SCALE)).at[1:-1, 0].set(task / (2 * SCALE))
    reading = zeros.at[-1, 1:-1].set(task / (SCALE * case.size))
    return {
        "(i)": Params(value=first.at[-1, -1].set(1), query_key=free_key.at[0, 0].add(1 / SCALE)),
        "(ii)": Params(value=second.at[-1, -1].set(1), query_key=free_key + linear),
        "(i), keeping ICL": Params(value=first, query_key=reading.at[0, 0].set(1 / SCALE)),
        "(ii), no free entries": Params(value=second.at[-1, -1].set(1), query_key=linear),
    }


def zero_shot(case: Case) -> list[Finding]:
    r"""Check that every member has the zero-shot error $\sigma^2$ exactly.

    Args:
        case: where to check.

    Returns:
        One finding a member.
    """
    return [
        _compare(case, 1100 + index, f"zero-shot, {name}", params, case.target_task, 0, case.noise_variance)
        for index, (name, params) in enumerate(members(case).items())
    ]


def few_shot_limits(case: Case) -> list[Finding]:
    """Check the few-shot limits of two members on ±θ₀: the best there is, and that of family (ii).

    Args:
        case: where to check.

    Returns:
        Four findings.
    """
    found, chosen = [], members(case)
    for index, sign in enumerate((1.0, -1.0)):
        task, name = sign * case.target_task, "θ₀" if sign > 0 else "-θ₀"
        best, other = chosen["(i), keeping ICL"], chosen["(ii), no free entries"]
        excess = case.size * ((1 - sign / 2) ** 2 + case.size / (4 * SCALE**2))
        found += [
            _compare(case, 1200 + index, f"limit on {name}, (i), keeping ICL", best, task, np.inf, case.noise_variance),
            _compare(case, 1210 + index, f"limit on {name}, (ii)", other, task, np.inf, case.noise_variance + excess),
        ]
    return found


def _compare(case: Case, tag: int, name: str, params: Params, task: Float[Array, " dim"], shots: ArrayLike, stated: float) -> Finding:
    """One error against what is stated for it."""
    simulated = case.simulate(tag, params, task, shots)
    return Finding(
        case=name,
        stated=stated,
        exact=float(population_risk(params, case.problem, task, shots)),
        simulated=float(simulated.mean),
        standard_error=float(simulated.standard_error),
        scale=max(stated, 1e-3 * case.size),
    )
