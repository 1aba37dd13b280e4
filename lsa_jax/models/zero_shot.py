r"""Exact errors of deep models without examples: the prompt is one query, and the prediction a polynomial in its covariates.

With linear attention every layer at most triples the degree, so that the squared error on a linear target is integrated exactly by
Gauss-Hermite quadrature with $3^L + 1$ nodes an axis. Attention to a single token is linear with a softmax: two nodes are enough.
"""

import functools
import itertools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision, products
from lsa_jax.errors import InputError
from lsa_jax.models import gram_path
from lsa_jax.models.transformer_params import TransformerParams, merged_query_key, widened
from lsa_jax.problem import LinearRegression

if TYPE_CHECKING:
    from lsa_jax.models.transformer import Transformer

MOST_NODES = 10**8
"""Nodes of a quadrature, above which it is refused; a core takes about 0.1 s for a million at three layers and one head."""

NODES_AT_ONCE = 4096


def zero_shot_risks(
    model: "Transformer", params: TransformerParams, problem: LinearRegression, tasks: Real[ArrayLike, "count dim"]
) -> Float[Array, " count"]:
    """Compute the exact errors on prompts without examples of several tasks, for which the model is evaluated once.

    **Assumes** Gaussian covariates and label noise.

    Args:
        model: a transformer without MLP and norm.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        tasks: the regression vectors, one a row.

    Returns:
        The mean squared error of each task, in squared units of the labels.

    Raises:
        ValueError: if the model has an MLP or layer norms, the shapes do not match, or the quadrature needs more than 10⁸ nodes.

    References:
        docs/theory.md, equation (D8).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model, problem = lsa.Transformer(2, 1), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> untrained = model.init(jax.random.key(0), 2, std=0.0)
        >>> zero_shot_risks(model, untrained, problem, jnp.array([[3.0, 4.0], [0.0, 2.0]])).round(4).tolist()
        [25.25, 4.25]
    """
    if model.mlp is not None or model.norm:
        raise InputError("without examples the error of a model with MLP or norm has no closed form: use empirical_risk, or drop both")
    tasks = checks.as_real("tasks", tasks, ("count", "dim"))
    if tasks.shape[1] != problem.dim:
        raise InputError(f"tasks have shape {tasks.shape}; this problem wants rows of {problem.dim} entries")
    nodes = _nodes_an_axis(model)
    if not is_affordable(model, problem.dim):
        raise InputError(
            f"the zero-shot error at {model.layers} layers and dim {problem.dim} needs {nodes}**{problem.dim} quadrature nodes, more than "
            f"{MOST_NODES}: use empirical_risk with 0 shots, or fewer dimensions or layers"
        )
    return _integrated(model, params, problem, tasks)


def is_affordable(model: "Transformer", dim: int) -> bool:
    """Tell whether the zero-shot error of a transformer can be computed exactly.

    Args:
        model: the transformer.
        dim: dimension d.

    Returns:
        True if it has neither MLP nor norm, and the quadrature no more than 10⁸ nodes.

    Example:
        >>> import lsa_jax as lsa
        >>> is_affordable(lsa.Transformer(3, 1), 5), is_affordable(lsa.Transformer(3, 1), 6)
        (True, False)
    """
    return model.mlp is None and not model.norm and _nodes_an_axis(model) ** dim <= MOST_NODES


def _nodes_an_axis(model: "Transformer") -> int:
    """Nodes that integrate the square of the prediction: one more than its degree, for a degree of at least 1."""
    return (3**model.layers if model.attention == "linear" and model.query_attends else 1) + 1


@functools.partial(jax.jit, static_argnums=0)
def _integrated(
    model: "Transformer", params: TransformerParams, problem: LinearRegression, tasks: Float[Array, "count dim"]
) -> Float[Array, " count"]:
    """The quadrature, its nodes in chunks."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_nodes_an_axis(model))
    weights = weights / weights.sum()
    # The last axes of the grid are written out; the first, as many as leave a chunk, are looped over.
    inner = min(max(1, int(np.log(NODES_AT_ONCE) / np.log(len(nodes)))), problem.dim)
    grid, mass = (np.array(list(itertools.product(values, repeat=inner))).T for values in (nodes, weights))
    rest = problem.dim - inner
    dtype = jnp.result_type(problem.root, tasks, params.value)
    with precision.in_force():

        def chunk(total: Float[Array, " count"], index: Array) -> tuple[Float[Array, " count"], None]:
            digits = index // len(nodes) ** np.arange(rest) % len(nodes)
            outer = jnp.broadcast_to(jnp.asarray(nodes, dtype)[digits][:, None], (rest, grid.shape[1]))
            probability = jnp.prod(jnp.asarray(weights, dtype)[digits]) * jnp.asarray(mass.prod(axis=0), dtype)
            x = products.shared(problem.root, jnp.concatenate([outer, jnp.asarray(grid, dtype)]))
            errors = _predictions(model, params, x)[None] - products.shared(tasks, x)
            # Far out errors are large and weights small: their squares are not to overflow before they are weighted.
            return total + jnp.sum((jnp.sqrt(probability)[None] * errors) ** 2, axis=1), None

        excess, _ = jax.lax.scan(jax.checkpoint(chunk), jnp.zeros(len(tasks), dtype), jnp.arange(len(nodes) ** rest))
    return excess + problem.noise_std**2


def _predictions(model: "Transformer", params: TransformerParams, x: Float[Array, "dim batch"]) -> Float[Array, " batch"]:
    """Predictions for queries alone, one a column."""
    token = jnp.concatenate([jnp.ones((1, x.shape[1]), x.dtype), x, jnp.zeros((1, x.shape[1]), x.dtype)])
    if not model.query_attends:
        return token[-1]
    token = widened(token, 0, params.value.shape[-1])[:, None]
    for value, query_key in zip(params.value, merged_query_key(params), strict=True):
        if model.attention == "softmax":
            update = products.shared(jnp.mean(value, axis=0), token)
        else:
            through = functools.partial(_own_gram, token)
            update = gram_path.attended(value, query_key, through, token) / len(value)
        token = token + update
    return token[-1, 0]


def _own_gram(token: Float[Array, "width 1 batch"], columns: Float[Array, "width columns batch"]) -> Float[Array, "width columns batch"]:
    """The Gram matrix of one token times columns."""
    return token * products.product(jnp.swapaxes(token, 0, 1), columns)
