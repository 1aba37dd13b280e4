"""Chi-square variates of real, traced degrees of freedom, for a whole batch at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lsa_jax.threefry import uniforms


def sample_chi_squares(
    key: Key[Array, ""], degrees_of_freedom: Float[Array, "#*shape"], normals: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Draw chi-squares by the rejection of Marsaglia and Tsang: exact in law, without a derivative.

    Args:
        key: randomness.
        degrees_of_freedom: 2 or more, or 1, or none (0 and less), of which the variate is 0; infinity is drawn as if it were 2.
        normals: standard normals independent of all else, whose squares are the variates of 1 degree; they give the shape and the type.

    Returns:
        The variates.

    References:
        Marsaglia, Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000.

    Example:
        >>> import jax
        >>> sample_chi_squares(jax.random.key(0), jnp.array([0.0, 1.0]), jnp.array([3.0, 3.0])).tolist()
        [0.0, 9.0]
    """
    # jax.random.gamma draws one after another on a CPU; here the batch proposes until its last entry is accepted, in a seventh
    # of the time.
    shape, dtype = normals.shape, normals.dtype
    degrees = jnp.where(jnp.isfinite(degrees_of_freedom), jnp.maximum(degrees_of_freedom, 2), 2)
    offset = degrees / 2 - 1 / 3
    slope = 1 / jnp.sqrt(9 * offset)

    def propose(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        attempt, kept, done = state
        attempt_key = jax.random.fold_in(key, attempt)
        x_key, uniform_key = jax.random.fold_in(attempt_key, 0), jax.random.fold_in(attempt_key, 1)
        x = _normals(x_key, shape, dtype)
        uniform = uniforms(uniform_key, shape, dtype, float(jnp.finfo(dtype).tiny))
        cube = (1 + slope * x) ** 3
        safe = jnp.where(cube > 0, cube, 1)
        accepted = (cube > 0) & (jnp.log(uniform) < x**2 / 2 + offset * (1 - safe + jnp.log(safe)))
        return attempt + 1, jnp.where(done, kept, cube), done | accepted

    start = (jnp.zeros((), jnp.uint32), jnp.ones(shape, dtype), jnp.zeros(shape, bool))
    _, cube, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), propose, start)
    drawn = jnp.where(degrees_of_freedom >= 2, 2 * offset * cube, jnp.where(degrees_of_freedom >= 1, normals**2, 0))
    return jax.lax.stop_gradient(drawn)


def _normals(key: Key[Array, ""], shape: tuple[int, ...], dtype: np.dtype) -> Float[Array, "..."]:
    """The numbers of `jax.random.normal`, from the faster bits."""
    above = float(np.nextafter(dtype.type(-1), dtype.type(0)))
    return np.sqrt(2).astype(dtype) * jax.scipy.special.erfinv(uniforms(key, shape, dtype, above))
