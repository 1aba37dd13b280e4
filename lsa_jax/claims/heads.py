"""What a second head changes: fine-tuning need not forget, and where a new head trained on the zero-shot loss alone ends."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.claims.minimisers import flow
from lsa_jax.params import MultiHeadParams, Params
from lsa_jax.population import population_risk

SCALE = 0.7
"""Scale w of the second head; predictions do not depend on it."""

SEED = 0.01
"""Entry Q₀₀ from which a new head starts, all others being 0."""


def need_not_forget(case: Case) -> list[Finding]:
    """Check that a pretrained head beside one that knows the target is best zero-shot and has the pretrained few-shot limits.

    Args:
        case: where to check.

    Returns:
        The zero-shot error, and few-shot errors on both tasks with the rate of their approach to the pretrained limit.
    """
    pretrained, size = case.pretrained(), case.settings.dim + 2
    row = jnp.zeros(size).at[1:-1].set(SCALE * case.target_task)
    model = _beside(pretrained, row, jnp.zeros((size, size)).at[0, 0].set(1 / SCALE))
    found = [_compare(case, 1400, "zero-shot, θ₀", model, case.target_task, 0, case.noise_variance, None)]
    for index, sign in enumerate((1.0, -1.0)):
        task = sign * case.target_task
        limit = float(population_risk(pretrained, case.problem, task, jnp.inf))
        name = f"few-shot, {'θ₀' if sign > 0 else '-θ₀'}"
        found.append(_compare(case, 1401 + index, name, model, task, case.settings.shots, limit, pretrained))
    return found


def new_head(case: Case) -> list[Finding]:
    """Follow the zero-shot gradient flow of a new head that starts from a single small entry, beside a frozen pretrained one.

    Args:
        case: where to check.

    Returns:
        Its zero-shot error and the few-shot limits at its end.
    """
    pretrained, size = case.pretrained(), case.settings.dim + 2
    start = jnp.zeros(size), jnp.zeros((size, size)).at[0, 0].set(SEED)

    def zero_shot(head: tuple[Array, Array]) -> Float[Array, ""]:
        return population_risk(_beside(pretrained, *head), case.problem, case.target_task, 0)

    end = flow(case, zero_shot, start)
    if end is None:
        return [Finding(case="zero-shot, θ₀ (the flow takes too long to be followed)", exact=case.noise_variance)]
    found = [Finding(case="zero-shot, θ₀", exact=case.noise_variance, numerical=float(zero_shot(end)), scale=case.size)]
    for sign, name in ((1.0, "θ₀"), (-1.0, "-θ₀")):
        task = sign * case.target_task
        limit = float(population_risk(pretrained, case.problem, task, jnp.inf))
        reached = float(population_risk(_beside(pretrained, *end), case.problem, task, jnp.inf))
        found.append(Finding(case=f"few-shot limit, {name}", exact=limit, numerical=reached, scale=case.size))
    return found


def _beside(pretrained: Params, row: Float[Array, " token"], query_key: Float[Array, "token token"]) -> MultiHeadParams:
    """A pretrained head beside another one; twice the values, because outputs are averaged."""
    value = jnp.stack([pretrained.value, jnp.zeros_like(pretrained.value).at[-1].set(row)])
    return MultiHeadParams(value=2 * value, query_key=jnp.stack([pretrained.query_key, query_key]))


def _compare(
    case: Case, tag: int, name: str, model: MultiHeadParams, task: Float[Array, " dim"], shots: int, stated: float, limit: Params | None
) -> Finding:
    """One error against what is stated for it: here, or where the context is infinite if it has the limit of a model."""
    exact = float(population_risk(model, case.problem, task, shots))
    simulated = case.simulate(tag, model, task, shots)
    rates, at_limit = {}, None
    if limit is not None:
        at_limit = float(population_risk(model, case.problem, task, jnp.inf))
        far = large_numbers(case.settings.dim)
        gaps = [
            float(population_risk(model, case.problem, task, number) - population_risk(limit, case.problem, task, number)) for number in far
        ]
        rates = {"n": rate(np.array(gaps), case.settings.dim, case.size)}
    return Finding(
        case=name,
        stated=stated,
        exact=exact,
        at_limit=at_limit,
        rates=rates,
        simulated=float(simulated.mean),
        standard_error=float(simulated.standard_error),
        scale=max(stated, exact, 1e-3 * case.size),
    )
