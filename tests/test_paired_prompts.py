"""Models and baselines of a sweep meet the same prompts: both are computed again, by numpy alone, from prompts drawn with the same keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import depth_oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lsa_jax as lsa
from lsa_jax import experiment, prompts, store

SEED, COUNT, NOISE_STD, PENALTY = 3, 200, 0.1**0.5, 0.2
NUMBERS = (0, 1, 4)
SPEC: dict[str, Any] = {
    "dim": 2,
    "seed": [SEED],
    "model": "transformer",
    "layers": 2,
    "init_std": 0.3,
    "gradient": "sampled",
    "batch_size": 16,
    "steps": 2,
    "regime": "pretrained",
    "evaluation_shots": list(NUMBERS),
    "simulation_prompts": COUNT,
    "baselines": ["ridge"],
    "dtype": "float64",
}
PROBLEM = lsa.LinearRegression(covariance=jnp.eye(2), noise_std=NOISE_STD)
Layers = tuple[np.ndarray, np.ndarray]


def errors_from_grams(key: jax.Array, task: jax.Array, shots: int, layers: Layers) -> Iterator[tuple[float, float]]:
    """Squared errors of the model and of ridge on each prompt, from its Gram matrix."""
    drawn = prompts.sample_gram_prompts(key, PROBLEM, task[:, None], shots, COUNT)
    columns = (np.moveaxis(np.asarray(part), -1, 0) for part in (drawn.gram, drawn.query, drawn.signal))
    for gram, token, signal in zip(*columns, strict=True):
        seen, query = gram - np.outer(token, token), token[1:-1]
        for value, query_key in zip(*layers, strict=True):
            step = np.eye(4) + value[0] @ gram @ query_key[0] / (shots + 1)
            token, gram = step @ token, step @ gram @ step.T
        weights = np.linalg.solve(seen[1:-1, 1:-1] + PENALTY * np.eye(2), seen[1:-1, -1])
        yield (token[-1] - signal) ** 2 + NOISE_STD**2, (query @ weights - signal) ** 2 + NOISE_STD**2


def errors_from_tokens(key: jax.Array, task: jax.Array, shots: int, layers: Layers) -> Iterator[tuple[float, float]]:
    """The same from all tokens, with softmax attention."""
    draw = jax.vmap(lambda place: prompts.sample_prompt(jax.random.fold_in(key, place), PROBLEM, task, shots, max_shots=max(NUMBERS)))
    drawn = draw(jnp.arange(COUNT, dtype=jnp.uint32))
    for padded, target in zip(np.asarray(drawn.tokens), np.asarray(drawn.target), strict=True):
        tokens = padded[[*range(shots), -1]]
        predicted = depth_oracles.loop_transformer(layers[0], layers[1], np.broadcast_to(np.eye(4), layers[1].shape), tokens, softmax=True)
        x, y, query = tokens[:-1, 1:-1], tokens[:-1, -1], tokens[-1, 1:-1]
        weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(2), x.T @ y)
        yield (predicted - target) ** 2, (query @ weights - target) ** 2


@pytest.mark.parametrize(
    ("attention", "errors"), [("linear", errors_from_grams), pytest.param("softmax", errors_from_tokens, marks=pytest.mark.slow)]
)
def test_models_and_baselines_meet_the_same_prompts(attention: str, errors: Any, tmp_path: Path) -> None:
    lsa.run_sweep({**SPEC, "attention": attention}, tmp_path, save_params=True)
    frame = lsa.load(tmp_path).frame.set_index(["metric", "test_task", "regime", "evaluation_shots"])["value"].sort_index()
    arrays = store.load_arrays(next((tmp_path / "params").glob("*.npz")))
    assert arrays is not None
    layers = arrays["value pretrained"][0], arrays["query_key pretrained"][0]
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), experiment.SIMULATION_STREAM), lsa.regimes.PAPER[0].stream)
    for place, shots in enumerate(NUMBERS):
        own = jax.random.fold_in(jax.random.fold_in(key, place), 0)
        model, ridge = np.mean(list(errors(own, jnp.asarray(arrays["target_task"][0]), shots, layers)), axis=0)
        told = frame["simulated_risk", "target"]
        np.testing.assert_allclose([told["pretrained", shots], told["ridge", shots]], [model, ridge], rtol=1e-9)


def test_few_tokens_have_the_gram_matrix_of_all() -> None:
    task = jnp.array([[0.6], [-0.8]])
    for shots in (0, 1, 7):
        few = prompts.sample_compressed_prompts(jax.random.key(1), PROBLEM, task, shots, 50)
        all_of_them = prompts.sample_gram_prompts(jax.random.key(1), PROBLEM, task, shots, 50)
        grams = np.einsum("rib,rjb->ijb", *2 * [np.asarray(few.tokens)])
        np.testing.assert_allclose(grams, all_of_them.gram, rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(few.tokens[-1], all_of_them.query)
        np.testing.assert_array_equal(few.signal, all_of_them.signal)
        assert few.num_tokens == all_of_them.num_tokens == shots + 1
