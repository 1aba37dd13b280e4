r"""The empirical Fisher information, squared gradients of the loss on labels as they come, and elastic weight consolidation with it."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lsa_jax.errors import InputError
from lsa_jax.objectives.remedies import pull
from lsa_jax.objectives.risks import drawn_tokens
from lsa_jax.objectives.terms import Inputs, Term

PROMPTS, AT_ONCE = 2**17, 2**10
"""Pretraining prompts over which squared gradients are averaged, and those of them whose gradients are held together."""


def empirical_diagonal(inputs: Inputs, key: Key[Array, ""], start: Any) -> Float[Array, " entries"]:
    r"""Estimate $E[(y - f)^2(\partial_i f)^2]$ over pretraining prompts with their labels, prompt by prompt.

    It is what the squared gradients of $(y - f)^2/2$ come to, where the true Fisher information draws y from the model itself.

    Args:
        inputs: the model, its trainable set, the problem, and the law and shots of the pretraining prompts.
        key: randomness of the prompts, `PROMPTS` of them.
        start: the parameters.

    Returns:
        One number an entry of the trainable set.

    Raises:
        ValueError: if the inputs lack the problem or the prior.

    References:
        Kunstner, Balles, Hennig, arXiv 1905.12558, section 2; docs/theory.md, equation (F7).
    """
    if inputs.problem is None or inputs.prior is None:
        raise InputError("inputs lack the problem or the prior, whose prompts an empirical Fisher information is taken from: give both")
    vector, put = inputs.entries(start)
    draw = drawn_tokens(inputs.problem, inputs.prior, inputs.pretraining_shots, inputs.max_shots)

    def square(prompt_key: Key[Array, ""]) -> Float[Array, " entries"]:
        prompt = draw(prompt_key)

        def predicted(moved: Float[Array, " entries"]) -> Float[Array, ""]:
            return inputs.model.predict(put(moved), prompt.tokens, prompt.num_tokens)

        prediction, slope = jax.value_and_grad(predicted)(vector)
        return ((prompt.target - prediction) * slope) ** 2

    def add(total: Float[Array, " entries"], first: Array) -> tuple[Float[Array, " entries"], None]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(AT_ONCE, dtype=jnp.uint32))
        return total + jnp.sum(jax.vmap(square)(keys), axis=0), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(vector), jnp.arange(0, PROMPTS, AT_ONCE, dtype=jnp.uint32))
    return total / PROMPTS


def _prepared(inputs: Inputs, key: Key[Array, ""], start: Any) -> Any:
    """Where the run starts and the empirical Fisher information there."""
    return jax.lax.stop_gradient((inputs.chosen(start), empirical_diagonal(inputs, key, start)))


EWC_EMPIRICAL = Term("ewc_empirical", pull, _prepared, compares=True)
r"""EWC with squared gradients of the loss on pretraining prompts and their labels in place of the true Fisher information."""
