"""Strict JAX for every test: float64 by default, no silent broadcasting between ranks, CPU unless a test asks for more.

Programs that several tests, workers or commands compile are compiled once: they share a compilation cache that lasts as long as the run.
"""

import os
import shutil
import tempfile

import jax
import pytest

import lsa_jax as lsa

CACHE = "JAX_COMPILATION_CACHE_DIR"
SHARED_BY = "LSA_JAX_TESTS_STARTED_BY"

if CACHE not in os.environ:
    os.environ |= {CACHE: tempfile.mkdtemp(prefix="lsa-jax-tests-"), SHARED_BY: str(os.getpid())}
jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_unconfigure() -> None:
    """Remove the cache that this process began."""
    if os.environ.get(SHARED_BY) == str(os.getpid()):
        shutil.rmtree(os.environ[CACHE], ignore_errors=True)


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
