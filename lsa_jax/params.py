"""Parameters of one layer of linear self-attention: one head, several heads, and heads with separate query and key."""

from typing import Any, ClassVar

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.values import Record, are_axes

Heads = tuple[Float[Array, "*heads token"], Float[Array, "*heads token token"]]
"""What acts of a layer: the last row of each value matrix over the number of heads, and each merged query-key matrix."""


class _Matrices(Record):
    """Square matrices of one size, or stacks of them with one a head: what the parameters of all layers share."""

    SHAPE: ClassVar[tuple[str, ...]]

    @property
    def dim(self) -> int:
        """Dimension d of the covariates the parameters are made for."""
        return jax.tree.leaves(self)[0].shape[-1] - 2

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of a batch of parameters, empty for one."""
        shapes = (leaf.shape[: -len(self.SHAPE)] for leaf in jax.tree.leaves(self))
        return next((shape for shape in shapes if shape), ())

    def _store(self, **matrices: ArrayLike | None) -> None:
        """Keep axes as they are, and numbers as checked matrices of one shape and floating type."""
        kept: dict[str, Any] = matrices if are_axes(*matrices.values()) else self._checked(matrices)
        for name, matrix in kept.items():
            object.__setattr__(self, name, matrix)

    def _checked(self, matrices: dict[str, ArrayLike | None]) -> dict[str, Array]:
        """The matrices, of one shape and floating type."""
        wanted: tuple[int | str, ...] = self.SHAPE
        arrays: dict[str, Array] = {}
        for name, matrix in matrices.items():
            if matrix is None:
                raise InputError(f"params need {' and '.join(matrices)}; give all")
            array = checks.as_real(name, matrix, wanted)
            if array.shape[-1] < 3 or array.shape[-1] != array.shape[-2]:
                raise InputError(f"{name} has shape {array.shape}; it must be square, ({', '.join(self.SHAPE)}) with dim at least 1")
            wanted, arrays[name] = array.shape, array
        dtype = jnp.result_type(*arrays.values())
        return {name: array.astype(dtype) for name, array in arrays.items()}


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class Params(_Matrices):
    r"""Parameters of one layer of linear self-attention over tokens $(1, x, y)$.

    `value` is $V$ and `query_key` the merged query-key matrix $Q$ of $f(Z;V,Q) = [Z + \frac1N V Z Z^\top Q Z]_{-1,-1}$. Only the last row
    of $V$ and all but the last column of $Q$ act on the prediction, and $(cV, Q/c)$ predicts the same for every $c \ne 0$. With an axis
    for one matrix and None for the other it is a tree of axes, for `jax.vmap`. Two are equal if they hold the same numbers.

    Args:
        value: the value matrix.
        query_key: the merged query-key matrix, of the same shape.

    Raises:
        ValueError: if the two are not square matrices of one size, at least 3 (d >= 1), or not finite. Traced entries are not
            checked: where one is not finite, neither is what is computed from it.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, section 3 (model).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> lsa.Params(value=jnp.zeros((7, 7)), query_key=jnp.zeros((7, 7))).dim
        5
    """

    SHAPE = ("dim + 2", "dim + 2")
    value: Float[Array, "*batch token token"]
    query_key: Float[Array, "*batch token token"]

    def __init__(self, value: ArrayLike | None, query_key: ArrayLike | None) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        self._store(value=value, query_key=query_key)

    @property
    def acting(self) -> Heads:
        """The last row of V, and Q: one head, without an axis of heads."""
        return self.value[-1], self.query_key


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class MultiHeadParams(_Matrices):
    r"""Parameters of one layer of several heads whose outputs are averaged, $f = z_y + \frac1{HN}\sum_h v_h^\top ZZ^\top Q_h z$.

    Args:
        value: the value matrices, one a head.
        query_key: the merged query-key matrices, of the same shape.

    Raises:
        ValueError: if the two are not stacks of square matrices of one size, at least 3 (d >= 1), or not finite. Traced entries are not
            checked.

    References:
        docs/theory.md, equation (23).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> params = lsa.MultiHeadParams(value=jnp.zeros((2, 7, 7)), query_key=jnp.zeros((2, 7, 7)))
        >>> params.num_heads, params.dim
        (2, 5)
    """

    SHAPE = ("heads", "dim + 2", "dim + 2")
    value: Float[Array, "*batch heads token token"]
    query_key: Float[Array, "*batch heads token token"]

    def __init__(self, value: ArrayLike | None, query_key: ArrayLike | None) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        self._store(value=value, query_key=query_key)

    @property
    def num_heads(self) -> int:
        """Number H of heads."""
        return self.value.shape[-3]

    @property
    def acting(self) -> Heads:
        """The last rows of V over the number of heads, and Q."""
        return self.value[:, -1] / self.num_heads, self.query_key


@chex.dataclass(frozen=True, init=False, eq=False, mappable_dataclass=False)
class SeparateParams(_Matrices):
    r"""Parameters of one layer of heads with separate query and key matrices; the merged ones are $Q_h = K_h^\top W_h$, W the query.

    Args:
        value: the value matrices, one a head.
        query: the query matrices, of the same shape.
        key: the key matrices, of the same shape.

    Raises:
        ValueError: if they are not stacks of square matrices of one size, at least 3 (d >= 1), or not finite. Traced entries are not
            checked.

    References:
        docs/theory.md, equation (23).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> blank = jnp.zeros((1, 7, 7))
        >>> lsa.SeparateParams(value=blank, query=blank, key=blank).merged.query_key.shape
        (1, 7, 7)
    """

    SHAPE = ("heads", "dim + 2", "dim + 2")
    value: Float[Array, "*batch heads token token"]
    query: Float[Array, "*batch heads token token"]
    key: Float[Array, "*batch heads token token"]

    def __init__(self, value: ArrayLike | None, query: ArrayLike | None, key: ArrayLike | None) -> None:
        """Check and store; not called when JAX rebuilds the pytree."""
        self._store(value=value, query=query, key=key)

    @property
    def num_heads(self) -> int:
        """Number H of heads."""
        return self.value.shape[-3]

    @property
    def merged(self) -> MultiHeadParams:
        """The parameters with query and key merged, which predict the same."""
        query_key = jnp.matmul(jnp.swapaxes(self.key, -1, -2), self.query, precision=precision.current())
        return MultiHeadParams(value=self.value, query_key=query_key)

    @property
    def acting(self) -> Heads:
        """The last rows of V over the number of heads, and the merged matrices."""
        return self.merged.acting


LayerParams = Params | MultiHeadParams | SeparateParams
"""Parameters of one layer, all of which the exact and the simulated side take."""
