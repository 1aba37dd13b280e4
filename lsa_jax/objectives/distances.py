"""How far two models are apart, as training may follow it: functions (key, params, other, num_shots) -> mean squared difference."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.models import LINEAR, Model
from lsa_jax.objectives.risks import as_tasks, drawn_tokens
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression

Distance = Callable[[Key[Array, ""], Any, Any, ArrayLike], Float[Array, ""]]
"""A function (key, parameters, other parameters, number of shots) -> mean squared difference of predictions."""


def exact_distance(problem: LinearRegression, tasks: Float[Array, " dim"] | TaskPrior, *, model: Model = LINEAR) -> Distance:
    r"""Return the exact distance $E(f - f')^2$ of two models of one kind, which ignores its key.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the task of the prompts, or the prior to average over.
        model: the model.

    Returns:
        The distance.

    Raises:
        ValueError: if distances of this model are not known exactly.

    References:
        docs/theory.md, equation (24).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=3), num_shots=20)
        >>> float(exact_distance(problem, lsa.SpherePrior(dim=3))(jax.random.key(0), start, start, 20))
        0.0
    """
    if model.theory is None or model.theory.distance is None:
        raise InputError(f"model {model.name!r} has no exact distance to another: train it on sampled prompts, gradient = 'sampled'")
    exact = model.theory.distance(problem, as_tasks(tasks, problem))
    return lambda key, params, other, num_shots: exact(params, other, num_shots)


def sampled_distance(
    problem: LinearRegression,
    tasks: Float[Array, " dim"] | TaskPrior,
    batch_size: int,
    *,
    max_shots: int | None = None,
    model: Model = LINEAR,
) -> Distance:
    r"""Return the mean of $(f - f')^2$ over a batch of fresh prompts of tokens that both models see.

    Args:
        problem: covariance of the covariates and label noise.
        tasks: the task of the prompts, or the prior to draw from.
        batch_size: prompts, at least 1 (static).
        max_shots: rows to reserve for examples; needed where the number of shots is traced.
        model: the model.

    Returns:
        The distance.

    Raises:
        ValueError: if `batch_size` is below 1.

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=1.0)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=3), num_shots=20)
        >>> float(sampled_distance(problem, jnp.ones(3), batch_size=10)(jax.random.key(0), start, start, 20))
        0.0
    """
    count, tasks = checks.as_count("batch_size", batch_size), as_tasks(tasks, problem)

    def distance(key: Key[Array, ""], params: Any, other: Any, num_shots: ArrayLike) -> Float[Array, ""]:
        draw = drawn_tokens(problem, tasks, num_shots, max_shots)

        def difference(index: Array) -> Float[Array, ""]:
            prompt = draw(jax.random.fold_in(key, index))
            one, another = (model.predict(one, prompt.tokens, prompt.num_tokens) for one in (params, other))
            return one - another

        return jnp.mean(jax.vmap(difference)(jnp.arange(count, dtype=jnp.uint32)) ** 2)

    return distance
