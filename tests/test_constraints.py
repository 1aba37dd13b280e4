"""The projector of stage 2 of regime (d): its rank, whatever the covariance, its units, the type and the batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import objectives
from lsa_jax.constraints import argmin_projector, batches_for

DIM = 4


def projector(problem: lsa.LinearRegression, query_key: jax.Array, batch_size: int | None = None) -> np.ndarray:
    """The matrix that stage 2 multiplies updates of the last row of V with."""
    dtype, dim = query_key.dtype, problem.dim
    task = jnp.ones(dim, dtype)
    risk: Any = objectives.population_gradient(problem, task) if batch_size is None else objectives.fresh_prompts(problem, task, batch_size)
    params = lsa.Params(value=jnp.eye(dim + 2, dtype=dtype), query_key=query_key)
    batches = 1 if batch_size is None else batches_for(batch_size, dim + 2)
    zero_shot = lambda key, params: risk(key, params, 0)  # noqa: E731
    return np.asarray(jax.jit(lambda: argmin_projector(jax.random.key(0), zero_shot, params, lsa.models.LINEAR, "value", batches))())


def setting(unit: float, dtype: type) -> tuple[lsa.LinearRegression, jax.Array, jax.Array]:
    """A correlated problem in some unit, a query-key matrix in it, and the same made antisymmetric where the query meets itself."""
    covariance = lsa.covariances.rotated(jax.random.key(1), lsa.covariances.power_law(DIM, 2.0))
    problem = lsa.LinearRegression(covariance=(unit**2 * covariance).astype(dtype), noise_std=jnp.asarray(0.3, dtype))
    entries = jax.random.normal(jax.random.key(2), (DIM + 2, DIM + 2))
    scale = jnp.ones(DIM + 2).at[1:-1].set(1 / unit)
    general, antisymmetric = (matrix * jnp.outer(scale, scale) for matrix in (entries, entries - entries.T))
    return problem, general.astype(dtype), antisymmetric.astype(dtype)


@pytest.mark.thinned(5)
@pytest.mark.parametrize("batch_size", [None, 1, 64])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("unit", [1e-2, 1.0])
def test_projector_frees_the_label_alone_unless_no_zero_shot_prediction_is_possible(
    unit: float, dtype: type, batch_size: int | None
) -> None:
    problem, general, antisymmetric = setting(unit, dtype)
    tolerance = 1e-4 if dtype == jnp.float32 else 1e-9
    np.testing.assert_allclose(projector(problem, general, batch_size), np.diag([0.0] * (DIM + 1) + [1.0]), atol=tolerance)
    np.testing.assert_allclose(projector(problem, antisymmetric, batch_size), np.eye(DIM + 2), atol=tolerance)


def test_a_small_symmetric_part_is_seen_beside_a_large_antisymmetric_one() -> None:
    problem, general, antisymmetric = setting(1.0, jnp.float32)
    found = projector(problem, antisymmetric + 1e-3 * general)
    np.testing.assert_allclose(found, np.diag([0.0] * (DIM + 1) + [1.0]), atol=1e-4)


@pytest.mark.slow
def test_single_prompts_suffice_in_many_dimensions() -> None:
    problem = lsa.LinearRegression(covariance=jnp.eye(80), noise_std=0.3)
    query_key = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=80), 100).query_key
    np.testing.assert_allclose(projector(problem, query_key, 1), np.diag([0.0] * 81 + [1.0]), atol=1e-9)
