"""How full fine-tuning forgets in time, on isotropic covariates: four numbers against all parameters."""

import jax
import jax.numpy as jnp

from lsa_jax import dynamics
from lsa_jax.claims.case import Case
from lsa_jax.claims.findings import Finding
from lsa_jax.claims.minimisers import flow
from lsa_jax.population import risk_function

FOLLOWED = 5
"""Largest dimension in which all parameters are followed too; the time it takes grows fast."""


def forgetting(case: Case) -> list[Finding]:
    """Compare the path of full fine-tuning in four numbers with the gradient flow of all parameters, when half of ICL is lost.

    Args:
        case: where to check.

    Returns:
        Errors at that time, and by how much the few-shot error on the prior grows at the start per unit of zero-shot gain.
    """
    case = case.isotropic()
    problem, start, task, shots = case.problem, case.pretrained(), case.target_task, case.settings.shots
    time = dynamics.forgetting_time(problem, case.prior, task, start, shots)
    errors = dynamics.errors_along(dynamics.full_tuning(problem, task, start, jnp.array([time])), problem, case.prior, task, shots)
    on_target, on_prior = risk_function(problem, task), risk_function(problem, case.prior)
    end = flow(case, lambda params: on_target(params, 0), start, time) if problem.dim <= FOLLOWED else None
    found = []
    for name, error, risk, number in (
        ("zero-shot, θ₀", errors.zero_shot, on_target, 0),
        ("few-shot, θ₀", errors.target, on_target, shots),
        ("few-shot, prior", errors.prior, on_prior, shots),
    ):
        numerical = None if end is None else float(risk(end, number))
        found.append(Finding(case=f"{name}, half of ICL lost", exact=float(error[0]), numerical=numerical))
    return [*found, Finding(case="price of the first gain, prior", stated=0.0, exact=_first_price(case), scale=1.0)]


def _first_price(case: Case) -> float:
    """By how much full fine-tuning at its start raises the few-shot error on the prior per unit of zero-shot gain."""
    problem, start = case.problem, case.pretrained()
    few_shot = risk_function(problem, case.prior)
    slope = jax.jit(jax.grad(risk_function(problem, case.target_task)))(start, 0.0)
    rise = jax.jit(lambda slope: jax.jvp(lambda params: few_shot(params, case.settings.shots), (start,), (slope,))[1])(slope)
    return -float(rise / sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slope)))
