"""A setting made ready for the checks, and the tools they share: simulation in chunks and the rate of a limit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, covariances, experiment, optima, priors
from lsa_jax.claims.settings import Settings
from lsa_jax.empirical import RiskEstimate, empirical_risk
from lsa_jax.params import LayerParams, Params
from lsa_jax.priors import TaskPrior
from lsa_jax.problem import LinearRegression
from lsa_jax.regimes import PAPER, Given
from lsa_jax.setting import Setting

CHUNKS = 50
"""Independent parts of a simulation whose spread gives the standard error of a statistic that is no mean."""

PUBLISHED_INIT, PUBLISHED_RATE = 0.05, 0.01
"""Standard deviation of the initialisation, and learning rate, of the published runs."""

TASK_STREAM, SIMULATION_STREAM = 0, 1
LARGE = 1e3 * 4.0 ** np.arange(10)
"""Multiples of the dimension at which the approach to a limit is measured."""

SMALLEST_GAP = 1e-10
"""Gap, relative to the number itself, above which rounding does not disturb its rate."""


@jax.jit
def _optima(
    problem: LinearRegression, prior: TaskPrior, target_task: Float[Array, " dim"], pretraining_shots: ArrayLike, num_shots: ArrayLike
) -> dict[str, Params]:
    """The closed forms as one program."""
    setting = Setting(dim=problem.dim, pretraining_shots=pretraining_shots, init_std=PUBLISHED_INIT)
    start = Given(problem, experiment.pretrained_optimum(setting, problem, prior), target_task, num_shots)
    return {regime.name: regime.optimum(start) for regime in PAPER if regime.optimum is not None}


@dataclasses.dataclass(frozen=True)
class Case:
    """The data law, prior and target task of a setting, in float64."""

    settings: Settings
    problem: LinearRegression
    prior: TaskPrior
    target_task: Float[Array, " dim"]

    @property
    def size(self) -> float:
        r"""The unit of excess errors, $\theta_0^\top\Sigma\theta_0$."""
        return float(jnp.sum((self.problem.root.T @ self.target_task) ** 2))

    @property
    def noise_variance(self) -> float:
        """The floor of every error."""
        return float(self.problem.noise_std**2)

    def isotropic(self) -> "Case":
        """Return the case with covariance I in place of its own."""
        return dataclasses.replace(self, problem=LinearRegression(jnp.eye(self.settings.dim), self.problem.noise_std))

    def key(self, *tags: int) -> Key[Array, ""]:
        """Return the randomness of one simulation."""
        key = jax.random.fold_in(jax.random.key(self.settings.seed), SIMULATION_STREAM)
        for tag in tags:
            key = jax.random.fold_in(key, tag)
        return key

    def pretrained(self, shots: ArrayLike | None = None) -> Params:
        """Return the pretraining optimum with $v_y = 1$, by default for the setting's number of shots."""
        return optima.pretrained(self.problem, self.prior, self.settings.pretraining_shots if shots is None else shots)

    def optima(self, pretraining_shots: ArrayLike, shots: ArrayLike) -> dict[str, Params]:
        """Return the closed-form optimum of each regime, at the scale gradient descent ends at."""
        given = self.problem, self.prior, self.target_task
        return _optima(*given, jnp.asarray(pretraining_shots, float), jnp.asarray(shots, float))

    def simulate(self, tag: int, params: LayerParams, task: Float[Array, " dim"], shots: ArrayLike, times: int = 1) -> RiskEstimate:
        """Simulate an n-shot error, with so many times the setting's number of prompts."""
        return empirical_risk(self.key(tag), params, self.problem, task, shots, times * self.settings.prompts)

    def jackknife(
        self, tag: int, sums: Callable[[Key[Array, ""], int], Any], statistic: Callable[[Any], Float[Array, ""]]
    ) -> tuple[float, float]:
        """Return a statistic of sums over simulated prompts and its standard error, by leaving out one part of the simulation at a time.

        Args:
            tag: the stream of randomness.
            sums: sums over prompts, from a key and their number.
            statistic: the statistic of the total.

        Returns:
            The statistic, without its bias to first order, and its standard error.
        """
        prompts = max(2, self.settings.prompts // CHUNKS)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.key(tag), jnp.arange(CHUNKS))
        parts = jax.jit(lambda keys: jax.lax.map(lambda key: sums(key, prompts), keys))(keys)
        total = jax.tree.map(lambda leaf: leaf.sum(axis=0), parts)
        without = jax.vmap(lambda part: statistic(jax.tree.map(jnp.subtract, total, part)))(parts)
        whole = statistic(total)
        bias = (CHUNKS - 1) * (jnp.mean(without) - whole)
        return float(whole - bias), float(jnp.std(without) * (CHUNKS - 1) ** 0.5)


def prepare(settings: Settings) -> Case:
    """Check a setting and make it ready; call it, and use what it returns, in float64.

    Args:
        settings: where to check the claims.

    Returns:
        The case; its target task is a random direction on the unit sphere.

    Raises:
        ValueError: if a value is out of range.
    """
    for name in ("dim", "shots", "pretraining_shots"):
        checks.as_count(name.replace("_", "-"), getattr(settings, name))
    checks.as_count("prompts", settings.prompts, minimum=2 * CHUNKS)
    checks.as_count("seed", settings.seed, minimum=0)
    problem = LinearRegression(covariances.from_text(settings.covariance, settings.dim), settings.noise_std)
    direction = jax.random.normal(jax.random.fold_in(jax.random.key(settings.seed), TASK_STREAM), (settings.dim,))
    prior = priors.from_text(settings.prior, settings.dim)
    return Case(settings, problem, prior, direction / jnp.sqrt(jnp.sum(direction**2)))


def large_numbers(dim: int) -> np.ndarray:
    """Return numbers of shots far into the limit of a dimension."""
    return LARGE * dim


def rate(gaps: np.ndarray, dim: int, scale: float) -> float | None:
    """Measure the power with which gaps at `large_numbers` fall: the last slope of their log that rounding leaves alone.

    Args:
        gaps: distances from the limit.
        dim: dimension d.
        scale: size of the number itself; gaps that are only its rounding have no rate.

    Returns:
        The power; None where there is no gap.

    Example:
        >>> round(rate(1 / large_numbers(5) ** 2, 5, 1.0), 6)
        -2.0
    """
    gaps = np.abs(gaps)
    if not np.isfinite(gaps).all():
        return float("nan")
    clear = np.flatnonzero(gaps > SMALLEST_GAP * scale)
    if len(clear) < 2:
        return None
    last = clear[-2:]
    return float(np.diff(np.log(gaps[last]))[0] / np.diff(np.log(large_numbers(dim)[last]))[0])
