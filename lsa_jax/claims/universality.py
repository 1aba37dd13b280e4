"""Covariates that are not Gaussian: in infinite contexts their covariance alone matters, elsewhere two cumulants as well."""

import jax.numpy as jnp
import numpy as np

from lsa_jax import covariates
from lsa_jax.claims.case import Case, large_numbers, rate
from lsa_jax.claims.findings import Finding
from lsa_jax.empirical import empirical_risk
from lsa_jax.population import population_risk

LAWS = {"uniform": covariates.uniform, "Rademacher": covariates.rademacher, "Student t": covariates.student_t(13.0)}


def laws_of_covariates(case: Case) -> list[Finding]:
    """Compute the few-shot error of the value optimum under covariate laws that are not Gaussian, and its limit.

    Args:
        case: where to check.

    Returns:
        For each law the error, simulated from tokens, and its limit, stated to be that of Gaussian covariates.
    """
    params = case.optima(case.settings.pretraining_shots, case.settings.shots)["value"]
    given, numbers, found = (params, case.problem, case.target_task), large_numbers(case.settings.dim), []
    gaussian = float(population_risk(*given, jnp.inf))
    for tag, (name, law) in enumerate(LAWS.items()):
        *errors, limit = (float(population_risk(*given, number, covariates=law)) for number in (*numbers, jnp.inf))
        simulated = empirical_risk(
            case.key(2400 + tag), *given, case.settings.shots, case.settings.prompts, sampler="tokens", covariates=law
        )
        found.append(
            Finding(
                case=f"few-shot, {name}",
                stated=gaussian,
                at_limit=limit,
                exact=float(population_risk(*given, case.settings.shots, covariates=law)),
                simulated=float(simulated.mean),
                standard_error=float(simulated.standard_error),
                rates={"n": rate(np.array(errors) - limit, case.settings.dim, case.size)},
            )
        )
    return found
