"""The exact risk and its gradient: time against the number of shots and the dimension, beside the machine's matrix products."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import lsa_jax as lsa
from benchmarks import timing
from lsa_jax import training
from lsa_jax.population import risk_function

SHOTS = (10.0, 1e3, 1e6)
DIMENSIONS = (8, 32, 128, 512)
OPERATIONS = 8
"""Operations a value and gradient needs, in units of d³: two products to whiten Q, two for its gradient, 2 d³ each."""


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
    start = training.initial_params(jax.random.key(0), dim)

    @jax.jit
    def run(shots: Array) -> Array:
        def step(params: lsa.Params, _: None) -> tuple[lsa.Params, Array]:
            value, slope = risk(params, shots)
            return jax.tree.map(lambda leaf, change: leaf - 1e-6 * change, params, slope), value

        return jax.lax.scan(step, start, None, length=count)[1]

    return run


def products(dim: int, count: int) -> Callable[[], Array]:
    """Return a program of so many matrix products, each depending on the last, four to match one value and gradient.

    Args:
        dim: dimension d.
        count: number of values and gradients to match.

    Returns:
        The program.
    """
    factor = jax.random.normal(jax.random.key(0), (dim, dim)) / dim**0.5

    @jax.jit
    def run(matrix: Array) -> Array:
        return jax.lax.scan(lambda carry, _: (jnp.matmul(factor, carry, precision="highest"), None), matrix, None, length=4 * count)[0]

    return lambda: run(factor)


def exact_risk(rounds: int = 9) -> dict[str, Any]:
    """Time value and gradient of the exact risk over shots and dimensions.

    Args:
        rounds: timed rounds.

    Returns:
        The record, with the share of the rate of matrix products that each dimension reaches.
    """
    ways: dict[str, Callable[[], object]] = {}
    counts = {dim: max(20, int(2e8 / dim**3) if dim > 8 else 5000) for dim in DIMENSIONS}
    small = repeated(8, counts[8])
    for shots in SHOTS:
        ways[f"d = 8, n = {shots:g}"] = lambda shots=shots: jax.block_until_ready(small(jnp.float32(shots)))
    for dim in DIMENSIONS[1:]:
        program, peak = repeated(dim, counts[dim]), products(dim, counts[dim])
        ways[f"d = {dim}, n = 1000"] = lambda program=program: jax.block_until_ready(program(jnp.float32(1000.0)))
        ways[f"d = {dim}, matrix products"] = lambda peak=peak: jax.block_until_ready(peak())
    seconds = timing.interleaved(ways, rounds)
    flat = timing.ratio_interval(seconds["d = 8, n = 1e+06"], seconds["d = 8, n = 10"])
    shares, rates = {}, {}
    for dim in DIMENSIONS[1:]:
        shares[f"d = {dim}"] = timing.ratio_interval(seconds[f"d = {dim}, matrix products"], seconds[f"d = {dim}, n = 1000"])
        rates[f"d = {dim}"] = OPERATIONS * dim**3 * counts[dim] / statistics.median(seconds[f"d = {dim}, matrix products"]) / 1e9
    seconds = {way: [taken / counts[int(way.split()[2].rstrip(","))] for taken in all_taken] for way, all_taken in seconds.items()}
    return timing.record(
        "exact_risk",
        {"operations": f"{OPERATIONS} d^3 a value and gradient", "dtype": "float32"},
        seconds,
        unit="seconds a value and gradient",
        time_at_a_million_shots_against_ten={"exact risk": flat},
        share_of_matrix_product_rate=shares,
        matrix_product_gflops=rates,
    )
