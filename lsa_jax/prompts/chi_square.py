"""Chi-square variates of real, traced degrees of freedom, for a whole batch at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

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
    # jax.random.gamma draws one after another on a CPU. Here the whole batch proposes at once, and then the last entry of each column
    # that has not been accepted, until all are: proposals for the whole batch would nearly all be thrown away.
    count = normals.shape[-1]
    degrees = jnp.where(jnp.isfinite(degrees_of_freedom), jnp.maximum(degrees_of_freedom, 2), 2)
    offset = jnp.atleast_2d(degrees / 2 - 1 / 3)
    cubes, accepted = _propose(jax.random.fold_in(key, 0), offset, (normals.size // count, count))
    places = jax.lax.broadcasted_iota(jnp.int32, cubes.shape, 0)

    def repair(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        attempt, kept, done = state
        chosen = ~done & (places == jnp.max(jnp.where(done, -1, places), axis=0, keepdims=True))
        its_offset = jnp.sum(jnp.where(chosen, offset, 0), axis=0, keepdims=True)
        cube, accepted = _propose(jax.random.fold_in(key, attempt), jnp.where(its_offset > 0, its_offset, 1), (1, count))
        return attempt + 1, jnp.where(chosen, cube, kept), done | (chosen & accepted)

    _, cubes, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), repair, (jnp.ones((), jnp.uint32), cubes, accepted))
    gamma = (offset * cubes).reshape(normals.shape)
    drawn = jnp.where(degrees_of_freedom >= 2, 2 * gamma, jnp.where(degrees_of_freedom >= 1, normals**2, 0))
    return jax.lax.stop_gradient(drawn)


def _propose(
    key: Key[Array, ""], offset: Float[Array, "#*shape"], shape: tuple[int, ...]
) -> tuple[Float[Array, "*shape"], Bool[Array, "*shape"]]:
    """Cubes, which are gamma variates of shape `offset` + 1/3 in units of `offset` where they are accepted, and whether they are."""
    x_key, uniform_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    x = _normals(x_key, shape, offset.dtype)
    uniform = uniforms(uniform_key, shape, offset.dtype, float(jnp.finfo(offset.dtype).tiny))
    cube = (1 + 1 / jnp.sqrt(9 * offset) * x) ** 3
    safe = jnp.where(cube > 0, cube, 1)
    return cube, (cube > 0) & (jnp.log(uniform) < x**2 / 2 + offset * (1 - safe + jnp.log(safe)))


def _normals(key: Key[Array, ""], shape: tuple[int, ...], dtype: np.dtype) -> Float[Array, "..."]:
    """The numbers of `jax.random.normal`, from the faster bits."""
    above = float(np.nextafter(dtype.type(-1), dtype.type(0)))
    return np.sqrt(2).astype(dtype) * jax.scipy.special.erfinv(uniforms(key, shape, dtype, above))
