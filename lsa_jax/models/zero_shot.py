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

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.models.transformer_params import TransformerParams
from lsa_jax.problem import LinearRegression

if TYPE_CHECKING:
    from lsa_jax.models.transformer import Transformer

MOST_NODES = 10**7
"""Nodes of a quadrature, above which it is refused; a million takes about a second a layer."""

NODES_AT_ONCE = 4096


def zero_shot_risk(
    model: "Transformer", params: TransformerParams, problem: LinearRegression, task: Real[ArrayLike, " dim"]
) -> Float[Array, ""]:
    """Compute the exact error on a prompt without examples.

    **Assumes** Gaussian covariates and label noise.

    Args:
        model: a transformer without MLP and norm.
        params: its parameters.
        problem: covariance of the covariates and label noise.
        task: the regression vector.

    Returns:
        The mean squared error, in squared units of the labels.

    Raises:
        ValueError: if the model has an MLP or layer norms, the shapes do not match, or the quadrature needs more than ten million nodes.

    References:
        docs/theory.md, equation (D8).

    Example:
        >>> import jax, jax.numpy as jnp, lsa_jax as lsa
        >>> model, problem = lsa.Transformer(2, 1), lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> round(float(zero_shot_risk(model, model.init(jax.random.key(0), 2, std=0.0), problem, jnp.array([3.0, 4.0]))), 4)
        25.25
    """
    if model.mlp is not None or model.norm:
        raise InputError("without examples the error of a model with MLP or norm has no closed form: use empirical_risk, or drop both")
    task = checks.as_task("task", task, problem.dim)
    nodes = _nodes_an_axis(model)
    if not is_affordable(model, problem.dim):
        raise InputError(
            f"the zero-shot error at {model.layers} layers and dim {problem.dim} needs {nodes}**{problem.dim} quadrature nodes, more than "
            f"{MOST_NODES}: use empirical_risk with 0 shots, or fewer dimensions or layers"
        )
    return _integrated(model, params, problem, task)


def is_affordable(model: "Transformer", dim: int, most: int = MOST_NODES) -> bool:
    """Tell whether the zero-shot error of a transformer can be computed exactly with so many nodes.

    Args:
        model: the transformer.
        dim: dimension d.
        most: largest number of nodes.

    Returns:
        True if it has neither MLP nor norm, and the quadrature no more nodes.

    Example:
        >>> import lsa_jax as lsa
        >>> is_affordable(lsa.Transformer(2, 2), 5), is_affordable(lsa.Transformer(3, 1), 5)
        (True, False)
    """
    return model.mlp is None and not model.norm and _nodes_an_axis(model) ** dim <= most


def _nodes_an_axis(model: "Transformer") -> int:
    """Nodes that integrate the square of the prediction: one more than its degree, for a degree of at least 1."""
    return (3**model.layers if model.attention == "linear" and model.query_attends else 1) + 1


@functools.partial(jax.jit, static_argnums=0)
def _integrated(model: "Transformer", params: TransformerParams, problem: LinearRegression, task: Float[Array, " dim"]) -> Float[Array, ""]:
    """The quadrature, its nodes in chunks."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_nodes_an_axis(model))
    weights = weights / weights.sum()
    # The last axes of the grid are written out; the first, as many as leave a chunk, are looped over.
    inner = max(1, int(np.log(NODES_AT_ONCE) / np.log(len(nodes))))
    inner = min(inner, problem.dim)
    grid, probability = (np.array(list(itertools.product(values, repeat=inner))) for values in (nodes, weights))
    rest = problem.dim - inner
    with precision.in_force():

        def squared_error(g: Float[Array, " dim"]) -> Float[Array, ""]:
            x = problem.root @ g
            token = jnp.concatenate([jnp.ones(1, x.dtype), x, jnp.zeros(1, x.dtype)])
            return (model.predict(params, token[None]) - jnp.sum(task * x)) ** 2

        def chunk(total: Float[Array, ""], index: Array) -> tuple[Float[Array, ""], None]:
            digits = jnp.stack([index // len(nodes) ** place % len(nodes) for place in range(rest)]) if rest else jnp.zeros(0, int)
            outer = jnp.asarray(nodes, total.dtype)[digits]
            points = jnp.concatenate([jnp.broadcast_to(outer, (len(grid), rest)), jnp.asarray(grid, total.dtype)], axis=1)
            mass = jnp.prod(jnp.asarray(weights, total.dtype)[digits]) * jnp.asarray(probability.prod(axis=1), total.dtype)
            return total + jnp.sum(mass * jax.vmap(squared_error)(points)), None

        start = jnp.zeros((), jnp.result_type(problem.root, task, params.value))
        excess, _ = jax.lax.scan(jax.checkpoint(chunk), start, jnp.arange(len(nodes) ** rest))
    return excess + problem.noise_std**2
