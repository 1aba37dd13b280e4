"""What the machine can do at best: arithmetic, memory and random numbers, measured beside each scaling study."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

RESOURCES = ("flops", "bytes", "normals")
"""Operations of matrix products in full precision, bytes read and written, and standard normals drawn."""

PRODUCT_SIZE, PRODUCTS, BLOCK, PASSES, NORMALS, DRAWS = 1024, 4, 2**25, 8, 2**18, 4


@dataclasses.dataclass(frozen=True)
class Limit:
    """A program that does nothing but use one resource, and how much of it a call uses."""

    amount: float
    call: Callable[[], object]


def programs() -> dict[str, Limit]:
    """Return a program for each resource of `RESOURCES`.

    Matrix products of 1024 x 1024 float32 at the highest precision; 128 MiB read and written in place, which no cache holds (work that
    stays in a cache can go faster); 262 144 normals at a time and their sum, which was the fastest of the sizes tried.

    Returns:
        The programs, by resource.
    """
    key = jax.random.key(0)
    factor = jax.random.normal(key, (PRODUCT_SIZE, PRODUCT_SIZE)) / PRODUCT_SIZE**0.5
    block = jnp.ones(BLOCK, jnp.float32)

    @jax.jit
    def products(matrix: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, _: (jnp.matmul(factor, carry, precision="highest"), None), matrix, length=PRODUCTS)[0]

    @jax.jit
    def passes(block: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda carry, _: (1e-9 - carry, None), block, length=PASSES)[0]

    @jax.jit
    def normals(key: jax.Array) -> jax.Array:
        def draw(total: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
            return total + jnp.sum(jax.random.normal(jax.random.fold_in(key, index), (NORMALS,), jnp.float32)), None

        return jax.lax.scan(draw, jnp.float32(0), jnp.arange(DRAWS))[0]

    return {
        "flops": Limit(amount=2.0 * PRODUCTS * PRODUCT_SIZE**3, call=lambda: jax.block_until_ready(products(factor))),
        "bytes": Limit(amount=2.0 * PASSES * block.nbytes, call=lambda: jax.block_until_ready(passes(block))),
        "normals": Limit(amount=float(NORMALS * DRAWS), call=lambda: jax.block_until_ready(normals(key))),
    }
