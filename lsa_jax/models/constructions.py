r"""Deep linear models that are known algorithms, entry by entry: starts for training, and what trained models are compared with.

A layer $V = -e_ye_y^\top$, $K^\top Q = \mathrm{diag}(0, A, 0)$ moves every label by one step of gradient descent preconditioned by A,
$y_j \leftarrow y_j - \frac1N\sum_i y_i\,x_i^\top Ax_j$: what is left of the labels are the residuals, and the query, whose label starts at
0, carries minus the prediction. Its sign is turned by a head that reads the bias coordinate, $V = -2e_ye_0^\top$ with
$K^\top Q = e_0e_y^\top$.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.models.transformer import Transformer
from lsa_jax.models.transformer_params import TransformerParams

SIGNS = ("layer", "head")


def gradient_descent(
    preconditioners: Real[ArrayLike, "steps rows columns"],
    *,
    sign: str = "layer",
    curvatures: Real[ArrayLike, "moves rows columns"] | None = None,
    query_key: str = "merged",
    query_attends: bool = True,
) -> tuple[Transformer, TransformerParams]:
    r"""Return the model that predicts with the result of preconditioned gradient descent from w = 0 on its context.

    With preconditioner $A_\ell$, $w \leftarrow w + \frac{A_\ell}{N}\sum_i (y_i - w\cdot x_i)x_i$. Where the query attends, it counts as a
    point of label 0 and N = n + 1; where it does not, the sum is over the n examples. With `curvatures` $P_\ell$ the covariates move too,
    $x_j \leftarrow x_j + \frac1N P_\ell\sum_i x_i\,x_i^\top A_\ell x_j$ ("GD++").

    Args:
        preconditioners: $A_\ell$, one a step, symmetric for gradient descent on the squared error.
        sign: what turns the sign of the prediction: a `layer` of its own before the steps, or a second `head` in the last layer.
        curvatures: $P_\ell$, one a step, or None for covariates that stay.
        query_key: `merged` or `separate` (then K is the identity).
        query_attends: whether the query is among the tokens attended to.

    Returns:
        The model and its parameters; one head and a layer more than there are steps, or two heads and as many layers.

    Raises:
        ValueError: if shapes or names are wrong.

    References:
        docs/theory.md, equation (D6); von Oswald et al., arXiv 2212.07677, proposition 1 and section on GD++.

    Example:
        >>> import jax.numpy as jnp
        >>> model, params = gradient_descent(0.5 * jnp.eye(1)[None])
        >>> float(model.predict(params, jnp.array([[1.0, 2.0, 6.0], [1.0, 1.0, 0.0]])))
        3.0
    """
    checks.as_choice("sign", sign, SIGNS)
    steps = checks.as_real("preconditioners", preconditioners, ("steps", "dim", "dim"))
    if steps.shape[1] != steps.shape[2]:
        raise InputError(f"preconditioners have shape {steps.shape}; they must be square matrices, one a step")
    moves = jnp.zeros_like(steps) if curvatures is None else checks.as_real("curvatures", curvatures, steps.shape)
    number, dim = steps.shape[:2]
    heads = 1 if sign == "layer" else 2
    first = 1 if sign == "layer" else 0
    shape = (number + first, heads, dim + 2, dim + 2)
    # A head that shares its layer with a copy of itself does under the mean what it does alone.
    value = jnp.zeros(shape, steps.dtype).at[first:, :, -1, -1].set(-1).at[first:, :, 1:-1, 1:-1].set(moves[:, None])
    product = jnp.zeros(shape, steps.dtype).at[first:, :, 1:-1, 1:-1].set(steps[:, None])
    if sign == "layer":
        value, product = value.at[0, 0, -1, 0].set(-2), product.at[0, 0, 0, -1].set(1)
    else:
        value = value.at[-1, 0].multiply(2).at[-1, 0, -1, -1].set(2).at[-1, 1].set(0).at[-1, 1, -1, 0].set(-4)
        product = product.at[-1, 1].set(0).at[-1, 1, 0, -1].set(1)
    return _built(value, product, query_key, query_attends)


def without_forgetting(
    pretrained: Real[ArrayLike, "rows columns"], task: Real[ArrayLike, " dim"], scale: ArrayLike = 1.0, *, query_key: str = "merged"
) -> tuple[Transformer, TransformerParams]:
    r"""Return the one-layer model whose second head knows a task without examples while the first keeps in-context learning.

    The first head predicts $\frac1N\sum_i y_i\,x_i^\top\Gamma x$, which is 0 without examples, and the second
    $\frac1N\theta_0^\top(\sum_i x_i + x)$, which is $\theta_0^\top x$ without examples and vanishes with many: the zero-shot error on
    $\theta_0$ is $\sigma^2$, and the few-shot limit on every task is that of the first head alone.

    Args:
        pretrained: the block $\Gamma$ of the first head.
        task: the task $\theta_0$ of the second.
        scale: w, which splits the second head into $v_x = w\theta_0$ and $Q_{00} = 1/w$ and does not change predictions.
        query_key: `merged` or `separate` (then K is the identity).

    Returns:
        The model and its parameters.

    Raises:
        ValueError: if the shapes do not match or `scale` is 0.

    References:
        docs/theory.md, equation (D7).

    Example:
        >>> import jax.numpy as jnp
        >>> model, params = without_forgetting(jnp.eye(1), jnp.array([3.0]))
        >>> float(model.predict(params, jnp.array([[1.0, 2.0, 0.0]])))
        6.0
    """
    task = checks.as_real("task", task, ("dim",))
    block = checks.as_real("pretrained", pretrained, (len(task), len(task)))
    scale = checks.as_scale("scale", scale, zero_allowed=False)
    shape = (1, 2, len(task) + 2, len(task) + 2)
    # Twice each value, because head outputs are averaged.
    value = jnp.zeros(shape, block.dtype).at[0, 0, -1, -1].set(2).at[0, 1, -1, 1:-1].set(2 * scale * task)
    product = jnp.zeros(shape, block.dtype).at[0, 0, 1:-1, 1:-1].set(block).at[0, 1, 0, 0].set(1 / scale)
    return _built(value, product, query_key, query_attends=True)


def _built(
    value: Float[Array, "layers heads width width"], product: Float[Array, "layers heads width width"], query_key: str, query_attends: bool
) -> tuple[Transformer, TransformerParams]:
    """The model of these matrices, its query-key product split if wanted."""
    model = Transformer(layers=value.shape[0], heads=value.shape[1], query_key=query_key, query_attends=query_attends)
    if query_key == "merged":
        return model, TransformerParams(value=value, query_key=product)
    key = jnp.broadcast_to(jnp.eye(value.shape[-1], dtype=value.dtype), value.shape)
    return model, TransformerParams(value=value, query=product, key=key)
