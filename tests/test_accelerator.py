"""A GPU or TPU gives what the CPU gives: exact risks to float32, the same draws, the same trained models. Run with -m accelerator."""

from pathlib import Path

import agreement
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa

pytestmark = pytest.mark.accelerator


@pytest.fixture(autouse=True)
def accelerator() -> jax.Device:
    """The accelerator; without one these tests have nothing to say."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        pytest.skip("no GPU or TPU")
    return device


@pytest.mark.parametrize("dim", [5, 64])
def test_float32_risk_and_gradient_are_the_cpus_in_float64(dim: int) -> None:
    def evaluate(dtype: jnp.dtype) -> tuple[jax.Array, lsa.Params]:
        covariance = lsa.covariances.power_law(dim, 0.5).astype(dtype)
        problem = lsa.LinearRegression(covariance=covariance, noise_std=jnp.asarray(0.3, dtype))
        drawn = lsa.models.LINEAR.init(jax.random.key(0), dim, std=dim**-0.5)
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), drawn)
        task = jnp.ones(dim, dtype) / dim**0.5
        return jax.jit(jax.value_and_grad(lambda params: lsa.population_risk(params, problem, task, 20)))(params)

    found = evaluate(jnp.dtype("float32"))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        expected = evaluate(jnp.dtype("float64"))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * float(jnp.abs(other).max()))


@pytest.mark.parametrize("sampler", ["tokens", "projected"])
def test_simulation_agrees_with_the_exact_risk(sampler: str, problem: lsa.LinearRegression, target_task: jax.Array) -> None:
    params = lsa.optima.pretrained(problem, lsa.SpherePrior(dim=5), num_shots=20)
    found = lsa.empirical_risk(jax.random.key(1), params, problem, target_task, 20, 400_000, sampler=sampler)
    exact = float(lsa.population_risk(params, problem, target_task, 20))
    agreement.assert_agrees(float(found.mean), float(found.standard_error), exact)


def test_draws_are_the_cpus(problem: lsa.LinearRegression, target_task: jax.Array) -> None:
    def draw() -> jax.Array:
        prompt = jax.jit(lambda key: lsa.prompts.sample_prompt(key, problem, target_task, 20))(jax.random.key(2))
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(prompt)])

    found = draw()
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        np.testing.assert_allclose(found, draw(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gradient", ["population", "sampled"])
def test_a_sweep_trains_the_same_models(gradient: str, tmp_path: Path) -> None:
    grid = {"seed": "0:4", "steps": 50, "batch_size": 32, "gradient": gradient, "evaluation_shots": [0, 20], "dtype": "float64"}
    values = []
    for device in ("default", "cpu"):
        lsa.run_sweep(grid, tmp_path / device, device=device)
        values.append(lsa.load(tmp_path / device).dataset["risk"].values)
    np.testing.assert_allclose(*values, rtol=1e-6)
