"""Optimisers: clipping by the global norm, what it does and what it costs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import objectives, optima, optimizers

GRADIENT = jnp.full((4, 4), 5.0)
NORM = 20.0


def updates(optimizer: Any, *gradients: Any) -> Any:
    """The last update after some gradients."""
    state, update = optimizer.init(gradients[0]), None
    with jax.numpy_dtype_promotion("standard"):
        for gradient in gradients:
            update, state = optimizer.update(gradient, state, gradient)
    return update


@pytest.mark.parametrize(("clip_norm", "factor"), [(0.0, 1.0), (1.0, 1 / NORM), (5.0, 5 / NORM), (30.0, 1.0)])
def test_sgd_clips_by_the_global_norm_unless_it_is_0(clip_norm: float, factor: float) -> None:
    optimizer = optimizers.by_name("sgd", 1.0, 10, "constant", clip_norm)
    np.testing.assert_allclose(updates(optimizer, GRADIENT), -factor * GRADIENT, rtol=1e-12)


def test_published_clipping_is_the_default() -> None:
    for optimizer in (optimizers.sgd(1.0, 10, "constant"), optimizers.by_name("sgd", 1.0, 10, "constant")):
        np.testing.assert_allclose(jnp.sqrt(jnp.sum(updates(optimizer, GRADIENT) ** 2)), 1.0, rtol=1e-12)


def test_adam_sees_the_clipped_gradient() -> None:
    clipped, unclipped = (updates(optimizers.adam(1.0, 10, "constant", clip_norm=norm), GRADIENT, GRADIENT / 100) for norm in (1.0, 0.0))
    assert abs(clipped - unclipped).min() > 0.01


@pytest.mark.parametrize("clip_norm", [-1.0, np.inf, np.nan])
def test_norms_out_of_range_are_refused(clip_norm: float) -> None:
    with pytest.raises(ValueError, match="clip_norm"):
        optimizers.sgd(0.1, 10, clip_norm=clip_norm)


def test_clipped_gradients_do_not_average_to_zero_at_the_minimum(problem: lsa.LinearRegression, pretrained: lsa.Params) -> None:
    task = jnp.array([0.6, -0.8, 0.0, 0.0, 0.0])
    best = optima.value(pretrained, problem, task)
    objective = lsa.regimes.stages("value", objectives.fresh_prompts(problem, task, 16), 20)[0]

    def along(clip_norm: float) -> np.ndarray:
        clip = optimizers.sgd(1.0, 10, "constant", momentum=0.0, clip_norm=clip_norm)

        def step(key: jax.Array) -> jax.Array:
            gradient = jax.grad(
                lambda row: objective.loss(key, best.replace(value=best.value.at[-1].set(row)), jnp.zeros(()), objective.prepare(key, best))
            )(best.value[-1])
            return updates(clip, gradient)[1:-1] @ task

        return np.asarray(jax.jit(jax.vmap(step))(jax.random.split(jax.random.key(0), 20_000)))

    unclipped, clipped = along(0.0), along(1.0)
    error = {name: steps.std() / len(steps) ** 0.5 for name, steps in (("unclipped", unclipped), ("clipped", clipped))}
    assert abs(unclipped.mean()) < 5 * error["unclipped"]
    assert clipped.mean() > 20 * error["clipped"], "clipping pushes v_x beyond its optimum"
