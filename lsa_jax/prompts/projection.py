r"""A whole context in three normals and a chi-square, whatever its length: what one layer sees of it, exact in law.

Given task and query, one layer of linear attention needs its context only through $\frac1n\sum_i (v\cdot z_i)(u\cdot z_i)$ with $u = Qz$:
a mean of products of jointly Gaussian pairs, whose law is that of a 2 x 2 Wishart matrix and an independent mean.

Unlike the other samplers this one draws a batch, one prompt per column: with the prompts in the last axis the draws and the arithmetic run
over contiguous memory, which on a CPU takes a quarter of the time of one prompt vmapped.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from lsa_jax import checks, precision
from lsa_jax.normal_rows import sample_normals
from lsa_jax.problem import LinearRegression
from lsa_jax.prompts.chi_square import sample_chi_squares


def sample_context_means(
    key: Key[Array, ""],
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    left: Float[Array, "token #batch"],
    right: Float[Array, "token batch"],
    num_shots: ArrayLike,
) -> Float[Array, " batch"]:
    r"""Draw $\frac1n\sum_{i\le n} (v\cdot z_i)(u\cdot z_i)$ over n fresh Gaussian examples a prompt, in time independent of n.

    With $v\cdot z_i = v_0 + \ell_{11} g$, $u\cdot z_i = u_0 + \ell_{21} g + \ell_{22} g'$, normals $g_1, g_2, g_3$
    and $c \sim \chi^2_{n-1}$,

    $$ \Big(v_0 + \tfrac{\ell_{11} g_1}{\sqrt n}\Big)\Big(u_0 + \tfrac{\ell_{21} g_1 + \ell_{22} g_2}{\sqrt n}\Big)
       + \tfrac{\ell_{11}}{n}\big(\ell_{21} c + \ell_{22} \sqrt c\, g_3\big) . $$

    The pathwise gradient in `left` and `right` is unbiased, with gradient 0 for the root where $\ell_{22} = 0$. It fails only where `left`
    reads neither x nor the label, $\ell_{11} = 0$: there the gradient in `left` is 0 instead, and near there its variance grows as
    $(v_0/\ell_{11})^2$.

    **Assumes** fresh examples with Gaussian covariates; pools and other covariate laws draw tokens.

    Args:
        key: randomness of the batch.
        problem: covariance of the covariates and label noise.
        tasks: the regression vector of each prompt, or one for all.
        left: v, the last row of the value matrix, for each prompt or one for all.
        right: u = Q z, the query token of each prompt seen by the query-key matrix.
        num_shots: n, a whole number or `jnp.inf` (which gives the expectation); may be traced. No examples give 0.

    Returns:
        The mean over the context of each prompt.

    Raises:
        ValueError: if `num_shots` is negative or fractional; NaN where it is traced.

    References:
        docs/theory.md, equation (18).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.0)
        >>> reads_label, reads_x = jnp.eye(5)[:, 4:], jnp.eye(5)[:, 1:2]
        >>> sample_context_means(jax.random.key(0), problem, jnp.ones((3, 1)), reads_label, reads_x, jnp.inf).tolist()
        [1.0]
    """
    return _context_means(key, problem, tasks, left, right, checks.as_shots("num_shots", num_shots, problem.root.dtype))


@jax.jit
def _context_means(
    key: Key[Array, ""],
    problem: LinearRegression,
    tasks: Float[Array, "dim #batch"],
    left: Float[Array, "token #batch"],
    right: Float[Array, "token batch"],
    shots: Float[Array, ""],
) -> Float[Array, " batch"]:
    """Draw the means, from equation (18)."""
    left_mean, left_slope = _token_factor(left, problem, tasks)
    right_mean, right_slope = _token_factor(right, problem, tasks)
    left_norm = _norm(left_slope)
    direction = left_slope / jnp.where(left_norm > 0, left_norm, 1)[None]
    parallel = jnp.sum(direction * right_slope, axis=0)
    perpendicular = _norm(right_slope - parallel[None] * direction)

    normal_key, chi_square_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    first, second, third, spare = sample_normals(normal_key, 4, right.shape[1], problem.root.dtype)
    inverse = 1 / jnp.maximum(shots, 1)
    scatter = jnp.where(jnp.isinf(shots), 1, sample_chi_squares(chi_square_key, shots - 1, spare) * inverse)
    left_average = left_mean + left_norm * first * jnp.sqrt(inverse)
    right_average = right_mean + (parallel * first + perpendicular * second) * jnp.sqrt(inverse)
    mean = left_average * right_average
    mean += left_norm * (parallel * scatter + perpendicular * jnp.sqrt(scatter * inverse) * third)
    return jnp.where(shots == 0, 0, mean)


def _token_factor(
    directions: Float[Array, "token #batch"], problem: LinearRegression, tasks: Float[Array, "dim #batch"]
) -> tuple[Float[Array, " #batch"], Float[Array, "noisy #batch"]]:
    """Mean of direction . z_i, and its coefficients on the whitened covariates and the noise."""
    on_x = jnp.matmul(problem.root.T, directions[1:-1] + directions[-1:] * tasks, precision=precision.current())
    on_noise = jnp.broadcast_to(directions[-1:] * problem.noise_std, (1, on_x.shape[1]))
    return directions[0], jnp.concatenate([on_x, on_noise])


def _norm(columns: Float[Array, "size batch"]) -> Float[Array, " batch"]:
    """Euclidean norm of each column, with gradient 0 at 0."""
    square = jnp.sum(columns**2, axis=0)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
