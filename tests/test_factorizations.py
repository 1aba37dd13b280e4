"""Inverses against NumPy and JAX's own, alone, in batches and differentiated; and that no batch of them waits for ever."""

import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsa_jax.factorizations import inverse, pseudo_inverse


def of_jax(matrix: jax.Array) -> jax.Array:
    """The pseudo-inverse with the derivative that JAX has for it."""
    return jnp.linalg.pinv(matrix, hermitian=True)


def symmetric(rank: int, *batch: int) -> jax.Array:
    """Positive semidefinite matrices of size 4."""
    factor = jax.random.normal(jax.random.key(0), (*batch, 4, rank))
    return factor @ jnp.swapaxes(factor, -1, -2)


@pytest.mark.parametrize(("function", "rank"), [(inverse, 4), (pseudo_inverse, 4), (pseudo_inverse, 2)])
def test_batches_of_any_depth_hold_what_each_matrix_gives(function: Callable[..., jax.Array], rank: int) -> None:
    matrices = symmetric(rank, 2, 3)
    expected = np.linalg.pinv(matrices, hermitian=True)
    for mapped in (jax.vmap(jax.vmap(function)), jax.jit(jax.vmap(jax.vmap(function), in_axes=1, out_axes=1))):
        np.testing.assert_allclose(mapped(matrices), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize(("function", "rank"), [(inverse, 4), (pseudo_inverse, 4), (pseudo_inverse, 2)])
def test_derivatives_are_those_of_jax(function: Callable[..., jax.Array], rank: int) -> None:
    def entry(apply: Callable[..., jax.Array], factor: jax.Array) -> jax.Array:
        return jnp.sum(apply(factor @ factor.T) * jnp.arange(16.0).reshape(4, 4))

    factors = jax.random.normal(jax.random.key(1), (3, 4, rank))
    for derivative in (jax.grad, jax.hessian):
        found = jax.vmap(derivative(lambda factor: entry(function, factor)))(factors)
        expected = jax.vmap(derivative(lambda factor: entry(of_jax, factor)))(factors)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7 * float(jnp.abs(expected).max()))


def test_batches_at_once_do_not_wait_for_each_other() -> None:
    # With jnp.linalg.pinv this waits for ever on two cores (jaxlib 0.10.2): every thread has a batch and waits for one to share it with.
    script = """
import os, jax, jax.numpy as jnp
from lsa_jax.factorizations import pseudo_inverse
matrices = jnp.tile(jnp.diag(jnp.arange(1.0, 8.0)), (4096, 1, 1))
factors = range(1, 4 * os.cpu_count() + 1)
together = jax.jit(lambda matrices: [jax.vmap(pseudo_inverse)(matrices * factor) for factor in factors])
for _ in range(5):
    found = jax.block_until_ready(together(matrices))
assert all(jnp.allclose(one[-1] * factor, jnp.diag(1 / jnp.arange(1.0, 8.0))) for one, factor in zip(found, factors))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
