"""The forward pass: from tokens in time linear in their number, and from the Gram matrix in time that does not know it."""

from typing import Any

import jax
import jax.numpy as jnp

import lsa_jax as lsa
from benchmarks import points
from lsa_jax import attention, models

DIM, SHOTS, PROMPTS = 8, 64, 2**12
DIMENSIONS, SHOT_COUNTS, BATCHES = (2, 8, 32, 128), (4, 16, 64, 256, 1024), (1, 2**4, 2**8, 2**12, 2**16)
REPEATS = 16
"""Passes in a call: far more than it costs to start one."""


def prediction(rounds: int = 9) -> dict[str, Any]:
    """Time a prediction over dimensions, shots and prompts at a time.

    Args:
        rounds: timed rounds.

    Returns:
        The record, with the largest difference between the two forms.
    """
    places = {(dim, SHOTS, PROMPTS) for dim in DIMENSIONS}
    places |= {(DIM, shots, PROMPTS) for shots in SHOT_COUNTS} | {(DIM, SHOTS, batch) for batch in BATCHES}
    measured = [place for sizes in sorted(places) for place in (from_tokens(*sizes), from_gram(*sizes))]
    return points.measured(
        "prediction",
        measured,
        rounds,
        "prompt",
        {"dim": DIM, "shots": SHOTS, "batch": PROMPTS, "dtype": "float32"},
        agreement={"largest_difference": largest_difference()},
    )


def from_tokens(dim: int, shots: int, batch: int) -> points.Point:
    """Predict from tokens: v and Qz on every token, 4 (d + 2) operations a token and as many entries read.

    Args:
        dim: dimension d.
        shots: number of shots n.
        batch: prompts at a time.

    Returns:
        The point.
    """
    params, tokens = _example(dim, shots, batch)
    numbers = (shots + 1) * (dim + 2)
    needs = {"flops": 4.0 * numbers + 2.0 * (dim + 2) ** 2, "bytes": 4.0 * numbers}
    one = jax.vmap(lsa.predict, (None, 0))
    return points.compiled("tokens", _sizes(dim, shots, batch), batch * REPEATS, needs, _repeated(one), params, tokens)


def from_gram(dim: int, shots: int, batch: int) -> points.Point:
    """Predict from a given Gram matrix: 4 (d + 2)² operations.

    Args:
        dim: dimension d.
        shots: number of shots n.
        batch: prompts at a time.

    Returns:
        The point.
    """
    params, tokens = _example(dim, shots, batch)
    grams, queries = jnp.einsum("bni,bnj->bij", tokens, tokens), tokens[:, -1]
    size = dim + 2
    needs = {"flops": 4.0 * size**2, "bytes": 4.0 * (size**2 + size)}

    def one(params: lsa.Params, grams: jax.Array) -> jax.Array:
        return jax.vmap(attention.predict_from_gram, (None, 0, 0, None))(params, grams, queries, shots + 1.0)

    return points.compiled("Gram matrix", _sizes(dim, shots, batch), batch * REPEATS, needs, _repeated(one), params, grams)


def largest_difference() -> float:
    """Return the largest difference of the two forms at the middle size; refuse to time forms that differ."""
    params, tokens = _example(DIM, SHOTS, PROMPTS)
    by_tokens = jax.vmap(lsa.predict, (None, 0))(params, tokens)
    grams = jnp.einsum("bni,bnj->bij", tokens, tokens, precision="highest")
    by_gram = jax.vmap(attention.predict_from_gram, (None, 0, 0, None))(params, grams, tokens[:, -1], SHOTS + 1.0)
    difference = float(jnp.abs(by_tokens - by_gram).max())
    if difference > 1e-4:
        raise RuntimeError(f"predictions from tokens and from Gram matrices differ by {difference:.2g}")
    return difference


def _example(dim: int, shots: int, batch: int) -> tuple[lsa.Params, jax.Array]:
    """Parameters and prompts of the usual size."""
    params = models.LINEAR.init(jax.random.key(0), dim, std=1 / (dim + 2))
    tokens = jax.random.normal(jax.random.key(1), (batch, shots + 1, dim + 2), jnp.float32)
    return params, tokens.at[:, :, 0].set(1).at[:, -1, -1].set(0)


def _sizes(dim: int, shots: int, batch: int) -> dict[str, float]:
    return {"d": dim, "n": shots, "prompts": batch}


def _repeated(predict: Any) -> Any:
    """Several passes in one program, each with parameters that depend on the last."""

    def run(params: lsa.Params, prompts: jax.Array) -> jax.Array:
        def once(params: lsa.Params, _: None) -> tuple[lsa.Params, None]:
            shift = 1e-9 * jnp.mean(predict(params, prompts))
            return lsa.Params(value=params.value + shift, query_key=params.query_key + shift), None

        return jax.lax.scan(once, params, length=REPEATS)[0].value

    return run
