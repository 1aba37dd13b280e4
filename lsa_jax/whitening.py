r"""The data law and the parameters in whitened coordinates, where every Gaussian is standard normal.

With $\Sigma = LL^\top$, $x = Lg$ and $\tau = L^\top\theta$, a query token is $z = E(1, g)$ and a context token
$z_i = F(1, g_i, \varepsilon_i)$. Derivation: docs/theory.md, equations (3) and (4).
"""

import chex
import jax.numpy as jnp
from jaxtyping import Array, Float

from lsa_jax.head_axis import HeadAxis
from lsa_jax.params import Heads
from lsa_jax.priors import TaskMoments


@chex.dataclass(frozen=True, mappable_dataclass=False)
class WhitenedParams:
    r"""The entries of (V, Q) that act, seen from the whitened query: $E^\top v$, $v_y$, $E^\top Q E$ and $E^\top Q_{y\cdot}$.

    For one head, or with a first axis of heads.
    """

    value: Float[Array, "*heads query"]
    value_label: Float[Array, "*heads"]
    query_key: Float[Array, "*heads query query"]
    query_key_label: Float[Array, "*heads query"]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ContextFactors:
    r"""Coefficients of $(g_i, \varepsilon_i)$ in $v\cdot z_i$ and in $z_i\cdot QE$, at the mean task: c and P of equation (4)."""

    value: Float[Array, "*heads query"]
    key: Float[Array, "*heads query query"]


Head = tuple[WhitenedParams, ContextFactors]


def whiten(heads: Heads, root: Float[Array, "dim dim"]) -> WhitenedParams:
    """Change coordinates from x to g, where x = root g."""

    def of_head(head: tuple[Array, Array]) -> WhitenedParams:
        row, query_key = head
        left = jnp.concatenate([query_key[:1], root.T @ query_key[1:-1], query_key[-1:]])[:, :-1]
        both = jnp.concatenate([left[:, :1], left[:, 1:] @ root], axis=1)
        return WhitenedParams(
            value=jnp.concatenate([row[:1], root.T @ row[1:-1]]),
            value_label=row[-1],
            query_key=both[:-1],
            query_key_label=both[-1],
        )

    return HeadAxis(heads[0].ndim == 2).each(of_head, heads)


def of_task(task: Float[Array, " dim"], root: Float[Array, "dim dim"]) -> TaskMoments:
    """Moments of one known task."""
    return TaskMoments(mean=root.T @ task, covariance=None, squared_norm_variance=jnp.zeros((), task.dtype))


def axis_of(params: WhitenedParams) -> HeadAxis:
    """The axis of heads: v_y of one head is a scalar."""
    return HeadAxis(params.value_label.ndim == 1)


def context_factors(params: WhitenedParams, task: TaskMoments, noise_std: Float[Array, ""]) -> ContextFactors:
    """Factors of one head."""
    return ContextFactors(
        value=jnp.append(params.value[1:] + params.value_label * task.mean, noise_std * params.value_label),
        key=jnp.concatenate([
            params.query_key[1:] + jnp.outer(task.mean, params.query_key_label),
            noise_std * params.query_key_label[None],
        ]),
    )
