"""Strict JAX for every test: float64 by default, no silent broadcasting between ranks, CPU unless a test asks for more."""

import jax
import pytest

import lsa_jax as lsa

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def problem() -> lsa.LinearRegression:
    """The published setting: d = 5, isotropic covariates, noise variance 0.1."""
    return lsa.LinearRegression(covariance=lsa.covariances.isotropic(5), noise_std=0.1**0.5)


@pytest.fixture
def target_task() -> jax.Array:
    """A target task on the unit sphere."""
    return jax.numpy.array([0.6, -0.8, 0.0, 0.0, 0.0])


@pytest.fixture
def pretrained(problem: lsa.LinearRegression) -> lsa.Params:
    """The pretrained optimum of the published setting."""
    return lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
