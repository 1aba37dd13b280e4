"""The built-in terms of losses by name; a user-defined one needs no registration."""

from lsa_jax.objectives import empirical_fisher, remedies, terms

TERMS = {
    term.name: term
    for term in (
        terms.PRIOR,
        terms.ZERO_SHOT,
        terms.FEW_SHOT,
        terms.L2_SP,
        remedies.EWC,
        remedies.EWC_FULL,
        empirical_fisher.EWC_EMPIRICAL,
        remedies.DISTILLATION,
        remedies.DISTILLATION_TARGET,
        remedies.DISTILLATION_ZERO_SHOT,
    )
}
"""Objectives (a) to (d) are made of the first three."""
