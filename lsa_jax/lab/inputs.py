"""What the lab starts from: exact risks and distances of a fine-tuning problem, and a pretrained model in a stated gauge."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, objectives, optima
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model
from lsa_jax.objectives import Inputs
from lsa_jax.params import Params
from lsa_jax.priors import TaskPrior, require_moments, require_prior_dim
from lsa_jax.problem import LinearRegression

GAUGES = ("balanced", "unit")


def exact_inputs(
    problem: LinearRegression,
    prior: TaskPrior,
    task: Real[ArrayLike, " dim"],
    num_shots: ArrayLike,
    *,
    train: str = "all",
    model: Model = LINEAR,
) -> Inputs:
    """Return what the terms of losses are computed from, all of it exact.

    Args:
        problem: covariance of the covariates and label noise.
        prior: law of the pretraining tasks, with moments.
        task: the target task θ₀, not zero.
        num_shots: number of examples in pretraining prompts, and in few-shot prompts of the target task.
        train: the trainable set.
        model: one layer of linear attention, of any number of heads.

    Returns:
        The inputs.

    Raises:
        ValueError: if shapes differ, the prior has no moments, the task is zero, or nothing is exact about the model.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem, prior = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5), lsa.SpherePrior(dim=2)
        >>> inputs = exact_inputs(problem, prior, jnp.array([1.0, 0.0]), 20, train="value")
        >>> float(inputs.target_risk(jax.random.key(0), lsa.optima.pretrained(problem, prior, 20), 0))
        1.25
    """
    task = checks.as_task("task", task, problem.dim, zero_allowed=False)
    require_prior_dim(prior, problem.dim)
    require_moments(prior)
    shots = checks.as_shots("num_shots", num_shots, task.dtype, minimum=1)
    return Inputs(
        model=model,
        train=train,
        prior_risk=objectives.population_gradient(problem, prior, model=model),
        target_risk=objectives.population_gradient(problem, task, model=model),
        pretraining_shots=shots,
        knobs={"fine_tuning_shots": shots},
        problem=problem,
        prior=prior,
        target_task=task,
        batches=1,
        prior_distance=objectives.exact_distance(problem, prior, model=model),
        target_distance=objectives.exact_distance(problem, task, model=model),
    )


def pretrained(problem: LinearRegression, prior: TaskPrior, num_shots: ArrayLike, gauge: str = "balanced") -> Params:
    r"""Return the pretraining optimum at one of its scales $(cV, Q/c)$, which predict the same and are fine-tuned differently.

    Args:
        problem: covariance of the covariates and label noise.
        prior: law of the pretraining tasks, symmetric.
        num_shots: number of pretraining examples.
        gauge: `balanced` for $|v|^2 = \|Q_{\cdot,\neq y}\|^2$, near which training from small entries lands, or `unit` for $v_y = 1$.

    Returns:
        The optimum.

    Raises:
        ValueError: if the gauge is unknown, or the prior has no closed-form optimum.

    References:
        docs/theory.md, equations (12) and (14).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> found = pretrained(problem, lsa.SpherePrior(dim=2), 20)
        >>> abs(round(float(lsa.optima.conserved_quantity(found)), 6))
        0.0
    """
    checks.as_choice("gauge", gauge, GAUGES)
    optimum = optima.pretrained(problem, prior, num_shots)
    return optimum if gauge == "unit" else optima.balanced(optimum, 0.0)


def laws(inputs: Inputs) -> tuple[LinearRegression, TaskPrior, Float[Array, " dim"]]:
    """Return the data law, the law of the pretraining tasks and the target task of inputs.

    Args:
        inputs: from `exact_inputs`.

    Returns:
        All three.

    Raises:
        ValueError: if one is missing.
    """
    if inputs.problem is None or inputs.prior is None or inputs.target_task is None:
        raise InputError("inputs lack the problem, the prior or the target task: make them with lab.exact_inputs")
    return inputs.problem, inputs.prior, inputs.target_task


def require_weights(
    knobs: ArrayLike | Sequence[float], *, largest: float | None = None, zero_allowed: bool = False
) -> Float[Array, " knobs"]:
    """Return the values of a knob, checked.

    Args:
        knobs: the values.
        largest: largest value.
        zero_allowed: whether 0 is one.

    Returns:
        The values.

    Raises:
        ValueError: if there is none, or one is negative, above the largest or not finite.
    """
    if np.size(knobs) == 0:
        raise InputError("the front is empty: give at least one value of the knob")
    known = np.asarray(knobs, float)
    values = checks.as_real("knobs", known, ("knobs",))
    low, high = float(known.min()), float(known.max())
    if low < 0 or (low == 0 and not zero_allowed) or (largest is not None and high > largest):
        wanted = "at least 0" if zero_allowed else "above 0"
        raise InputError(
            f"knobs go from {low:g} to {high:g}; they must be {wanted}{'' if largest is None else f' and at most {largest:g}'}"
        )
    return values
