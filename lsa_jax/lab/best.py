"""The best possible front: the least few-shot risk on the prior at a given zero-shot error, over all parameters of one layer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from lsa_jax import checks, optima
from lsa_jax.lab.curves import errors_of
from lsa_jax.lab.inputs import laws
from lsa_jax.lab.landscape import as_numbers, nearest_minimum
from lsa_jax.objectives import Inputs
from lsa_jax.params import MultiHeadParams, Params
from lsa_jax.population import risk_function
from lsa_jax.regimes import PAPER, Given

STIFFNESS = 1e5
"""Weight of the squared distance from the asked zero-shot error, so large that points found miss it by little."""

NEWCOMER = 0.1
"""Deviation of the entries of a second head that starts small, and of what is added to a start in a search."""

GRADIENT = 1e-7
"""Gradient at which a search at one level has ended."""


def best_front(
    inputs: Inputs, start: Params, heads: int = 1, number: int = 15, searches: int = 2, seed: int = 0
) -> tuple[pd.DataFrame, MultiHeadParams]:
    """Search for the least prior risk at each zero-shot error, over V and Q of all heads.

    Rp + κ(R₀ - c)² is minimised by Newton steps for levels c of the zero-shot error from that of the start down to σ², each from
    where the level before ended, and back again; from the start itself, from the zero-shot minimiser nearest to it in scale and, with two
    heads, beside a head that knows the target, and from these after a random push. A point found is stationary for the front, and no
    better one was met; that none exists is not proved.

    Args:
        inputs: from `exact_inputs`, for one head.
        start: the pretraining optimum.
        heads: number of heads H.
        number: number of levels, at least 2.
        searches: random pushes beside the plain starts.
        seed: their seed.

    Returns:
        One row a level: level, zero_shot and prior, and search, which of them found it; and the parameters.

    Raises:
        ValueError: if there are no heads or fewer than two levels.

    References:
        docs/theory.md, section on forgetting.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem, prior = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.5), lsa.SpherePrior(dim=1)
        >>> inputs = lsa.lab.exact_inputs(problem, prior, jnp.array([1.0]), 20)
        >>> found, params = best_front(inputs, lsa.lab.pretrained(problem, prior, 20), number=2, searches=0)
        >>> len(found), params.value.shape
        (2, (2, 1, 3, 3))
    """
    checks.as_count("heads", heads)
    checks.as_count("number", number, minimum=2)
    problem, errors = laws(inputs)[0], _errors(inputs, heads)
    floor, top = float(problem.noise_std) ** 2, float(inputs.target_risk(jax.random.key(0), start, 0))
    levels = floor + (top - floor) * np.linspace(1, 0, number) ** 2
    loss = _loss(errors, top - floor)
    kept: list[tuple[float, float, str, np.ndarray] | None] = [None] * number
    for name, vector in _starts(inputs, start, heads, searches, seed):
        for place, point in _there_and_back(loss, vector, levels):
            zero_shot, prior = (float(value) for value in errors(point))
            best = kept[place]
            if zero_shot <= levels[place] + 2e-3 * (top - floor) and (best is None or prior < best[1]):
                kept[place] = (zero_shot, prior, name, point)
    found = [(level, *one) for level, one in zip(levels, kept, strict=True) if one is not None]
    frame = pd.DataFrame([one[:4] for one in found], columns=["level", "zero_shot", "prior", "search"])
    return frame, jax.vmap(lambda vector: _model(vector, heads, problem.dim + 2))(jnp.array([one[4] for one in found]))


def regime_points(inputs: Inputs, start: Params) -> pd.DataFrame:
    """Measure the closed forms of the paper's regimes from a start.

    Args:
        inputs: from `exact_inputs`.
        start: the pretraining optimum, in the gauge in which fine-tuning starts.

    Returns:
        One row a regime: regime, title, and the columns of `curves.measured`.
    """
    problem, _, task = laws(inputs)
    given = Given(problem, start, task, inputs.knobs["fine_tuning_shots"])
    closed = [(regime, regime.optimum(given)) for regime in PAPER if regime.optimum is not None]
    rows = [{"regime": regime.name, "title": regime.title} | errors_of(inputs, optimum) for regime, optimum in closed]
    return pd.DataFrame(rows)


def _model(vector: Float[Array, " entries"], heads: int, size: int) -> MultiHeadParams:
    """Heads from the entries that act."""
    rows, blocks = vector[: heads * size].reshape(heads, size), vector[heads * size :].reshape(heads, size, size - 1)
    value = jnp.zeros((heads, size, size)).at[:, -1].set(heads * rows)
    return MultiHeadParams(value=value, query_key=jnp.zeros((heads, size, size)).at[:, :, :-1].set(blocks))


def _vector(rows: Sequence[Any], query_keys: Sequence[Any]) -> np.ndarray:
    """The entries that act of heads whose outputs are summed."""
    return np.concatenate([np.ravel(np.stack(rows)), np.ravel(np.stack(query_keys)[:, :, :-1])])


def _errors(inputs: Inputs, heads: int) -> Callable[[Any], tuple[Array, Array]]:
    """Zero-shot error on the target and few-shot risk on the prior as functions of a vector."""
    problem, prior_law, task = laws(inputs)
    target, prior, size = risk_function(problem, task), risk_function(problem, prior_law), problem.dim + 2

    def errors(vector: Any) -> tuple[Array, Array]:
        model = _model(jnp.asarray(vector), heads, size)
        return target(model, 0), prior(model, inputs.pretraining_shots)

    return jax.jit(errors)


def _starts(inputs: Inputs, start: Params, heads: int, searches: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Where searches begin, by name."""
    problem, _, task = laws(inputs)
    size, noise = problem.dim + 2, np.random.default_rng(seed)
    full = optima.full(problem, task, None, start)
    rows, blocks = np.zeros(size), np.zeros((size, size))
    plain = {"pretrained": start, "full": full}
    for name, params in plain.items():
        more = [NEWCOMER * noise.standard_normal((2, size, size)) for _ in range(heads - 1)]
        yield name, _vector([params.value[-1], *(one[0, 0] for one in more)], [params.query_key, *(one[1] for one in more)])
    if heads > 1:
        rows[1:-1], blocks[0, 0] = np.asarray(task), 1.0
        spare = [(np.zeros(size), np.zeros((size, size)))] * (heads - 2)
        known = [start.value[-1], rows, *(one[0] for one in spare)], [start.query_key, blocks, *(one[1] for one in spare)]
        yield "a head for the target", _vector(*known)
    for search in range(searches):
        base = _vector([start.value[-1]] * heads, [start.query_key] * heads)
        base[: heads * size] /= heads
        yield f"push {search}", base + 5 * NEWCOMER * noise.standard_normal(base.size)


def _loss(errors: Callable[[Any], tuple[Array, Array]], unit: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What is minimised at a level of the zero-shot error, with its gradient, and its Hessian."""

    def loss(point: Any, level: Any) -> Array:
        zero_shot, prior = errors(point)
        return prior + STIFFNESS / 2 * ((zero_shot - level) / unit) ** 2

    curved = jax.jit(jax.hessian(loss))
    return as_numbers(jax.jit(jax.value_and_grad(loss))), lambda point, level: np.asarray(curved(point, level))


def _there_and_back(loss: tuple[Callable[..., Any], Callable[..., Any]], vector: np.ndarray, levels: np.ndarray) -> Iterator[Any]:
    """The points found at each level, by its place, going down and coming back."""
    for place in (*range(len(levels)), *reversed(range(len(levels) - 1))):
        vector = nearest_minimum(*loss, vector, GRADIENT, float(levels[place]))
        yield place, vector
