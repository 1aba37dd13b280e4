"""What one layer that reads labels sees of a context: sums over its examples of label times token, drawn without the examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.normal_rows import sample_normals
from lsa_jax.problem import LinearRegression
from lsa_jax.prompts.chi_square import sample_chi_squares


def sample_label_sums(
    key: Key[Array, ""], problem: LinearRegression, tasks: Real[ArrayLike, "dim count"], num_shots: ArrayLike
) -> Float[Array, "feature count"]:
    r"""Draw $\sum_i y_i(x_i, y_i)$ over the examples of a context, one prompt per column, in d + 1 draws whatever their number.

    With $s^2 = |\tau|^2 + \sigma^2$ the sum of squared labels is $s^2$ times a chi-square. Given the labels every whitened covariate is
    Gaussian with mean $\tau y_i/s^2$ and covariance $I - \tau\tau^\top/s^2$, and so is their sum with weights $y_i$.

    **Assumes** Gaussian covariates and label noise.

    Args:
        key: randomness of all prompts.
        problem: covariance of the covariates and label noise.
        tasks: the task of every prompt, one a column.
        num_shots: number of examples of a prompt, a whole number from 1 on; may be traced.

    Returns:
        The sums; the label's own square comes last.

    Raises:
        ValueError: if the tasks are of another dimension, or the number of shots is out of range.

    References:
        docs/theory.md, equation (T6).

    Example:
        >>> import jax, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(3), noise_std=0.5)
        >>> sample_label_sums(jax.random.key(0), problem, jnp.ones((3, 10)), num_shots=1000).shape
        (4, 10)
    """
    tasks = checks.as_real("tasks", tasks, (problem.dim, "count"))
    shots = checks.as_shots("num_shots", num_shots, problem.root.dtype, minimum=1)
    if checks.concrete(shots) == jnp.inf:
        raise InputError("num_shots is infinite; sums are drawn over a finite number of examples")
    dim, count = tasks.shape
    normal_key, square_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    normals = sample_normals(normal_key, dim + 1, count, problem.root.dtype)
    with precision.in_force():
        whitened = problem.root.T @ tasks.astype(problem.root.dtype)
        size = jnp.sqrt(jnp.sum(whitened**2, axis=0) + problem.noise_std**2)
        safe = jnp.where(size > 0, size, 1)
        squares = size**2 * sample_chi_squares(square_key, shots, normals[-1])
        along = jnp.sum(whitened * normals[:-1], axis=0) / (safe * (safe + problem.noise_std))
        sums = whitened * (squares / safe**2)[None] + jnp.sqrt(squares)[None] * (normals[:-1] - whitened * along[None])
        return jnp.concatenate([problem.root @ sums, squares[None]])
