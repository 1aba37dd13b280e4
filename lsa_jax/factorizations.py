"""Inverses and roots of small matrices whose batches cannot deadlock.

On a CPU, jaxlib's LAPACK kernels spread a batch over the threads that run the program, and wait. When every thread waits, as with several
devices or several factorisations at once, none is left to work, and the program hangs (jaxlib 0.10.2, two cores). Here a batch on a CPU
is a loop over its matrices, which are too small to be worth more; elsewhere it stays a batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax import precision

Matrix = Float[Array, "size size"]
Matrices = Float[Array, "batch size size"]


def one_by_one(function: Callable[[Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
    """Return a function of a matrix whose batches are computed one matrix after the other on a CPU.

    Args:
        function: what to compute for one matrix.

    Returns:
        The function. It has no reverse-mode derivative: give it a rule where one is needed.

    Example:
        >>> negative = one_by_one(lambda matrix: -matrix)
        >>> jax.vmap(negative)(jnp.ones((3, 1, 1))).tolist()
        [[[-1.0]], [[-1.0]], [[-1.0]]]
    """
    single = jax.custom_batching.custom_vmap(function)

    @single.def_vmap
    def _(_size: int, _batched: list[bool], matrices: Matrices) -> tuple[Matrices, bool]:
        def loop(matrices: Matrices) -> Matrices:
            return jax.lax.map(single, matrices)

        return jax.lax.platform_dependent(matrices, cpu=loop, default=jax.vmap(function)), True

    return single


_inverse = one_by_one(jnp.linalg.inv)
_pseudo_inverse = one_by_one(lambda matrix: jnp.linalg.pinv(matrix, hermitian=True))
_eigen_root = one_by_one(lambda matrix: _root_from_eigenvectors(matrix))


@jax.custom_jvp
def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of a matrix; differentiable and batched like any function of JAX.

    Args:
        matrix: a regular matrix.

    Returns:
        Its inverse.

    Example:
        >>> inverse(jnp.array([[2.0, 0.0], [0.0, 4.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    return _inverse(matrix)


@inverse.defjvp
def _inverse_derivative(primals: tuple[Matrix], tangents: tuple[Matrix]) -> tuple[Matrix, Matrix]:
    (matrix,), (change,) = primals, tangents
    found = inverse(matrix)
    with precision.in_force():
        return found, -found @ change @ found


@jax.custom_jvp
def pseudo_inverse(matrix: Matrix) -> Matrix:
    """Return the Moore-Penrose inverse of a symmetric matrix; its derivative is that at constant rank.

    Args:
        matrix: a symmetric matrix.

    Returns:
        Its pseudo-inverse.

    References:
        Golub, Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate, 1973, (4.12).

    Example:
        >>> pseudo_inverse(jnp.array([[2.0, 0.0], [0.0, 0.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.0]]
    """
    return _pseudo_inverse(matrix)


@pseudo_inverse.defjvp
def _pseudo_inverse_derivative(primals: tuple[Matrix], tangents: tuple[Matrix]) -> tuple[Matrix, Matrix]:
    (matrix,), (change,) = primals, tangents
    found = pseudo_inverse(matrix)
    with precision.in_force():
        kernel = jnp.eye(len(matrix), dtype=matrix.dtype) - matrix @ found
        rotated = found @ found @ change @ kernel
        return found, rotated + rotated.T - found @ change @ found


@jax.jit
def semidefinite_root(matrix: Matrix) -> Matrix:
    r"""Return a square root R, $A = RR^\top$, of a symmetric positive semidefinite matrix.

    It is the Cholesky factor where there is one, and else made of the eigenvectors. Its derivative is that of a root at constant rank.

    Args:
        matrix: a symmetric positive semidefinite matrix A.

    Returns:
        The root; eigenvalues that are lost in rounding count as 0, and one that is below 0 beyond that makes it NaN.

    Example:
        >>> root = semidefinite_root(jnp.array([[1.0, 1.0], [1.0, 1.0]]))
        >>> (root @ root.T).round(4).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return _any_root(matrix)


@jax.custom_jvp
def _any_root(matrix: Matrix) -> Matrix:
    """The Cholesky factor, or the root from eigenvectors where a pivot is lost in rounding."""
    triangle = jnp.linalg.cholesky(matrix)
    regular = jnp.all(jnp.diag(triangle) ** 2 > _rounding(jnp.diag(matrix)))
    return jnp.where(regular, triangle, _eigen_root(matrix))


@_any_root.defjvp
def _any_root_derivative(primals: tuple[Matrix], tangents: tuple[Matrix]) -> tuple[Matrix, Matrix]:
    (matrix,), (change,) = primals, tangents
    root = _any_root(matrix)
    with precision.in_force():
        change = (change + change.T) / 2
        opposite = root.T @ pseudo_inverse(matrix)
        inside = opposite @ change @ opposite.T
        outside = change @ opposite.T - root @ inside
        return root, root @ (jnp.tril(inside, -1) + jnp.diag(jnp.diag(inside)) / 2) + outside


def _root_from_eigenvectors(matrix: Matrix) -> Matrix:
    """Eigenvectors times the roots of their eigenvalues, those lost in rounding as 0; NaN where one is below 0 beyond that."""
    values, vectors = jnp.linalg.eigh(matrix)
    lost = jnp.abs(values) <= _rounding(values)
    return vectors * jnp.sqrt(jnp.where(lost, 0, values))[None]


def _rounding(values: Float[Array, " size"]) -> Float[Array, ""]:
    """Size of the numbers that are lost in rounding beside the given ones."""
    return len(values) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
