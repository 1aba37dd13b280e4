"""The random bits of JAX's default generator, in straight-line code on a CPU: the same bits in a fraction of the time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
KEY_PARITY = np.uint32(0x1BD11BDA)

Words = tuple[UInt32[Array, " size"], UInt32[Array, " size"]]


def random_words(key: Key[Array, ""], size: int) -> Words:
    """Return the upper and the lower words of the 64-bit numbers that `jax.random.bits` draws from a key of JAX's default kind.

    For a CPU JAX rolls the rounds of the generator into loops over memory. Written out they are one pass, 2 ns a number instead of 8. An
    accelerator has a kernel of its own.

    Args:
        key: randomness.
        size: how many numbers (static), at most 2³².

    Returns:
        Both words.

    References:
        Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Threefry with 20 rounds).

    Example:
        >>> import jax
        >>> upper, lower = random_words(jax.random.key(0), 3)
        >>> bool(jnp.all((upper ^ lower) == jax.random.bits(jax.random.key(0), 3, "uint32")))
        True
    """
    low = jnp.arange(size, dtype=jnp.uint32)
    high = jnp.zeros_like(low)
    return jax.lax.platform_dependent(jax.random.key_data(key), high, low, cpu=_rounds, default=_kernel)


def is_default(key: Key[Array, ""]) -> bool:
    """Tell whether a key is of JAX's default kind.

    Args:
        key: randomness.

    Returns:
        True if `random_words` may draw from it.
    """
    return str(jax.random.key_impl(key)) == "threefry2x32"


def uniforms(key: Key[Array, ""], shape: tuple[int, ...], dtype: DTypeLike, minval: float, maxval: float = 1.0) -> Float[Array, "..."]:
    """Draw the numbers of `jax.random.uniform`, in float32 from `random_words`.

    Args:
        key: randomness.
        shape: shape of the draw (static).
        dtype: floating type.
        minval: least number.
        maxval: upper end, which is not reached.

    Returns:
        The numbers.

    Example:
        >>> import jax
        >>> drawn = uniforms(jax.random.key(0), (2, 3), jnp.float32, -1.0)
        >>> bool(jnp.all(drawn == jax.random.uniform(jax.random.key(0), (2, 3), jnp.float32, -1.0, 1.0)))
        True
    """
    if jnp.dtype(dtype) != jnp.float32 or not is_default(key):
        return jax.random.uniform(key, shape, dtype, minval, maxval)
    upper, lower = random_words(key, int(np.prod(shape)))
    # 23 bits behind the exponent of numbers from 1 to 2.
    floats = jax.lax.bitcast_convert_type((upper ^ lower) >> np.uint32(9) | np.uint32(0x3F800000), jnp.float32) - 1
    least, most = np.float32(minval), np.float32(maxval)
    return jnp.maximum(least, floats * (most - least) + least).reshape(shape)


def _kernel(key: UInt32[Array, "2"], upper: UInt32[Array, " size"], lower: UInt32[Array, " size"]) -> Words:
    """The same by JAX's own generator."""
    first, second = jnp.split(threefry_2x32(key, jnp.concatenate([upper, lower])), 2)
    return first, second


def _rounds(key: UInt32[Array, "2"], upper: UInt32[Array, " size"], lower: UInt32[Array, " size"]) -> Words:
    """The twenty rounds, with a part of the key added before them and after every fourth."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ KEY_PARITY)
    upper, lower = upper + schedule[0], lower + schedule[1]
    for four in range(5):
        for rotation in ROTATIONS[four % 2]:
            upper = upper + lower
            lower = ((lower << np.uint32(rotation)) | (lower >> np.uint32(32 - rotation))) ^ upper
        upper = upper + schedule[(four + 1) % 3]
        lower = lower + schedule[(four + 2) % 3] + np.uint32(four + 1)
    return upper, lower
