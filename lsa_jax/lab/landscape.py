"""Fine-tuning by exact gradients, without a learning rate: paths of minimisers along a weight, and gradient flow in time."""

import functools
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.optimize
from jaxtyping import Array, Float

from lsa_jax import precision
from lsa_jax.errors import InputError
from lsa_jax.objectives import Inputs, LowRank, Objective, Term, minimise

PATIENCE = 1e4
"""Time that a minimisation stands for, in units of the mean curvature of the first term: it is a step of implicit Euler of that length, so
that directions no loss sees do not move, and those that run to infinity stop."""

FIRST_STEP, LONGEST_STEP, MOST_STEPS = 0.1, 1.0, 400
"""Trust region of a minimisation, so that it goes downhill from its start instead of leaping into another valley."""

GRADIENT = 1e-9
"""Gradient, relative to the trace of the first term's Hessian, at which a minimisation has ended."""

FLOW_TOLERANCE = 1e-8


class Landscape:
    """A weighted sum of terms as a function of what is trained, compiled once for all weights.

    Args:
        inputs: what the terms are computed from, exact.
        start: the parameters that fine-tuning starts from.
        terms: the terms, the first of which is the loss that every path goes down.
        seed: seed of the factors of a low-rank set.

    Raises:
        ValueError: if the trainable set is unknown, or a rank out of range.
    """

    def __init__(self, inputs: Inputs, start: Any, terms: Sequence[Term], seed: int = 0) -> None:
        """Prepare the terms."""
        self._inputs, self._terms, self._key = inputs, tuple(terms), jax.random.key(seed)
        objective = self._objective([1.0] * len(terms))
        self._aux = jax.jit(objective.prepare)(self._key, start)
        moving = objective.enter(self._key, start)
        if LowRank.of(inputs.train) is None:
            vector, self._put = inputs.model.acting(moving, inputs.train)
        else:
            vector, self._put = jax.flatten_util.ravel_pytree(moving)
        self.start = np.asarray(vector)

    def _objective(self, weights: Sequence[Any]) -> Objective:
        """The objective at some weights."""
        return minimise(list(zip(self._terms, weights, strict=True)), self._inputs)

    def params(self, vector: Any) -> Any:
        """Return the parameters that a vector stands for."""
        return self._objective([1.0] * len(self._terms)).leave(self._put(vector), self._aux)

    def vector(self, params: Any) -> np.ndarray:
        """Return the vector of parameters that differ from the start in what a plain trainable set holds."""
        return np.asarray(self._inputs.model.acting(params, self._inputs.train)[0])

    def loss(self, vector: Float[Array, " entries"], weights: Float[Array, " terms"]) -> Float[Array, ""]:
        """Return the weighted sum of the terms."""
        with precision.in_force():
            return self._objective(list(weights)).loss(self._key, self._put(vector), 1.0, self._aux)

    @functools.cached_property
    def _compiled(self) -> tuple[Any, Any]:
        """Value with gradient, and Hessian, compiled side by side."""
        given = self.start, jnp.zeros(len(self._terms))
        programs = jax.jit(jax.value_and_grad(self.loss)).lower(*given), jax.jit(jax.hessian(self.loss)).lower(*given)
        with ThreadPoolExecutor(len(programs)) as pool:
            slopes, bends = pool.map(lambda program: program.compile(), programs)
        return slopes, bends

    def slopes(self, vector: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient."""
        return as_numbers(self._compiled[0])(vector, jnp.asarray(weights))

    def bends(self, vector: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the Hessian of the loss."""
        return np.asarray(self._compiled[1](vector, jnp.asarray(weights)))

    def only(self, place: int, weight: float = 1.0) -> np.ndarray:
        """Return weights with a single term."""
        weights = np.zeros(len(self._terms))
        weights[place] = weight
        return weights

    def unit(self, place: int) -> float:
        """Return the weight at which a term curves the start as much as the first term does.

        Args:
            place: its place among the terms.

        Returns:
            The ratio of the traces of both Hessians.

        Raises:
            ValueError: if the term does not curve there, so that no weight of it is comparable.
        """
        first, own = (np.trace(self.bends(self.start, self.only(index))) for index in (0, place))
        if not own > 0:
            raise InputError(f"term {self._terms[place].name!r} has no curvature where fine-tuning starts; its weight has no scale there")
        return first / own

    def follow(self, weights: Sequence[np.ndarray], patience: float = PATIENCE) -> np.ndarray:
        """Minimise at one weight after the other, each from where the one before ended.

        Args:
            weights: weights of all terms, the most protective first.
            patience: time that each minimisation stands for.

        Returns:
            One vector a weight.
        """
        return follow(self.slopes, self.bends, self.start, weights, patience)

    def flow(self, times: np.ndarray) -> np.ndarray:
        """Follow the gradient flow of the first term from the start.

        Args:
            times: increasing times from 0 on, in units of the mean curvature of the first term.

        Returns:
            One vector a time.

        Raises:
            ValueError: if the first term has no curvature in what is trained, so that times have no unit and nothing moves.
        """
        weights = self.only(0)
        curvature = np.trace(self.bends(self.start, weights))
        if not curvature > 0:
            told = f"{self._terms[0].name} has no curvature in {self._inputs.train} where fine-tuning starts"
            raise InputError(f"{told}: nothing moves there; train a set that holds V")
        clock = self.start.size / curvature
        run = scipy.integrate.solve_ivp(
            lambda _, vector: -self.slopes(vector, weights)[1],
            (0, clock * times[-1]),
            self.start,
            method="LSODA",
            jac=lambda _, vector: -self.bends(vector, weights),
            t_eval=clock * times,
            rtol=FLOW_TOLERANCE,
            atol=FLOW_TOLERANCE,
        )
        return run.y.T


def follow(
    slopes: Callable[..., Any], bends: Callable[..., Any], start: np.ndarray, weights: Sequence[np.ndarray], patience: float = PATIENCE
) -> np.ndarray:
    """Minimise at one set of weights after the other, each from where the one before ended.

    Args:
        slopes: value and gradient at a vector and weights.
        bends: Hessian at a vector and weights, of which the first is that of the loss that time is measured by.
        start: the vector to start from.
        weights: weights of all terms, the most protective first.
        patience: time that each minimisation stands for.

    Returns:
        One vector a set of weights.
    """
    size = np.trace(bends(start, np.eye(len(weights[0]))[0]))
    pull = size / start.size / patience
    found, vector = [], start
    for own in weights:
        vector = _pulled_minimum(slopes, bends, vector, own, pull, GRADIENT * size)
        found.append(vector)
    return np.array(found)


def _pulled_minimum(
    slopes: Callable[..., Any], bends: Callable[..., Any], before: np.ndarray, weights: np.ndarray, pull: float, tolerance: float
) -> np.ndarray:
    """The nearest minimum of the loss and a weak pull to where the search starts."""

    def pulled(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = slopes(vector, weights)
        return value + pull / 2 * np.sum((vector - before) ** 2), gradient + pull * (vector - before)

    def bent(vector: np.ndarray) -> np.ndarray:
        return bends(vector, weights) + pull * np.eye(vector.size)

    return nearest_minimum(pulled, bent, before, tolerance)


def as_numbers(compiled: Callable[..., tuple[Array, Array]]) -> Callable[..., tuple[float, np.ndarray]]:
    """Return a compiled function and its gradient as minimisers of SciPy take them.

    Args:
        compiled: what returns value and gradient.

    Returns:
        The same with numbers in place of arrays.
    """

    def slopes(*given: Any) -> tuple[float, np.ndarray]:
        value, gradient = compiled(*given)
        return float(value), np.asarray(gradient)

    return slopes


def nearest_minimum(slopes: Callable[..., Any], bends: Callable[..., Any], before: np.ndarray, tolerance: float, *given: Any) -> np.ndarray:
    """Minimise by Newton steps in a small trust region, downhill from a start.

    Args:
        slopes: value and gradient at a vector.
        bends: Hessian at a vector.
        before: the start.
        tolerance: gradient at which the search has ended.
        given: what both take beside the vector.

    Returns:
        The minimum, or where the search was after as many steps as it takes at most.
    """
    options = {"gtol": tolerance, "maxiter": MOST_STEPS, "initial_trust_radius": FIRST_STEP, "max_trust_radius": LONGEST_STEP}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = scipy.optimize.minimize(slopes, before, args=given, jac=True, hess=bends, method="trust-exact", options=options)
    return run.x
