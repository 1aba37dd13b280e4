r"""Fronts of value-only fine-tuning in closed form: every remedy is a quadratic in v, and a whole front one eigendecomposition."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from lsa_jax import checks, precision
from lsa_jax.errors import InputError
from lsa_jax.lab.inputs import require_weights
from lsa_jax.lab.remedies import AVERAGING, PATHS
from lsa_jax.objectives import TERMS, Inputs, Term
from lsa_jax.optima.quadratic import derivatives

RANK = 1e-12
"""Eigenvalue, relative to the largest, below which a direction counts as one that neither loss sees."""


def value_front(inputs: Inputs, start: Any, remedy: str | Term, knobs: ArrayLike | Sequence[float]) -> Float[Array, "knobs token"]:
    r"""Compute the last rows of V that a remedy leads to along its knob, exactly.

    With $H_0, g_0$ the Hessian and gradient of the zero-shot error at the start, and $M, g$ those of the remedy's term,
    $v(\lambda) = \hat v - (H_0 + \lambda M)^{+}(g_0 + \lambda g)$; gradient flow stopped at time t is at
    $\hat v - H_0^+(1 - e^{-H_0t})g_0$, and weights averaged with share α of the fine-tuned ones are $\hat v - \alpha H_0^+g_0$.

    **Assumes** a term that is quadratic in V, as all built-in ones are.

    Args:
        inputs: from `exact_inputs` with `train="value"`.
        start: the parameters that fine-tuning starts from, of one head.
        remedy: name of a term in `lsa_jax.objectives.TERMS` or a `Term`; `early_stopping` or `averaging`.
        knobs: weights λ above 0, times from 0 on, or shares from 0 to 1.

    Returns:
        One row a knob.

    Raises:
        ValueError: if the remedy is unknown, the front is empty, or a knob out of range.

    References:
        docs/theory.md, equations (F1) and (F2).

    Example:
        >>> import jax.numpy as jnp, lsa_jax as lsa
        >>> problem, prior = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=0.5), lsa.SpherePrior(dim=2)
        >>> start = lsa.lab.pretrained(problem, prior, 20, gauge="unit")
        >>> inputs = lsa.lab.exact_inputs(problem, prior, jnp.array([1.0, 0.0]), 20, train="value")
        >>> value_front(inputs, start, "averaging", [0.0, 1.0]).round(3).tolist()
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.187, 0.0, 1.0]]
    """
    if inputs.train != "value":
        raise InputError(f"train is {inputs.train!r}; closed-form fronts are those of 'value': make the inputs with train='value'")
    paths = tuple(one.name for one in PATHS)
    if isinstance(remedy, str):
        checks.as_choice("remedy", remedy, (*TERMS, *paths))
    known = require_weights(knobs, largest=1.0 if remedy == AVERAGING else None, zero_allowed=remedy in paths)
    if isinstance(remedy, Term) or remedy in TERMS:
        return _weighted(inputs, start, TERMS[remedy] if isinstance(remedy, str) else remedy, known)
    return _along_path(inputs, start, known, averaging=remedy == AVERAGING)


def curvatures(inputs: Inputs, start: Any, term: Term) -> tuple[Float[Array, " token"], Float[Array, "token token"]]:
    """Return gradient and Hessian of a term in the acting entries of the trainable set, at the start.

    Args:
        inputs: what the term is computed from.
        start: the parameters.
        term: the term.

    Returns:
        Both.
    """
    key = jax.random.key(0)

    @jax.jit
    def at_start(start: Any) -> tuple[Float[Array, " token"], Float[Array, "token token"]]:
        vector, put = inputs.model.acting(start, inputs.train)
        prepared = term.prepare(inputs, key, start)

        def loss(moved: Float[Array, " token"]) -> Float[Array, ""]:
            return term.loss(inputs, key, put(moved), prepared)

        return derivatives(loss, vector)

    with precision.in_force():
        return at_start(start)


def _weighted(inputs: Inputs, start: Any, term: Term, weights: Float[Array, " knobs"]) -> Float[Array, "knobs token"]:
    """Minimisers of the zero-shot error plus a weighted term: both forms are diagonal where their sum is the identity."""
    (slope, bend), (own_slope, own_bend) = (curvatures(inputs, start, one) for one in (TERMS["zero_shot"], term))
    scale = jnp.trace(bend) / jnp.trace(own_bend)
    with precision.in_force():
        spectrum, vectors = jnp.linalg.eigh(bend + scale * own_bend)
        seen = spectrum > RANK * spectrum[-1]
        whitener = vectors * jnp.where(seen, jax.lax.rsqrt(jnp.where(seen, spectrum, 1)), 0)[None]
        shares, rotation = jnp.linalg.eigh(whitener.T @ bend @ whitener)
        basis = whitener @ rotation
        shares, relative = jnp.clip(shares, 0, 1)[None], weights[:, None] / scale
        total = shares + relative * (1 - shares)
        pulls = (basis.T @ slope)[None] + weights[:, None] * (basis.T @ own_slope)[None]
        return inputs.model.acting(start, "value")[0][None] - (pulls / jnp.where(total > 0, total, 1)) @ basis.T


def _along_path(inputs: Inputs, start: Any, knobs: Float[Array, " knobs"], *, averaging: bool) -> Float[Array, "knobs token"]:
    """Gradient flow of the zero-shot error at some times, or shares of the way to its end."""
    slope, bend = curvatures(inputs, start, TERMS["zero_shot"])
    with precision.in_force():
        spectrum, vectors = jnp.linalg.eigh(bend)
        seen = spectrum > RANK * spectrum[-1]
        safe = jnp.where(seen, spectrum, 1)
        gone = knobs[:, None] if averaging else -jnp.expm1(-safe[None] * knobs[:, None])
        moved = jnp.where(seen[None], gone, 0) * (vectors.T @ slope / safe)[None]
        return inputs.model.acting(start, "value")[0][None] - moved @ vectors.T
