"""The paper's five regimes: its table of objectives, its closed-form minimisers and its limits, one object a row."""

from jaxtyping import Array, Float

from lsa_jax import optima
from lsa_jax.objectives import LINEAR_DECAY
from lsa_jax.params import Params
from lsa_jax.regimes.regime import Given, Limits, Regime


def damage(dim: int) -> float:
    """Return the excess that value-only fine-tuning leaves on every task in the limit."""
    return 1 / (dim + 4) ** 2


def reached_scale(params: Params, task: Float[Array, " dim"]) -> Float[Array, ""]:
    r"""Return the scale w of parameters of the form $v_x = w\theta_0$.

    Args:
        params: parameters fine-tuned as `full`.
        task: the target task θ₀.

    Returns:
        The scale.
    """
    return (params.value[-1, 1:-1] * task).sum() / (task**2).sum()


def _full(given: Given) -> Params:
    """The minimiser that training reaches: by what gradient flow conserves, or at the scale of the model that was trained."""
    if given.reached is None:
        return optima.full(given.problem, given.target_task, None, given.pretrained)
    return optima.full(given.problem, given.target_task, reached_scale(given.reached, given.target_task), given.reached)


PRETRAINED = Regime(
    name="pretrained",
    loss={"prior": 1.0},
    train="all",
    start=None,
    stream=0,
    optimum=lambda given: given.pretrained,
    limits=lambda dim: Limits(1.0, 0.0, 0.0, "Cor. 4.1, 4.2"),
    bound=0.02,
    title="(a) pretrained",
)

FULL = Regime(
    name="full",
    loss={"zero_shot": 1.0},
    train="all",
    stream=1,
    optimum=_full,
    limits=lambda dim: Limits(0.0, 1.0, 1.0, "Thm 4.3, Cor. 4.4"),
    bound=0.05,
    title="(b) full",
)
"""Its minimiser is not unique and its few-shot error goes with the square of the scale it ends at, hence the wider bound."""

VALUE = Regime(
    name="value",
    loss={"zero_shot": 1.0},
    train="value",
    stream=2,
    optimum=lambda given: optima.value(given.pretrained, given.problem, given.target_task),
    limits=lambda dim: Limits(2 / (dim + 4), damage(dim), damage(dim), "Thm 4.6, Prop. 4.7, Cor. 4.8"),
    bound=0.02,
    title="(c) value",
)

VALUE_AUXILIARY = Regime(
    name="value_auxiliary",
    loss={"few_shot": 1.0},
    train="value",
    start="value",
    within="zero_shot",
    stream=3,
    optimum=lambda given: optima.value_auxiliary(given.pretrained, given.problem, given.target_task, given.fine_tuning_shots),
    limits=lambda dim: Limits(2 / (dim + 4), 0.0, 4 * damage(dim), "Thm 4.9, Prop. 4.10"),
    bound=0.02,
    title="(d) value + auxiliary",
)
"""Stage 1 of objective (d) is `value`, from which this continues: the few-shot error inside the argmin set of the zero-shot error."""

VALUE_ANNEALED = Regime(
    name="value_annealed",
    loss={"zero_shot": 1.0, "few_shot": LINEAR_DECAY},
    train="value",
    stream=4,
    title="value, annealed",
)
"""The soft stand-in for (d) of the published code; it minimises no fixed loss, so that it has no theory."""

PAPER = (PRETRAINED, FULL, VALUE, VALUE_AUXILIARY, VALUE_ANNEALED)
"""Objectives (a) to (d), Lee, Sohn, Lee, arXiv 2602.23197, section 3, and the annealed variant, in the order in which they are trained."""
