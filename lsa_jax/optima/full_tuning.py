"""Minimisers of the zero-shot error over all parameters, regime (b), and what says which of them gradient descent reaches."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from lsa_jax import checks, precision, whitening
from lsa_jax.errors import InputError
from lsa_jax.params import Params
from lsa_jax.problem import LinearRegression, require_same_dim

LARGEST_SHARE = 0.1
"""Share of the squares of V's last row, or of what zero-shot errors see of Q, that may lie where a pretrained model has zeros."""


def full(
    problem: LinearRegression,
    task: Real[ArrayLike, " dim"],
    scale: ArrayLike | None = None,
    start: Params | None = None,
) -> Params:
    r"""Compute a minimiser over all of V and Q of the zero-shot error of one task, regime (b): error exactly $\sigma^2$.

    The minimisers are two families; this is the member of family (i) with the scale w,

    $$ v = (0, w\theta_0, v_y), \qquad Q_{00} = 1/w, \qquad \mathrm{sym}(Q_{xx}) = 0, \quad Q_{0x} = -Q_{x0}^\top, $$

    whose other entries (those that no zero-shot gradient touches) are those of `start`. It is the family that gradient descent from a
    pretrained model reaches.

    Args:
        problem: covariance of the covariates and label noise.
        task: the target task θ₀, not zero.
        scale: w, not zero; by default the scale that gradient flow from `start` conserves, see `conserved_scale`.
        start: the parameters fine-tuning starts from; by default all zero, which asks for a `scale`.

    Returns:
        The minimiser.

    Raises:
        ValueError: if the task or the scale is zero or not finite, shapes differ, both `scale` and `start` are missing, or the scale is to
            come from a start that is far from pretrained.

    References:
        Lee, Sohn, Lee, arXiv 2602.23197, Theorem 4.3; docs/theory.md, equation (13).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5)
        >>> optimum = lsa.optima.full(problem, jnp.ones(2), scale=0.5)
        >>> float(lsa.population_risk(optimum, problem, jnp.ones(2), num_shots=0))
        0.25
    """
    task = checks.as_task("task", task, problem.dim, zero_allowed=False)
    if scale is None:
        if start is None:
            raise InputError("neither scale nor start is given; give w, or the parameters whose gradient flow fixes it")
        scale = conserved_scale(problem, task, start)
    scale = checks.as_scale("scale", scale, zero_allowed=False).astype(task.dtype)
    if start is None:
        zeros = jnp.zeros((problem.dim + 2, problem.dim + 2), task.dtype)
        start = Params(value=zeros, query_key=zeros)
    require_same_dim(start, problem)
    dtype = jnp.promote_types(start.value.dtype, task.dtype)
    start = Params(value=start.value.astype(dtype), query_key=start.query_key.astype(dtype))
    acting = start.query_key[:-1, :-1]
    block = ((acting - acting.T) / 2).at[0, 0].set(1 / scale)
    return Params(
        value=start.value.at[-1, 0].set(0).at[-1, 1:-1].set(scale * task),
        query_key=start.query_key.at[:-1, :-1].set(block),
    )


def conserved_quantity(params: Params) -> Float[Array, ""]:
    r"""Compute $|v|^2 - \|Q_{\cdot,\neq y}\|_F^2$, which gradient flow on any n-shot error conserves.

    The error does not change under $(cV, Q/c)$; Noether's theorem for that scaling is this quantity. It says which of the minimisers of
    the zero-shot error fine-tuning reaches.

    Args:
        params: V and Q.

    Returns:
        The conserved quantity.

    Raises:
        ValueError: if `params` is a batch of several.

    References:
        docs/theory.md, equation (14).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> float(conserved_quantity(lsa.Params(value=2 * jnp.eye(3), query_key=jnp.eye(3))))
        2.0
    """
    checks.as_single("params", params.batch_shape)
    return jnp.sum(params.value[-1] ** 2) - jnp.sum(params.query_key[:, :-1] ** 2)


