"""Products of many small matrices, one problem a column of the last axes, differentiable in reverse at the speed of the product."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax import precision

LARGEST_UNROLLED = 4096
"""Multiplications of one product, above which it is left to the matrix-product kernels."""

GRAM_BLOCKS = 4
"""Blocks of a batch in which Gram matrices are computed on a CPU."""

Left = Float[Array, "rows inner *batch"]
Right = Float[Array, "inner columns *batch"]
Product = Float[Array, "rows columns *batch"]


def product(left: Left, right: Right) -> Product:
    """Multiply matrices that stand in the first two axes, for every element of the batch in the axes after them.

    A product without a batch is a matrix product of JAX. With one, small products are written out as sums over the inner index along the
    batch, forwards and backwards: on a CPU a tenth of the time of batched matrix products. Those have reverse-mode derivatives,
    and Hessians by forward mode over reverse; for forward mode alone write for one element and `jax.vmap`.

    Args:
        left: the left matrices.
        right: the right matrices.

    Returns:
        The products.

    Example:
        >>> product(jnp.ones((2, 3, 10)), jnp.ones((3, 1, 10)))[:, 0, 0].tolist()
        [3.0, 3.0]
    """
    if left.ndim == 2:
        return jnp.matmul(left, right, precision=precision.current())
    if left.shape[0] * right.shape[0] * right.shape[1] > LARGEST_UNROLLED:
        return jnp.einsum("ik...,kj...->ij...", left, right, precision=precision.current())
    return _unrolled(left, right)


def shared(matrix: Float[Array, "rows inner"], batch: Float[Array, "inner *rest"]) -> Float[Array, "rows *rest"]:
    """Multiply one matrix with everything that stands along the first axis of an array.

    It is one product of two plain matrices, and so are its derivatives: of arrays with more axes XLA makes copies of other layout.

    Args:
        matrix: the matrix all elements of the batch share.
        batch: vectors or matrices, with or without a batch.

    Returns:
        The products.

    Example:
        >>> shared(2 * jnp.eye(2), jnp.ones((2, 3, 10))).shape
        (2, 3, 10)
    """
    flat = jnp.matmul(matrix, batch.reshape(len(batch), -1), precision=precision.current())
    return flat.reshape(len(matrix), *batch.shape[1:])


def gram(factor: Float[Array, "rows columns batch"]) -> Float[Array, "rows rows batch"]:
    """Multiply matrices with their own transposes.

    On a CPU blocks of the batch are computed in a loop, whose result XLA stores; otherwise it computes them again in everything that reads
    them, whatever barrier stands between.

    Args:
        factor: the matrices R, with a batch in the last axis.

    Returns:
        R R' of each.

    Example:
        >>> gram(jnp.ones((2, 3, 10)))[:, :, 0].tolist()
        [[3.0, 3.0], [3.0, 3.0]]
    """
    return jax.lax.platform_dependent(factor, cpu=_gram_in_blocks, default=_gram)


def _gram(factor: Float[Array, "rows columns batch"]) -> Float[Array, "rows rows batch"]:
    """The product with the transpose, of a whole batch."""
    return _written_out(factor, jnp.swapaxes(factor, 0, 1))


def _gram_in_blocks(factor: Float[Array, "rows columns batch"]) -> Float[Array, "rows rows batch"]:
    """The same block by block; the last block overlaps the one before it if they do not divide the batch."""
    rows, _, batch = factor.shape
    size = -(-batch // GRAM_BLOCKS)

    def fill(block: Array, filled: Float[Array, "rows rows batch"]) -> Float[Array, "rows rows batch"]:
        start = jnp.minimum(block * size, batch - size)
        return jax.lax.dynamic_update_slice_in_dim(filled, _gram(jax.lax.dynamic_slice_in_dim(factor, start, size, 2)), start, 2)

    return jax.lax.fori_loop(0, GRAM_BLOCKS, fill, jnp.zeros((rows, rows, batch), factor.dtype))


def _written_out(left: Left, right: Right) -> Product:
    """The product as a sum of outer products, each along the batch."""
    total = left[:, 0, None] * right[None, 0]
    for index in range(1, right.shape[0]):
        total += left[:, index, None] * right[None, index]
    # Without the barrier XLA computes a product again in everything that reads it, and chains of products multiply.
    return jax.lax.optimization_barrier(total)


@jax.custom_vjp
def _unrolled(left: Left, right: Right) -> Product:
    """The same with a derivative in reverse that is written out as well."""
    return _written_out(left, right)


def _unrolled_forward(left: Left, right: Right) -> tuple[Product, tuple[Left, Right]]:
    """The product, and what its derivative needs."""
    return _written_out(left, right), (left, right)


def _unrolled_backward(factors: tuple[Left, Right], cotangent: Product) -> tuple[Left, Right]:
    """Two products of the same kind."""
    left, right = factors
    return _written_out(cotangent, jnp.swapaxes(right, 0, 1)), _written_out(jnp.swapaxes(left, 0, 1), cotangent)


_unrolled.defvjp(_unrolled_forward, _unrolled_backward)
