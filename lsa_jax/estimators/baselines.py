"""Estimators as baselines of a sweep: by name, with what they are fitted to."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.estimators import descent, linear, pool
from lsa_jax.priors import FiniteTasks, TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.squared_errors import Errors, compressed_errors

Predict = Callable[..., Float[Array, ""]]
Fit = Callable[[Key[Array, ""], LinearRegression, TaskPrior, ArrayLike], Any]
CONTEXTS = 4096
"""Contexts to which steps of gradient descent are fitted in a sweep."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An estimator beside the models of a sweep.

    Passed as the model of `empirical_risk` it meets the prompts that linear attention of several heads or layers meets under the same key,
    or with `sampler="tokens"` those that any model does, so that the noise of drawn prompts cancels from differences.

    Args:
        name: its name in specs, records and figures.
        predict: the estimator, a function (parameters, tokens, num_tokens) -> prediction.
        fit: its parameters, a function (key, problem, prior, number of pretraining shots).
        noisy: whether it needs label noise above 0.
        knows_pool: whether it is fitted to the pool of pretraining tasks itself, where there is one, rather than to its law.
    """

    name: str
    predict: Predict = dataclasses.field(repr=False)
    fit: Fit = dataclasses.field(repr=False)
    noisy: bool = False
    knows_pool: bool = False

    @property
    def sampled_errors(self) -> Errors:
        """What draws its squared errors in time independent of the number of shots, see `lsa_jax.squared_errors.compressed_errors`."""
        return functools.partial(compressed_errors, self.predict)


PLAIN = {
    "zero": Baseline("zero", linear.zero, lambda *known: None),
    "averaging": Baseline("averaging", linear.averaging, lambda *known: None),
    "least_squares": Baseline("least_squares", linear.least_squares, lambda *known: None),
    "ridge": Baseline("ridge", linear.ridge, lambda key, problem, prior, shots: linear.ridge_penalty(problem, prior), noisy=True),
    "pool_mean": Baseline(
        "pool_mean", pool.pool_mean, lambda key, problem, prior, shots: pool.known_pool(problem, prior), noisy=True, knows_pool=True
    ),
}
STEPPED = re.compile(r"(preconditioned_)?descent_([1-9]\d?)")


def baseline(name: str) -> Baseline:
    """Return a baseline by its name.

    Args:
        name: `zero`, `averaging`, `least_squares`, `ridge` (the best penalty), `pool_mean` (of a finite pool), `descent_K` for K steps of
            gradient descent with the best step sizes for the prior, or `preconditioned_descent_K` with the best matrices.

    Returns:
        The baseline.

    Raises:
        ValueError: if there is none of this name.

    Example:
        >>> baseline("descent_2").name
        'descent_2'
    """
    match = STEPPED.fullmatch(name)
    if match is None:
        return PLAIN[checks.as_choice("baseline", name, (*PLAIN, "descent_1", "preconditioned_descent_1"))]
    preconditioned, steps = bool(match[1]), int(match[2])

    def fit(key: Key[Array, ""], problem: LinearRegression, prior: TaskPrior, shots: ArrayLike) -> Float[Array, "steps *matrix"]:
        return descent.fit_gradient_descent(key, problem, prior, shots, steps, preconditioned=preconditioned, num_contexts=CONTEXTS)

    return Baseline(name, descent.gradient_descent, fit)


def is_baseline(name: str) -> bool:
    """Tell whether a name in records is that of a baseline.

    Args:
        name: a name.

    Returns:
        True if it is.

    Example:
        >>> is_baseline("ridge"), is_baseline("value")
        (True, False)
    """
    return name in PLAIN or STEPPED.fullmatch(name) is not None


def require_baseline(name: str, problem: LinearRegression, prior: TaskPrior, num_shots: float) -> None:
    """Refuse a baseline that is not defined for a problem and a prior, before anything is computed.

    Args:
        name: its name.
        problem: the data law.
        prior: law of the pretraining tasks.
        num_shots: number of pretraining shots.

    Raises:
        ValueError: if it needs noise and there is none, another prior, or finite contexts to be fitted to.
    """
    chosen = baseline(name)
    if chosen.noisy and not problem.noise_std:
        raise InputError(f"baseline {name!r} needs noise_std above 0: leave it out, or take least_squares")
    if name == "pool_mean" and not isinstance(prior, FiniteTasks):
        raise InputError("baseline 'pool_mean' is the Bayes estimator of a finite pool of tasks: take ridge for other priors")
    if STEPPED.fullmatch(name) and num_shots == float("inf"):
        raise InputError(f"baseline {name!r} is fitted to contexts of pretraining_shots examples, which are infinite: leave it out")
    jax.eval_shape(lambda key: chosen.fit(key, problem, prior, num_shots), jax.random.key(0))