def balanced(params: Params, conserved: ArrayLike) -> Params:
    """Rescale $(V, Q)$ to $(cV, Q/c)$, c > 0, so that `conserved_quantity` has the given value; predictions do not change.

    Args:
        params: V and Q, neither zero where it acts.
        conserved: the wanted value of the conserved quantity.

    Returns:
        The rescaled parameters.

    Raises:
        ValueError: if `params` is a batch of several, `conserved` is not a finite scalar, or the acting entries of V or Q are all zero.

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> params = balanced(lsa.Params(value=2 * jnp.eye(3), query_key=jnp.eye(3)), conserved=0.0)
        >>> abs(round(float(conserved_quantity(params)), 5))
        0.0
    """
    checks.as_single("params", params.batch_shape)
    conserved = checks.as_scale("conserved", conserved).astype(params.value.dtype)
    value_square, query_key_square = (
        checks.as_scale(f"squared norm of {name} where it acts", jnp.sum(acting**2), zero_allowed=False)
        for name, acting in (("value", params.value[-1]), ("query_key", params.query_key[:, :-1]))
    )
    factor = jnp.sqrt(_positive_root(value_square, conserved, query_key_square))
    return Params(value=params.value * factor, query_key=params.query_key / factor)


def conserved_scale(problem: LinearRegression, task: Real[ArrayLike, " dim"], start: Params) -> Float[Array, ""]:
    r"""Compute the scale w of the zero-shot minimiser that gradient flow over all parameters reaches from `start`.

    The end point has the form of `full`, and `conserved_quantity` has at it the value it had at `start`:
    $w^2|\theta_0|^2 - w^{-2} = C$, with C the conserved quantity less what the untouched entries add to it. The sign is that of the first
    gradient step from a start with $v_x = 0$.

    **Assumes** a pretrained start, near $v = v_y e_y$ and Q zero except for a symmetric $Q_{xx}$: then the flow keeps to family (i). From
    other starts it may end in family (ii), or in (i) with the other sign. So a start more than a tenth of whose squares lie elsewhere is
    refused.

    Args:
        problem: covariance of the covariates and label noise.
        task: the target task θ₀, not zero.
        start: the parameters fine-tuning starts from.

    Returns:
        The scale w; NaN where a traced start is far from pretrained.

    Raises:
        ValueError: if the task is zero, shapes differ, or the start is far from pretrained.

    References:
        docs/theory.md, equation (14).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem = lsa.LinearRegression(covariance=jnp.eye(5), noise_std=0.1**0.5)
        >>> start = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
        >>> round(float(conserved_scale(problem, jnp.eye(5)[0], start)), 2)
        0.54
    """
    task = checks.as_task("task", task, problem.dim, zero_allowed=False)
    require_same_dim(start, problem)
    elsewhere = _elsewhere(start)
    if checks.concrete(elsewhere) is not None and elsewhere > LARGEST_SHARE:
        told = f"start has {elsewhere:.0%} of its squares outside v_y and the symmetric part of Q_xx"
        raise InputError(f"{told}, and where its flow ends is known for pretrained models only: train it, or give a scale")
    acting = start.query_key[:-1, :-1]
    untouched = start.value[-1, -1] ** 2 - jnp.sum(start.query_key[-1, :-1] ** 2) - jnp.sum(((acting - acting.T) / 2) ** 2)
    square = _positive_root(jnp.sum(task**2), conserved_quantity(start) - untouched, jnp.ones((), task.dtype))
    with precision.in_force():
        form = whitening.whiten(start.acting, problem.root).query_key
        whitened_task = whitening.of_task(task, problem.root).mean
        pull = (form[0, 0] + jnp.trace(form[1:, 1:])) * jnp.sum(whitened_task**2)
        pull += 2 * whitened_task @ form[1:, 1:] @ whitened_task
    return jnp.where(elsewhere > LARGEST_SHARE, jnp.nan, jnp.where(pull < 0, -1, 1) * jnp.sqrt(square))


def _elsewhere(params: Params) -> Float[Array, ""]:
    """The larger share, of V's last row and of what zero-shot errors see of Q, of squares where a pretrained model has zeros."""
    row, form = params.value[-1], (params.query_key + params.query_key.T)[:-1, :-1]
    kept = jnp.stack([row[-1] ** 2, jnp.sum(form[1:, 1:] ** 2)])
    return jnp.max(1 - kept / jnp.stack([jnp.sum(row**2), jnp.sum(form**2)]))


def _positive_root(square: Array, linear: Array, inverse_square: Array) -> Float[Array, ""]:
    """The x > 0 with square x - inverse_square / x = linear, by whichever form does not cancel."""
    root = jnp.sqrt(linear**2 + 4 * square * inverse_square)
    return jnp.where(linear >= 0, (linear + root) / (2 * square), 2 * inverse_square / (root - linear))
