"""`vmap_last` computes what `jax.vmap` does, with the batch kept last."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lsa_jax.batching import vmap_last
from lsa_jax.batching_rules import written_out

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


def fixed_in_a_loop(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """A loop whose body computes numbers from constants along it, some of them larger than what they are made from."""

    def step(state: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        large = jnp.outer(jnp.sin(vector), jnp.cos(vector)) + jnp.eye(4)
        return jnp.tanh(large @ state), jnp.sum(SHARED) * jnp.sum(matrix**2)

    end, collected = jax.lax.scan(step, vector, length=3)
    return jnp.append(end, collected)


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
    "loop over what is the same in all turns": fixed_in_a_loop,
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


@pytest.mark.parametrize("flags", [[True, True], [True, False], [False, True]])
@pytest.mark.parametrize("contract", [((1,), (0,)), ((0,), (0,)), ((1,), (1,)), ((0,), (1,)), ((1, 0), (0, 1)), ((0, 1), (0, 1))])
def test_products_are_written_out_along_any_axes_whoever_shares_them(
    flags: list[bool], contract: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    left, right = (np.random.default_rng(place).normal(size=(4, 4, 6)) for place in range(2))
    operands = [operand if flag else operand[..., 0] for operand, flag in zip((left, right), flags, strict=True)]
    got = written_out(*operands, flags=flags, contract=contract)

    def product(place: int) -> np.ndarray:
        one, other = (operand[..., place] if flag else operand for operand, flag in zip(operands, flags, strict=True))
        return np.tensordot(one, other, contract)

    wanted = np.stack([product(place) for place in range(6)], axis=-1)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-14)


def test_what_is_the_same_in_all_turns_of_a_loop_is_computed_once() -> None:
    def sines(matrix: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda state, _: (state + jnp.sin(matrix), None), matrix, length=3)[0]

    (loop,) = (one for one in jax.make_jaxpr(vmap_last(sines))(MATRICES).eqns if one.primitive.name == "scan")
    assert [one.primitive.name for one in loop.params["jaxpr"].eqns] == ["add"]
    np.testing.assert_allclose(vmap_last(sines)(MATRICES), MATRICES + 3 * jnp.sin(MATRICES), rtol=1e-12)


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


def test_effects_without_results_remain() -> None:
    seen: list[float] = []

    def told(vector: jax.Array) -> jax.Array:
        jax.debug.callback(lambda value: seen.append(float(value)), jnp.sum(SHARED))
        return vector

    jax.block_until_ready(vmap_last(told)(VECTORS))
    jax.effects_barrier()
    assert set(seen) == {float(jnp.sum(SHARED))}
