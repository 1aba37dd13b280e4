"""The claims of the paper, and what stands beside them on one head."""

import functools

from lsa_jax.claims import errors, families, minimisers, shots, value_minimum
from lsa_jax.claims.findings import Claim

LONG = "m → ∞ for Q̂, then n → ∞"

PAPER = (
    Claim(
        name="pretrained",
        source="Cor. 4.1, 4.2",
        statement="The pretrained model is worst zero-shot and best few-shot, on every task.",
        assumptions=f"prior symmetric about 0; {LONG}",
        limit="excess 1, 0, 0 in units of θ₀ᵀΣθ₀",
        finite="(8) at (12)",
        check=functools.partial(errors.check, regime="pretrained"),
    ),
    Claim(
        name="full",
        source="Thm 4.3, Cor. 4.4",
        statement="Fine-tuning all parameters from the pretrained model is best zero-shot and loses in-context learning.",
        assumptions=f"gradient descent from the pretrained optimum; {LONG}",
        limit="excess 0, 1, 1",
        finite="(8) at (13)(i) with w of (14)",
        check=functools.partial(errors.check, regime="full"),
    ),
    Claim(
        name="value",
        source="Thm 4.6, Prop. 4.7, Cor. 4.8",
        statement="Fine-tuning the value matrix alone gains zero-shot, and costs the same small few-shot error on every task.",
        assumptions=f"start at the pretrained optimum; {LONG}",
        limit="excess 2/(d+4), 1/(d+4)², 1/(d+4)² at every cosine to θ₀",
        finite="(8) at (15), (19), (20)",
        check=functools.partial(errors.check, regime="value"),
    ),
    Claim(
        name="value_auxiliary",
        source="Thm 4.9, Prop. 4.10",
        statement="A few-shot loss inside the zero-shot optimum undoes the cost on θ₀ and adds one that grows with the angle to it.",
        assumptions=f"stage 2 inside the argmin set of stage 1; {LONG}",
        limit="excess 2/(d+4), 0, 4/(d+4)²; 2(1-k)/(d+4)² at cosine k",
        finite="(8) at (16), (19), (20)",
        check=functools.partial(errors.check, regime="value_auxiliary"),
    ),
    Claim(
        name="pretraining optimum",
        source="Cor. 4.1; (12)",
        statement="The closed form is the global minimum of the pretraining loss over all of V and Q.",
        assumptions="numerical: minimisation from random starts; the landscape has strict spurious minima",
        limit="Q_xx = Σ⁻¹",
        finite="Q_xx = Ω[ΣΩ + (tr ΣΩ + σ²)/(m+1) I]⁻¹",
        check=minimisers.pretraining_minimum,
    ),
    Claim(
        name="pretraining optimum isolated",
        source="(12)",
        statement="The optimum is unique nearby, up to (cV, Q/c) and the entries that never act.",
        assumptions="d ≥ 2 and rank Ω ≥ 2",
        limit="one flat direction",
        finite="one flat direction",
        check=minimisers.pretraining_is_isolated,
    ),
    Claim(
        name="break-even",
        source="Cor. 4.2; (21)",
        statement="Few-shot beats zero-shot from a number of shots on that grows with the dimension.",
        assumptions="pretrained optimum, Q_xx symmetric",
        limit="n = d(1 + σ²/θ₀ᵀΣθ₀) - 1",
        finite="(|τ|² + σ²) tr B² / (2τᵀBτ - τᵀB²τ) - 1",
        check=shots.break_even,
    ),
    Claim(
        name="zero-shot minimisers",
        source="Thm 4.3; (13)",
        statement="Members of both families have zero-shot error σ², whatever their free entries.",
        assumptions="θ₀ ≠ 0",
        limit="σ²",
        finite="σ²",
        check=families.zero_shot,
    ),
    Claim(
        name="a minimiser that keeps ICL",
        source="docs/theory.md, full fine-tuning",
        statement="Not every zero-shot minimiser loses in-context learning: one has few-shot limit σ² on both θ₀ and -θ₀.",
        assumptions="n → ∞; family (ii) beside it",
        limit="σ²; (ii): σ² + |τ₀|²((1 ∓ ½)² + |τ₀|²v_y²/4w²)",
        finite="the same",
        check=families.few_shot_limits,
    ),
    Claim(
        name="where full ends",
        source="(14)",
        statement="Gradient flow conserves |v|² - |Q|², which fixes the minimiser that full fine-tuning reaches.",
        assumptions="gradient flow from the pretrained optimum; momentum and finite steps follow it approximately",
        limit="w²|θ₀|² - w⁻² = -|Γ|²",
        finite="the same at the start's own scale",
        check=minimisers.where_full_ends,
    ),
    Claim(
        name="value minimiser",
        source="Thm 4.6; (15)",
        statement="The value-only optimum puts v_x along θ₀: exactly so in the limit, or where Σ is isotropic.",
        assumptions="Q_xx symmetric, zero-shot loss",
        limit="v_x = θ₀/(d+4)",
        finite="b* of (15)",
        check=value_minimum.value_minimiser,
    ),
    Claim(
        name="value_auxiliary scale",
        source="Thm 4.9; (16)",
        statement="The few-shot loss inside the zero-shot optimum picks the scale w*(n).",
        assumptions="start at the pretrained optimum with v_y = 1",
        limit="w* = (d+3)/(d+4)",
        finite="w*(n) of (16)",
        check=shots.best_scale,
    ),
)
"""In the order in which they are printed."""
