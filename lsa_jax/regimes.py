"""The regimes of the paper by name, what each trains, and the errors the paper gives for them in the limit."""

import dataclasses

REGIMES = ("pretrained", "full", "value", "value_auxiliary", "value_annealed")
"""(a) to (d) of the paper, and the soft stand-in for (d) of its published code."""


TRAINABLE = ("all", "value", "query_key")
"""Sets of parameters that an objective may train."""


@dataclasses.dataclass(frozen=True)
class Limits:
    r"""Excess errors over $\sigma^2$ in units of $\theta_0^\top\Sigma\theta_0$, as both contexts grow without bound."""

    zero_shot_target: float
    few_shot_target: float
    few_shot_opposite: float
    source: str


def paper_limits(regime: str, dim: int) -> Limits:
    r"""Return the paper's three limiting excess errors of a regime: zero-shot on θ₀, few-shot on θ₀, few-shot on -θ₀.

    **Assumes** the pretraining context grows first ($Q_{xx} = \Sigma^{-1}$), then the few-shot one; any Σ. For `full` it is the limit that
    fine-tuning from a pretrained model reaches.

    Args:
        regime: `pretrained`, `full`, `value` or `value_auxiliary`.
        dim: dimension d.

    Returns:
        The limits and the results they stand in.

    Raises:
        KeyError: if the paper has no limit for the regime.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Corollaries 4.1, 4.2, 4.4, 4.8, Theorems 4.3, 4.6, 4.9, Propositions 4.7, 4.10.

    Example:
        >>> paper_limits("value_auxiliary", dim=6)
        Limits(zero_shot_target=0.2, few_shot_target=0.0, few_shot_opposite=0.04, source='Thm 4.9, Prop. 4.10')
    """
    damage = 1 / (dim + 4) ** 2
    return {
        "pretrained": Limits(1.0, 0.0, 0.0, "Cor. 4.1, 4.2"),
        "full": Limits(0.0, 1.0, 1.0, "Thm 4.3, Cor. 4.4"),
        "value": Limits(2 / (dim + 4), damage, damage, "Thm 4.6, Prop. 4.7, Cor. 4.8"),
        "value_auxiliary": Limits(2 / (dim + 4), 0.0, 4 * damage, "Thm 4.9, Prop. 4.10"),
    }[regime]
