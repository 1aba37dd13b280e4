"""Standard normals: their law, and that a seed names the same numbers in float32 as in float64."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lsa_jax as lsa
from lsa_jax import covariances, normals, prompts, threefry
from lsa_jax.normals import standard_normals

KEY = jax.random.key(3)


def problem(dtype: type) -> lsa.LinearRegression:
    """A problem of a floating type."""
    return lsa.LinearRegression(covariance=covariances.power_law(3, 1.0).astype(dtype), noise_std=jnp.asarray(0.5, dtype))


DRAWS: dict[str, Callable[[type], object]] = {
    "normals": lambda dtype: standard_normals(KEY, (4, 5), dtype),
    "tasks on a sphere": lambda dtype: prompts.sample_tasks(KEY, lsa.SpherePrior(dim=3, radius=jnp.asarray(2, dtype)), 100),
    "gaussian tasks": lambda dtype: prompts.sample_tasks(
        KEY, lsa.GaussianPrior(mean=jnp.ones(3, dtype), covariance=jnp.eye(3, dtype=dtype)), 100
    ),
    "rotation": lambda dtype: covariances.rotated(KEY, covariances.power_law(6, 1.0).astype(dtype)),
    "prompt": lambda dtype: prompts.sample_prompt(KEY, problem(dtype), jnp.ones(3, dtype), 20),
    "pool": lambda dtype: prompts.sample_pool(KEY, problem(dtype), jnp.ones(3, dtype), 100),
}


@pytest.mark.thinned(4)
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("x64", [True, False])
def test_float32_draws_are_those_of_float64_rounded(name: str, x64: bool) -> None:
    double = DRAWS[name](jnp.float64)
    with jax.enable_x64(x64):
        single = DRAWS[name](jnp.float32)
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, np.asarray(other), rtol=2e-4, atol=5e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_named_covariances_and_target_tasks_do_not_depend_on_the_floating_type(seed: int) -> None:
    def named() -> list[np.ndarray]:
        task = prompts.sample_task(jax.random.fold_in(jax.random.key(seed), 1), lsa.SpherePrior(dim=5))
        return [np.asarray(task), np.asarray(covariances.from_text("rotated:power_law:1", 5))]

    double = named()
    with jax.enable_x64(False):
        single = named()
    for one, other in zip(single, double, strict=True):
        assert (one.dtype, other.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(one, other, atol=5e-6)


def test_draws_in_float64_are_those_of_jax() -> None:
    np.testing.assert_array_equal(standard_normals(KEY, (3, 4), jnp.float64), jax.random.normal(KEY, (3, 4), jnp.float64))
    spectrum = jnp.diag(jnp.arange(1.0, 5.0))
    rotation = jax.random.orthogonal(KEY, 4)
    np.testing.assert_allclose(covariances.rotated(KEY, spectrum), rotation @ spectrum @ rotation.T, rtol=1e-13, atol=1e-14)


def test_draws_in_float32_are_standard_normal() -> None:
    drawn = np.asarray(standard_normals(KEY, (400_000,), jnp.float32), np.float64)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert stats.kstest(1.02 * drawn, "norm").pvalue < 1e-3, "a law 2 % wider would have passed"
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / 400_000**0.5


def test_the_most_extreme_bits_give_finite_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    words = jnp.array([0, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr(normals, "random_words", lambda key, size: (words, words))
    low, high = np.asarray(standard_normals(KEY, (2,), jnp.float32))
    assert low == -high
    assert 5 < high < 6


def on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose what is done where the processor is not a CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.mark.parametrize("shape", [(), (1,), (3, 7), (50_000,)])
def test_the_bits_of_a_cpu_are_those_of_jax(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    size = int(np.prod(shape))
    drawn = threefry.random_words(KEY, size)
    least = float(np.nextafter(np.float32(-1), np.float32(0)))
    numbers = threefry.uniforms(KEY, shape, jnp.float32, least)
    np.testing.assert_array_equal(numbers, jax.random.uniform(KEY, shape, jnp.float32, least, 1.0))
    wide = (np.asarray(drawn[0], np.uint64) << np.uint64(32)) | np.asarray(drawn[1], np.uint64)
    np.testing.assert_array_equal(wide, jax.random.bits(KEY, (size,), jnp.uint64))
    on_an_accelerator(monkeypatch)
    np.testing.assert_array_equal(threefry.random_words(KEY, size), drawn)
    np.testing.assert_array_equal(threefry.uniforms(KEY, shape, jnp.float32, least), numbers)


def test_keys_of_another_kind_are_drawn_from_as_jax_does() -> None:
    key = jax.random.key(0, impl="rbg")
    np.testing.assert_array_equal(standard_normals(key, (5,), jnp.float32), jax.random.normal(key, (5,), jnp.float32))
    np.testing.assert_array_equal(threefry.uniforms(key, (5,), jnp.float32, 0.5), jax.random.uniform(key, (5,), jnp.float32, 0.5, 1.0))
