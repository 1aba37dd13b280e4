"""One layer of self-attention over tokens (1, x, y): linear, about which everything is exact, and softmax, about which nothing here is."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Real

from lsa_jax import attention, checks, precision
from lsa_jax.models.protocol import Acting, Theory, entries, mask, path_of
from lsa_jax.normals import standard_normals
from lsa_jax.params import Params
from lsa_jax.population import risk_function
from lsa_jax.predictions import distance_function
from lsa_jax.squared_errors import projected_errors

Forward = Callable[..., Float[Array, ""]]
GROUPS: Mapping[str, Callable[[str], bool]] = MappingProxyType({
    "value": lambda path: path == "value",
    "query_key": lambda path: path == "query_key",
})


@dataclasses.dataclass(frozen=True)
class OneLayer:
    """One layer with a value matrix V and a merged query-key matrix Q.

    Args:
        name: its name in records and figures.
        predict: the forward pass, a function (params, tokens, num_tokens) -> prediction.
        linear_in: trainable sets in which it is linear.
        theory: what is exact about it.
    """

    name: str
    predict: Forward = dataclasses.field(repr=False)
    linear_in: tuple[str, ...] = dataclasses.field(repr=False)
    theory: Theory | None = dataclasses.field(repr=False)

    @property
    def groups(self) -> Mapping[str, Callable[[str], bool]]:
        """`value` and `query_key`, beside `all`."""
        return GROUPS

    def init(self, key: Key[Array, ""], dim: int, std: ArrayLike = 0.05) -> Params:
        """Draw the published initialisation: every entry of V and Q normal with mean 0.

        Args:
            key: randomness.
            dim: dimension d.
            std: standard deviation of an entry.

        Returns:
            The parameters, in JAX's default floating type.

        References:
            Lee, Sohn, Lee, arXiv 2602.23197, experiment on linear regression.

        Example:
            >>> import jax
            >>> LINEAR.init(jax.random.key(0), dim=5).value.shape
            (7, 7)
        """
        dtype, size = jnp.result_type(float), checks.as_count("dim", dim) + 2
        value_key, query_key_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        return Params(
            value=jnp.asarray(std, dtype) * standard_normals(value_key, (size, size), dtype),
            query_key=jnp.asarray(std, dtype) * standard_normals(query_key_key, (size, size), dtype),
        )

    def acting(self, params: Params, group: str) -> Acting:
        """Return the entries of a trainable set that act: the last row of V, and all of Q but its last column.

        The prediction is read from that row, and the query's label, which meets that column, is 0.

        Args:
            params: V and Q.
            group: the trainable set.

        Returns:
            The entries as a vector, and the function that puts others in their place.
        """
        if group == "value":
            return params.value[-1], lambda row: Params(value=params.value.at[-1].set(row), query_key=params.query_key)
        place = np.arange(params.dim + 2)
        acts = {"value": place[:, None] == place[-1], "query_key": place != place[-1]}
        chosen = mask(self, params, group)
        return entries(params, jax.tree_util.tree_map_with_path(lambda path, inside: inside & acts[path_of(path)], chosen))

    def yardsticks(self, params: Params, group: str) -> tuple[Params, ...]:
        r"""Return parameters whose curvature in V cannot cancel, and others whose curvature is that of the tokens: |Q|, and $e_0e_0^\top$.

        Args:
            params: V and Q.
            group: the trainable set.

        Returns:
            Both, or nothing for a set in which curvatures are not those of tokens.
        """
        if group != "value":
            return ()
        constant = jnp.zeros_like(params.query_key).at[0, 0].set(1)
        return tuple(Params(value=params.value, query_key=matrix) for matrix in (jnp.abs(params.query_key), constant))


def softmax_predict(params: Params, tokens: Real[ArrayLike, "num_tokens token"], num_tokens: ArrayLike | None = None) -> Float[Array, ""]:
    r"""Compute $f(Z;V,Q) = [Z + V Z\,\mathrm{softmax}(Z^\top Q z)]_{-1,-1}$ for one prompt with query token z.

    Args:
        params: V and Q.
        tokens: the prompt, one token $(1, x, y)$ a row; the query, whose label is 0, comes last.
        num_tokens: their number, when zero rows pad the prompt before the query; by default the number of rows.

    Returns:
        The prediction of the query's label.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> average = lsa.Params(value=2 * jnp.eye(3), query_key=jnp.zeros((3, 3)))
        >>> float(softmax_predict(average, jnp.array([[1.0, 2.0, 6.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), num_tokens=2))
        6.0
    """
    tokens = checks.as_real("tokens", tokens, ("num_tokens", params.dim + 2))
    query, row = tokens[-1], jnp.arange(len(tokens))
    scores = jnp.matmul(tokens, jnp.matmul(params.query_key, query, precision=precision.current()), precision=precision.current())
    used = (row < (len(tokens) if num_tokens is None else num_tokens) - 1) | (row == len(tokens) - 1)
    weights = jax.nn.softmax(scores, where=used)
    return query[-1] + jnp.sum(weights * jnp.matmul(tokens, params.value[-1], precision=precision.current()))


LINEAR = OneLayer(
    "linear",
    attention.predict,
    ("value", "query_key"),
    Theory(risk_function, projected_errors, samples_limit=True, minimisers=True, distance=distance_function),
)
"""The paper's model: one layer of linear self-attention."""

SOFTMAX = OneLayer("softmax", softmax_predict, ("value",), None)
"""One layer of softmax self-attention."""
