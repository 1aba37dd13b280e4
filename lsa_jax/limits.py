r"""Exact infinite-context limits of deep attention models: where the prediction is affine in the query's covariates.

With infinitely many examples a layer sees its tokens through their law alone, and the query weighs nothing. The tokens are Gaussian with a
mean and a covariance, and every layer maps them affinely, so that they stay Gaussian: by linear attention through the second moment
$S = C + \mu\mu^\top$, and by softmax attention, which tilts a Gaussian, through $\mu$ and C. It needs no MLP and no layer norm between.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision
from lsa_jax.problem import LinearRegression

ATTENTIONS = ("linear", "softmax")

Layers = Float[Array, "layers heads width width"]
Context = Float[Array, "width noisy"]
Query = Float[Array, "width affine"]


def limiting_prediction(
    value: Layers, query_key: Layers, problem: LinearRegression, task: Real[ArrayLike, " dim"], attention: str = "linear"
) -> Float[Array, " coefficients"]:
    r"""Compute the prediction with infinitely many examples, an affine function of the query's whitened covariates.

    Args:
        value: $V_{\ell h}$ of every layer and head, of any width from d + 2 on; coordinates beyond stand between x and y and start at 0.
        query_key: the merged $K_{\ell h}^\top Q_{\ell h}$ of every layer and head.
        problem: covariance of the covariates and label noise.
        task: the regression vector.
        attention: `linear` or `softmax`.

    Returns:
        The coefficients $(k_0, k)$ of $f = k_0 + k\cdot g$, where $x = Lg$ and $\Sigma = LL^\top$.

    Raises:
        ValueError: if the shapes do not match each other or the problem, an entry is not finite, or the attention is unknown.

    References:
        docs/theory.md, equations (D3) and (D4).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(1), noise_std=0.5)
        >>> reads_label = jnp.zeros((1, 1, 3, 3)).at[..., 2, 2].set(1.0)
        >>> compares_x = jnp.zeros((1, 1, 3, 3)).at[..., 1, 1].set(1.0)
        >>> limiting_prediction(reads_label, compares_x, problem, jnp.array([2.0])).tolist()
        [0.0, 2.0]
    """
    checks.as_choice("attention", attention, ATTENTIONS)
    width = jnp.shape(value)[-1]
    value = checks.as_real("value", value, ("layers", "heads", width, width))
    query_key = checks.as_real("query_key", query_key, value.shape)
    checks.as_count("width of value", width, minimum=problem.dim + 2)
    task = checks.as_task("task", task, problem.dim)
    with precision.in_force():
        context, query = _token_factors(problem, task, width)
        for value_heads, query_key_heads in zip(value, query_key, strict=True):
            context, query = _layer(value_heads, query_key_heads, context, query, attention)
    return query[-1]


def limiting_risk(
    value: Layers, query_key: Layers, problem: LinearRegression, task: Real[ArrayLike, " dim"], attention: str = "linear"
) -> Float[Array, ""]:
    r"""Compute the exact error with infinitely many examples, $\sigma^2 + k_0^2 + |k - L^\top\theta|^2$.

    **Assumes** Gaussian covariates and label noise; differentiable in everything.

    Args:
        value: $V_{\ell h}$ of every layer and head.
        query_key: the merged $K_{\ell h}^\top Q_{\ell h}$ of every layer and head.
        problem: covariance of the covariates and label noise.
        task: the regression vector.
        attention: `linear` or `softmax`.

    Returns:
        The mean squared error, in squared units of the labels.

    Raises:
        ValueError: if the shapes do not match each other or the problem, an entry is not finite, or the attention is unknown.

    References:
        docs/theory.md, equation (D5).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> nothing = jnp.zeros((3, 2, 4, 4))
        >>> float(limiting_risk(nothing, nothing, problem, jnp.array([3.0, 4.0]), "softmax"))
        25.25
    """
    coefficients = limiting_prediction(value, query_key, problem, task, attention)
    with precision.in_force():
        wanted = problem.root.T @ jnp.asarray(task, problem.root.dtype)
    return problem.noise_std**2 + coefficients[0] ** 2 + jnp.sum((coefficients[1:] - wanted) ** 2)


def _token_factors(problem: LinearRegression, task: Float[Array, " dim"], width: int) -> tuple[Context, Query]:
    """Mean and covariance factor of a context token side by side, and the query token as a function of (1, g)."""
    dim, root = problem.dim, problem.root
    query = jnp.zeros((width, dim + 1), root.dtype).at[0, 0].set(1).at[1 : dim + 1, 1:].set(root)
    label = jnp.concatenate([jnp.zeros(1, root.dtype), root.T @ task.astype(root.dtype), problem.noise_std[None]])
    context = jnp.concatenate([query, jnp.zeros((width, 1), root.dtype)], axis=1)
    return context.at[-1].set(label), query


def _layer(
    value: Float[Array, "heads width width"], query_key: Float[Array, "heads width width"], context: Context, query: Query, attention: str
) -> tuple[Context, Query]:
    """One layer's image of the law of the context and of the query."""
    seen = context if attention == "linear" else context.at[:, 0].set(0)
    step = jnp.eye(len(value[0]), dtype=context.dtype) + jnp.mean(value @ (seen @ seen.T) @ query_key, axis=0)
    shift = jnp.zeros(len(step), context.dtype) if attention == "linear" else jnp.mean(value, axis=0) @ context[:, 0]
    return (step @ context).at[:, 0].add(shift), (step @ query).at[:, 0].add(shift)
