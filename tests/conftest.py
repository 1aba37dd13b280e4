"""Strict JAX for every test: float64 by default, no silent broadcasting between ranks, CPU unless a test asks for more.

Most of the time of a test goes into compiling programs that run for milliseconds, so that LLVM optimises them lightly.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import lsa_jax as lsa

MOST_MAPS = 20_000
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}"
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test marked `thinned(k)` that are not slow leave every k-th one, from the first on, and mark the others slow."""
    places: Counter[tuple[str, str]] = Counter()
    for item in items:
        marker = item.get_closest_marker("thinned")
        if marker is not None and item.get_closest_marker("slow") is None:
            test = str(item.path), item.name.partition("[")[0]
            if places[test] % marker.args[0]:
                item.add_marker(pytest.mark.slow)
            places[test] += 1


@pytest.fixture(autouse=True, scope="module")
def _few_memory_maps() -> Iterator[None]:
    """Forget compiled programs before they hold more memory maps than Linux grants a process (65530), which ends it."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


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
