"""`vmap_last` computes what `jax.vmap` does, with the batch kept last."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsa_jax.batching import vmap_last

MATRICES = jax.random.normal(jax.random.key(0), (6, 3, 4))
VECTORS = jax.random.normal(jax.random.key(1), (6, 4))
SHARED = jax.random.normal(jax.random.key(2), (5, 3))


def loop(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """A loop in a loop, part of whose state comes to depend on the batch only on the way."""

    def step(state: tuple[jax.Array, jax.Array, jax.Array], x: jax.Array) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array]:
        count, first, second = state
        inner, _ = jax.lax.scan(lambda total, y: (total + y * x, None), first, jnp.arange(3.0))
        return (count + 1, second, inner + jnp.sum(vector) * count), inner

    start = jnp.zeros(()), jnp.zeros(()), matrix[0, 0]
    end, collected = jax.lax.scan(step, start, jnp.arange(4.0))
    return end[1] + jnp.sum(collected)


CASES: dict[str, Callable[[jax.Array, jax.Array], object]] = {
    "product": lambda matrix, vector: matrix @ vector,
    "product with a shared matrix on the left": lambda matrix, vector: SHARED @ matrix,
    "product with a shared matrix on the right": lambda matrix, vector: matrix.T @ SHARED.T,
    "outer product": lambda matrix, vector: jnp.outer(matrix[0], vector),
    "product of a matrix with itself": lambda matrix, vector: matrix @ matrix.T,
    "tensor product": lambda matrix, vector: jnp.tensordot(matrix, matrix, axes=([0, 1], [0, 1])),
    "scalar times matrix": lambda matrix, vector: jnp.sum(vector) * matrix,
    "transposition, joining and reshaping": lambda matrix, vector: jnp.concatenate([matrix.T, vector[:, None]], axis=1).reshape(2, 8),
    "update of an entry": lambda matrix, vector: matrix.at[-1].set(vector).at[0, 0].add(1.0),
    "selection": lambda matrix, vector: jnp.where(vector > 0, vector, matrix[0]),
    "gradient": lambda matrix, vector: jax.grad(lambda m: jnp.sum((m @ vector) ** 3))(matrix),
    "hessian": lambda matrix, vector: jax.hessian(lambda v: jnp.sum((matrix @ v) ** 4))(vector),
    "factorisation": lambda matrix, vector: jnp.linalg.cholesky(matrix @ matrix.T + jnp.eye(3)),
    "solution": lambda matrix, vector: jnp.linalg.solve(matrix @ matrix.T + jnp.eye(3), matrix @ vector),
    "loops": loop,
    "condition": lambda matrix, vector: jax.lax.cond(vector[0] > 0, lambda: vector, lambda: -vector),
    "nothing of the batch": lambda matrix, vector: SHARED,
    "several results": lambda matrix, vector: {"a": matrix * 2, "b": (vector, SHARED[0])},
}


@pytest.mark.thinned(4)
@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_vmap_does(case: str) -> None:
    function = CASES[case]
    wanted, got = jax.vmap(function)(MATRICES, VECTORS), jax.jit(vmap_last(function))(MATRICES, VECTORS)
    assert jax.tree.structure(wanted) == jax.tree.structure(got)
    for one, other in zip(jax.tree.leaves(wanted), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_draws_are_bitwise_those_of_one_seed_alone() -> None:
    def draw(seed: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(jax.random.key(seed), 7), (3, 2))

    drawn = vmap_last(draw)(jnp.arange(4, dtype=jnp.uint32))
    for seed in range(4):
        np.testing.assert_array_equal(drawn[seed], draw(jnp.uint32(seed)))


def test_arguments_may_be_shared() -> None:
    got = vmap_last(lambda shared, matrix: shared @ matrix, (None, 0))(SHARED, MATRICES)
    np.testing.assert_allclose(got, jax.vmap(lambda matrix: SHARED @ matrix)(MATRICES), rtol=1e-12)


def test_batches_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="all arguments with axis 0 must have the same"):
        vmap_last(lambda a, b: a + b)(jnp.ones(2), jnp.ones(3))
