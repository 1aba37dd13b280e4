"""The exact risk and its gradient: time and memory against the number of shots and the dimension, beside products of the same size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import lsa_jax as lsa
from benchmarks import points, timing
from lsa_jax import models
from lsa_jax.population import risk_function

DIM, SHOTS = 8, 1e3
SHOT_COUNTS, DIMENSIONS = (10.0, 1e3, 1e6), (8, 32, 128, 512)
OPERATIONS = 8.0
"""Operations a value and gradient needs, in units of d³: two products to whiten Q, two for its gradient, 2 d³ each."""

EXACT, PRODUCTS = "value and gradient", "its matrix products"


def repeated(dim: int, count: int) -> Callable[[Array], Array]:
    """Return a program that takes value and gradient of the risk so many times, each depending on the last.

    Args:
        dim: dimension d.
        count: how often.

    Returns:
        The program, a function of the number of shots.
    """
    problem = lsa.LinearRegression(covariance=lsa.covariances.power_law(dim, 0.5), noise_std=0.3)
    risk = jax.value_and_grad(risk_function(problem, jnp.ones(dim) / dim**0.5))
    start = models.LINEAR.init(jax.random.key(0), dim)

    def run(shots: Array) -> Array:
        def step(params: lsa.Params, _: None) -> tuple[lsa.Params, Array]:
            value, slope = risk(params, shots)
            return jax.tree.map(lambda leaf, change: leaf - 1e-6 * change, params, slope), value

        return jax.lax.scan(step, start, None, length=count)[1]

    return run


def products(dim: int, count: int) -> Callable[[Array], Array]:
    """Return a program of so many matrix products, each depending on the last, four to match one value and gradient.

    Args:
        dim: dimension d.
        count: number of values and gradients to match.

    Returns:
        The program, a function of a matrix.
    """
    factor = jax.random.normal(jax.random.key(0), (dim, dim)) / dim**0.5

    def run(matrix: Array) -> Array:
        return jax.lax.scan(lambda carry, _: (jnp.matmul(factor, carry, precision="highest"), None), matrix, None, length=4 * count)[0]

    return run


def exact_risk(rounds: int = 9) -> dict[str, Any]:
    """Time value and gradient of the exact risk over shots and dimensions.

    Args:
        rounds: timed rounds.

    Returns:
        The record, with the time at a million shots over that at ten, and the share of the rate of products of its own size.
    """
    places = dict.fromkeys([*((DIM, shots) for shots in SHOT_COUNTS), *((dim, SHOTS) for dim in DIMENSIONS)])
    measured = [_point(EXACT, *place) for place in places] + [_point(PRODUCTS, dim, SHOTS) for dim in DIMENSIONS]
    settings = {"operations": f"{OPERATIONS:g} d^3 a value and gradient", "dtype": "float32"}
    record = points.measured("exact_risk", measured, rounds, EXACT, settings)
    found = {(point.series, point.sizes["d"], point.sizes["n"]): record["seconds"][point.name] for point in measured}
    flat = timing.ratio_interval(found[EXACT, DIM, 1e6], found[EXACT, DIM, 10.0])
    shares = {f"d = {dim}": timing.ratio_interval(found[PRODUCTS, dim, SHOTS], found[EXACT, dim, SHOTS]) for dim in DIMENSIONS[1:]}
    return {**record, "time_at_a_million_shots_against_ten": {EXACT: flat}, "share_of_matrix_product_rate": shares}


def _point(series: str, dim: int, shots: float) -> points.Point:
    """The risk, or the matrix products it needs, at one size."""
    count = max(20, int(2e8 / dim**3)) if dim > DIM else 5000
    needs = {"flops": OPERATIONS * dim**3}
    function, argument = (repeated(dim, count), jnp.float32(shots)) if series == EXACT else (products(dim, count), jnp.eye(dim))
    return points.compiled(series, {"d": dim, "n": shots}, count, needs, function, argument)
