"""Standard normals that are the same numbers in float32 as in float64, so that what a seed names does not depend on the floating type."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from lsa_jax.threefry import is_default, random_words


@functools.partial(jax.jit, static_argnums=(1, 2))
def standard_normals(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike) -> Float[Array, "..."]:
    r"""Draw independent standard normals: those of `jax.random.normal` in float64, and the same rounded in other types.

    JAX makes a uniform number of 64 random bits in float64, and of the exclusive or of their halves in float32, which is another number.
    Here it is made of the upper half, which is all that float32 can hold. At most 5.4 in size in float32, as JAX's own.

    **Assumes** keys of JAX's default kind; with others the types draw different numbers.

    Args:
        key: randomness.
        shape: shape of the draw (static).
        dtype: floating type.

    Returns:
        The normals.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> with jax.enable_x64(True):
        ...     [round(standard_normals(jax.random.key(0), (), dtype).item(), 6) for dtype in (jnp.float64, jnp.float32)]
        [-0.205842, -0.205842]
    """
    dtype = jnp.dtype(dtype)
    if dtype == jnp.float64 or not is_default(key):
        return jax.random.normal(key, shape, dtype)
    upper = random_words(key, int(np.prod(shape)))[0].reshape(shape)
    centred = jax.lax.bitcast_convert_type(upper ^ np.uint32(2**31), jnp.int32).astype(jnp.float32) / 2.0**31
    largest = np.nextafter(np.float32(1), np.float32(0))
    return (np.float32(2**0.5) * jax.scipy.special.erfinv(jnp.clip(centred, -largest, largest))).astype(dtype)
