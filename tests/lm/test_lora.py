"""Adapters: only the intended tensors train, PEFT computes the same, and merged weights are what transformers loads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwen
import safetensors
from flax import nnx

from lsa_jax.errors import InputError
from lsa_jax.lm import export, finetune, lora, snapshot, tiny
from lsa_jax.lm.families import Decoder
from lsa_jax.lm.forward import DivergedError
from lsa_jax.lm.settings import FinetuneSettings

RANK, ALPHA = 4, 8.0
SETS = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "qk": ("q_proj", "k_proj"),
    "v": ("v_proj",),
    "q": ("q_proj",),
    "k": ("k_proj",),
    ".*/(o|down)_proj": ("o_proj", "down_proj"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> snapshot.Snapshot:
    return snapshot.load(tiny.write_snapshot(tmp_path_factory.mktemp("lora") / "base", 0, scale=3.0, embedding_std=0.3))


def adapted(base: snapshot.Snapshot, targets: str, seed: int = 0) -> tuple[Decoder, lora.Adapter]:
    """The base with random adapters, A and B both."""
    adapter = lora.Adapter(targets, RANK, ALPHA)
    model = lora.with_adapter(base.model, adapter, seed)
    rng = np.random.default_rng(seed)
    state = nnx.state(model, nnx.LoRAParam)
    nnx.update(model, jax.tree.map(lambda value: jnp.asarray(rng.normal(size=value.shape) * 0.1, jnp.float32), state))
    return model, adapter


@pytest.mark.parametrize("targets", SETS)
def test_only_the_intended_tensors_change(base: snapshot.Snapshot, targets: str, tmp_path: Path) -> None:
    adapter = lora.Adapter(targets, RANK, ALPHA)
    model = lora.with_adapter(base.model, adapter, 0)
    tokens = qwen.random_tokens(1, (2, 9))
    np.testing.assert_array_equal(qwen.our_logits(model, tokens), qwen.our_logits(base.model, tokens))
    before = export.merged(model)
    training = FinetuneSettings(epochs=1, steps=3, learning_rate=1e-2, checkpoint_every=3, max_length=16)
    assert finetune.finetune(model, qwen.random_steps(0, 3, 2), training, tmp_path) == 3
    after = export.merged(model, adapter)
    changed = {name for name, value in after.items() if not np.array_equal(value, before[name])}
    assert changed == {name for name in before if name.split(".")[-2] in SETS[targets] and name.endswith("weight")}
    for name, value in export.merged(model).items():
        np.testing.assert_array_equal(value, before[name])
    trained = sum(value.size for value in jax.tree.leaves(nnx.state(model, nnx.LoRAParam)))
    assert trained == adapter.num_parameters(base.config)


def test_initial_adapters_follow_the_law_of_peft_in_float32() -> None:
    width, rank = 256, 64
    drawn = np.asarray(lora.UNIFORM(jax.random.key(0), (width, rank), jnp.float32))
    assert np.abs(drawn).max() <= width**-0.5
    np.testing.assert_allclose(drawn.std(), (3 * width) ** -0.5, rtol=0.02)


def test_adapters_of_a_bfloat16_base_are_float32(base: snapshot.Snapshot) -> None:
    half = snapshot.load(base.path, dtype="bfloat16").model
    model = lora.with_adapter(half, lora.Adapter("qkv", RANK, ALPHA), 0)
    assert {value.dtype for value in jax.tree.leaves(nnx.state(model, nnx.LoRAParam))} == {jnp.dtype(jnp.float32)}
    tokens = qwen.random_tokens(1, (2, 9))
    np.testing.assert_array_equal(qwen.our_logits(model, tokens), qwen.our_logits(half, tokens))
    error = qwen.our_logits(half, tokens) - qwen.our_logits(base.model, tokens)
    assert 0 < np.sqrt(np.mean(error**2)) < 0.1


@pytest.mark.parametrize("targets", ["qkv", ".*"])
def test_forward_is_that_of_peft(base: snapshot.Snapshot, targets: str) -> None:
    peft, torch, transformers = (pytest.importorskip(name) for name in ("peft", "torch", "transformers"))
    model, adapter = adapted(base, targets)
    names = sorted({path.rsplit("/", 1)[1] for path in adapter.projections(base.config)})
    theirs = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32),
        peft.LoraConfig(r=RANK, lora_alpha=int(ALPHA), lora_dropout=0.0, target_modules=names, bias="none"),
    )
    modules = dict(theirs.named_modules())
    for kernel, (inner, outer) in lora.adapters(model).items():
        _, place, part, projection, _ = kernel.split(".")
        module = modules[f"base_model.model.model.layers.{place}.{part.replace('attn', 'self_attn')}.{projection}"]
        module.lora_A["default"].weight.data = torch.tensor(np.asarray(inner).reshape(-1, RANK).T.copy())
        module.lora_B["default"].weight.data = torch.tensor(np.asarray(outer).reshape(RANK, -1).T.copy())
    tokens = qwen.random_tokens(1, (2, 9))
    ours = qwen.our_logits(model, tokens)
    assert np.abs(ours - qwen.our_logits(base.model, tokens)).max() > 0.5
    np.testing.assert_allclose(ours, qwen.their_logits(theirs, tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("targets", ["qkv", ".*"])
def test_merged_export_is_loaded_by_transformers_and_by_us(base: snapshot.Snapshot, targets: str, tmp_path: Path) -> None:
    model, adapter = adapted(base, targets)
    tokens = qwen.random_tokens(1, (2, 9))
    ours = qwen.our_logits(model, tokens)
    folder = export.export(base.path, tmp_path / "merged", export.merged(model, adapter))
    np.testing.assert_allclose(ours, qwen.our_logits(snapshot.load(folder).model, tokens), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="holds something already; choose another --out"):
        export.export(base.path, folder, export.merged(model, adapter))
    np.testing.assert_allclose(ours, qwen.their_logits(folder, tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("model_type", ["llama", "qwen3"])
def test_models_without_biases_are_adapted_and_exported(tmp_path: Path, model_type: str) -> None:
    sizes: dict[str, Any] = {"rope_theta": 1e6, "head_dim": 24, "scale": 3.0, "embedding_std": 0.3, "norm_std": 0.3}
    source = snapshot.load(tiny.write_snapshot(tmp_path / "base", 0, model_type=model_type, **sizes))
    model, adapter = adapted(source, "qkv")
    tokens = qwen.random_tokens(1, (2, 9))
    folder = export.export(source.path, tmp_path / "merged", export.merged(model, adapter))
    with safetensors.safe_open(folder / snapshot.WEIGHTS, framework="numpy") as file:
        assert not any(name.endswith("bias") for name in file.keys())  # noqa: SIM118, the file is no mapping
    ours = qwen.our_logits(model, tokens)
    assert np.abs(ours - qwen.our_logits(source.model, tokens)).max() > 0.5
    np.testing.assert_allclose(ours, qwen.their_logits(folder, tokens), atol=1e-4, rtol=0)


def test_a_full_disk_is_one_line(base: snapshot.Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(export, "save_file", full)
    with pytest.raises(OSError, match=r"model\.safetensors cannot be written .*No space left.*free some space"):
        export.export(base.path, tmp_path / "merged", export.merged(base.model))
    assert not list((tmp_path / "merged").glob("*.safetensors"))


def test_what_is_no_number_is_not_exported(base: snapshot.Snapshot, tmp_path: Path) -> None:
    tensors = export.merged(base.model)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * np.nan
    with pytest.raises(DivergedError, match=r"model\.norm\.weight of the merged model has NaN, infinity or .*; nothing is written"):
        export.export(base.path, tmp_path / "merged", tensors)
    assert not (tmp_path / "merged").exists()


def test_export_in_bfloat16_keeps_its_type(base: snapshot.Snapshot, tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = export.export(base.path, tmp_path / "half", export.merged(base.model), "bfloat16")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (lambda: lora.Adapter("w_proj"), r"'w_proj' matches no projection such as layers/0/attn/q_proj; pass one of qkv"),
        (lambda: lora.Adapter("("), r"'\(' is no regular expression .*pass one of qkv"),
        (lambda: lora.Adapter("v", 1000), "rank is 1000; a projection of targets 'v' has width 32: take at most that"),
        (lambda: lora.Adapter("v", 0), "rank is 0; it must be a whole number, at least 1"),
        (lambda: lora.Adapter("v", 8, 0.0), "alpha is 0; it must not be zero"),
    ],
)
def test_wrong_adapters_are_one_clear_line(base: snapshot.Snapshot, adapter: Callable[[], lora.Adapter], message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapter().projections(base.config)
