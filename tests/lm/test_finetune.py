"""Fine-tuning: the loss, the batches, and continuation after an interruption, bitwise."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import qwen
from flax import nnx
from tunix.models.qwen2.model import ModelConfig, Qwen2
from tunix.sft import utils

from lsa_jax.errors import InputError
from lsa_jax.lm import batches, checkpoints, finetune, forward, lora, snapshot, tiny
from lsa_jax.lm.batches import Example
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.forward import response_loss
from lsa_jax.lm.settings import FinetuneSettings

ADAPTER = lora.Adapter("qkv", 4, 8.0)
STEPS = qwen.random_steps(0, 6, 4)
SETTINGS = FinetuneSettings(epochs=1, steps=6, batch_size=4, learning_rate=1e-2, checkpoint_every=4, max_length=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_snapshot(tmp_path_factory.mktemp("finetune") / "base", 0, scale=3.0, embedding_std=0.3)


def parameters(model: nnx.Module) -> list[np.ndarray]:
    return [np.asarray(value) for value in jax.tree.leaves(nnx.state(model, nnx.LoRAParam))]


def base_of(model: Decoder) -> dict[str, jax.Array]:
    return {name: one for name, one in forward.tensors(model).items() if "lora" not in name}


def train(folder: Path, run: Path, accumulation: int = 1, stop_after: int | None = None) -> tuple[int, list[np.ndarray]]:
    """Steps made and adapters after six steps, or after as many as are allowed."""
    model = lora.with_adapter(snapshot.load(folder).model, ADAPTER, 0)
    asked = itertools.count()
    settings = dataclasses.replace(SETTINGS, accumulation=accumulation)
    done = finetune.finetune(model, STEPS, settings, run, stop=lambda: stop_after is not None and next(asked) >= stop_after)
    return done, parameters(model)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_an_interrupted_run_goes_on_bitwise(folder: Path, tmp_path: Path, accumulation: int) -> None:
    done, whole = train(folder, tmp_path / "whole", accumulation)
    assert done == 6
    assert checkpoints.steps(tmp_path / "whole") == [4, 6]
    assert train(folder, tmp_path / "parts", accumulation, stop_after=3)[0] == 3
    done, parts = train(folder, tmp_path / "parts", accumulation)
    assert done == 6
    assert checkpoints.steps(tmp_path / "parts") == [3, 4, 6]
    assert checkpoints.planned(tmp_path / "parts", 6, 4) == [4, 6]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    lines = [checkpoints.read_metrics(tmp_path / name / checkpoints.METRICS) for name in ("whole", "parts")]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == [1, 2, 3, 4, 5, 6]


def test_a_run_in_bfloat16_follows_that_in_float32(folder: Path, tmp_path: Path) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        model = lora.with_adapter(snapshot.load(folder, dtype=dtype).model, ADAPTER, 0)
        before = base_of(model)
        assert finetune.finetune(model, STEPS, SETTINGS, tmp_path / dtype) == 6
        losses[dtype] = np.array([line["loss"] for line in checkpoints.read_metrics(tmp_path / dtype / checkpoints.METRICS)])
        after = base_of(model)
        assert {str(one.dtype) for one in after.values()} == {dtype}
        assert all((after[name] == one).all() for name, one in before.items())
        assert {one.dtype for one in parameters(model)} == {np.dtype(np.float32)}
    change = losses["float32"] - losses["float32"][0]
    assert np.abs(change).max() > 0.5
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], atol=0.1)


def test_steps_after_the_last_checkpoint_are_made_again_after_a_crash(folder: Path, tmp_path: Path) -> None:
    _, whole = train(folder, tmp_path)
    shutil.rmtree(tmp_path / checkpoints.FOLDER / "6")
    before = checkpoints.read_metrics(tmp_path / checkpoints.METRICS)
    with (tmp_path / checkpoints.METRICS).open("a") as file:
        file.write('[1]\n{"step": "x", "loss": 1}\n{"step": 7, "lo')
    _, again = train(folder, tmp_path)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert checkpoints.read_metrics(tmp_path / checkpoints.METRICS) == before
    (tmp_path / checkpoints.FOLDER / "6" / checkpoints.WEIGHTS / "_sharding").write_text("{")
    with pytest.raises(InputError, match=r"6 cannot be read .*; delete it and train again from the one before"):
        train(folder, tmp_path)


def test_a_full_disk_is_one_line_and_other_errors_are_not_hidden(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(message: str) -> Callable[..., None]:
        def train(*_: object) -> None:
            raise ValueError(message)

        return train

    monkeypatch.setattr(finetune.PeftTrainer, "train", fails("RESOURCE_EXHAUSTED: writing: No space left on device [source ...]"))
    with pytest.raises(OSError, match=r"cannot be written .*: free some space and run the same command to resume"):
        train(folder, tmp_path)
    monkeypatch.setattr(finetune.PeftTrainer, "train", fails("another"))
    with pytest.raises(ValueError, match="another"):
        train(folder, tmp_path)


def test_accumulated_gradients_are_those_of_the_whole_batch(folder: Path) -> None:
    model = snapshot.load(folder).model
    gradient: Any = nnx.jit(nnx.grad(response_loss))
    with jax.default_matmul_precision("highest"):
        (whole,) = (gradient(model, **one) for one in batches.micro_batches(STEPS[0], 1, 16))
        parts = [gradient(model, **one) for one in batches.micro_batches(STEPS[0], 4, 16)]
    mean = jax.tree.map(lambda *values: sum(values) / 4, *parts)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(mean), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_loss_at_answers_is_that_of_all_logits(folder: Path) -> None:
    model = snapshot.load(folder).model
    (batch,) = batches.micro_batches(STEPS[0], 1, 16)
    tokens, mask = jnp.asarray(batch["tokens"]), jnp.asarray(batch["mask"])
    learned = np.zeros(batch["tokens"].shape, bool)
    for row, one in enumerate(STEPS[0]):
        learned[row, len(one.prompt) : len(one.prompt) + len(one.response)] = True
    with jax.default_matmul_precision("highest"):
        full, _ = model(tokens, utils.build_positions_from_mask(mask), None, utils.make_causal_attn_mask(mask))
        losses = optax.softmax_cross_entropy_with_integer_labels(full[:, :-1], tokens[:, 1:])
        ours = nnx.jit(response_loss)(model, tokens, mask, *(jnp.asarray(batch[name]) for name in ("places", "labels", "weights")))
    np.testing.assert_allclose(ours, np.asarray(losses)[learned[:, 1:]].mean(), rtol=1e-5)


def test_rematerialised_gradients_are_the_plain_ones(folder: Path) -> None:
    (batch,) = batches.micro_batches(STEPS[0], 1, 16)
    found = {}
    for remat in (False, True):
        model = lora.with_adapter(snapshot.load(folder, remat=remat).model, ADAPTER, 0)
        gradient = nnx.grad(response_loss, argnums=nnx.DiffState(0, nnx.LoRAParam))
        found[remat] = jax.tree.leaves(nnx.jit(gradient)(model, **batch))
        assert ("checkpoint" in nnx.jit(gradient).lower(model, **batch).as_text(debug_info=True)) is remat
    for one, other in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_logits_of_other_positions_take_no_memory() -> None:
    """XLA's own count of temporary memory does not grow with the vocabulary beyond the answers' logits."""
    sizes = []
    for vocabulary in (64, 16384):
        settings: dict[str, Any] = {"tokens": jnp.zeros((4, 96), jnp.int32), "mask": jnp.ones((4, 96), bool)}
        answers = {name: jnp.zeros((4, 1), jnp.int32) for name in ("places", "labels")}
        model = wide_model(vocabulary)
        gradient = nnx.jit(nnx.grad(response_loss, argnums=nnx.DiffState(0, nnx.LoRAParam)))
        compiled: Any = gradient.lower(model, **settings, **answers, weights=jnp.ones((4, 1))).compile()
        sizes.append(compiled.compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] - sizes[0] < 4 * 96 * 16384 * 4 / 10


def wide_model(vocabulary: int) -> Any:
    """One layer and a large vocabulary, without files."""
    sizes: dict[str, Any] = {
        "embed_dim": 16,
        "hidden_dim": 16,
        "num_heads": 2,
        "head_dim": 8,
        "num_kv_heads": 1,
        "rope_theta": 100,
        "norm_eps": 1e-6,
    }
    config = ModelConfig(num_layers=1, vocab_size=vocabulary, use_tied_embedding=True, **sizes)
    return lora.with_adapter(Qwen2(config, rngs=nnx.Rngs(0)), lora.Adapter("v", 2, 2.0), 0)


def test_batches_say_where_the_responses_are() -> None:
    (batch,) = batches.micro_batches([Example((5, 6, 7), (8, 9)), Example((1,), (2, 3, 4), (True, False, True))], 1, 16)
    assert batch["tokens"].tolist() == [[5, 6, 7, 8, 9, 0, 0, 0], [1, 2, 3, 4, 0, 0, 0, 0]]
    assert batch["mask"].sum(axis=1).tolist() == [5, 4]
    assert batch["places"].tolist() == [[2, 3, 0], [0, 1, 2]]
    assert batch["labels"].tolist() == [[8, 9, 0], [2, 3, 4]]
    np.testing.assert_allclose(batch["weights"], [[0.25, 0.25, 0.0], [0.25, 0.0, 0.25]])


def test_what_cannot_be_trained_on_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    model = lora.with_adapter(snapshot.load(folder).model, ADAPTER, 0)
    with pytest.raises(InputError, match="has 17 tokens, at most 16 are allowed: raise --max-length"):
        batches.micro_batches([Example((1,) * 16, (2,))], 1, 16)
    with pytest.raises(InputError, match="no prompt or no response"):
        batches.micro_batches([Example((1,), ())], 1, 16)
    with pytest.raises(InputError, match="4 examples, not a multiple of accumulation 3"):
        finetune.finetune(model, STEPS, FinetuneSettings(batch_size=3, accumulation=3), tmp_path / "uneven")
    with pytest.raises(InputError, match="learning_rate is 0; it must not be zero"):
        FinetuneSettings(learning_rate=0.0)
    with pytest.raises(InputError, match="no checkpoint of step 3; it has none yet"):
        checkpoints.restore(tmp_path / "nothing", 3, model)
