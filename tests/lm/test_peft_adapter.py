"""Adapters in PEFT's format against PEFT itself: written here and read there, written there and read here, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qwen
from safetensors.numpy import load_file, save_file
from test_lora import ALPHA, RANK, adapted

from lsa_jax.errors import InputError
from lsa_jax.lm import lora, peft_adapter, snapshot, tiny
from lsa_jax.lm.forward import DivergedError

ONE_LAYER = "layers/1/attn/[ov]_proj|layers/0/mlp/down_proj"
TOKENS = qwen.random_tokens(1, (2, 9))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> snapshot.Snapshot:
    return snapshot.load(tiny.write_snapshot(tmp_path_factory.mktemp("peft") / "base", 0, scale=3.0, embedding_std=0.3, bias_std=0.3))


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> snapshot.Snapshot:
    sizes: dict[str, Any] = {"model_type": "qwen3", "rope_theta": 1e6, "head_dim": 24, "tied": False, "norm_std": 0.3}
    return snapshot.load(tiny.write_snapshot(tmp_path_factory.mktemp("peft") / "qwen3", 0, scale=3.0, embedding_std=0.3, **sizes))


def theirs(base: Path) -> Any:
    """The base model in transformers."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")


@pytest.mark.parametrize(
    ("name", "targets"), [("base", "qkv"), ("base", "v"), ("base", ".*"), ("base", ONE_LAYER), ("qwen3", "qkv"), ("qwen3", ".*")]
)
def test_what_is_written_here_peft_reads(request: pytest.FixtureRequest, name: str, targets: str, tmp_path: Path) -> None:
    peft, base = pytest.importorskip("peft"), request.getfixturevalue(name)
    model, adapter = adapted(base, targets)
    folder = peft_adapter.save(model, adapter, base.path, tmp_path / "adapter")
    ours = qwen.our_logits(model, TOKENS)
    assert np.abs(ours - qwen.our_logits(base.model, TOKENS)).max() > 0.1
    loaded = peft.PeftModel.from_pretrained(theirs(base.path), folder)
    np.testing.assert_allclose(ours, qwen.their_logits(loaded, TOKENS), atol=1e-4, rtol=0)
    again = tmp_path / "again"
    loaded.save_pretrained(again)
    before, after = (load_file(one / peft_adapter.WEIGHTS) for one in (folder, again))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])
    back, same = peft_adapter.load(again, base.model)
    assert (same.rank, same.alpha) == (RANK, ALPHA)
    assert same.projections(base.config).keys() == adapter.projections(base.config).keys()
    np.testing.assert_allclose(qwen.our_logits(back, TOKENS), ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "targets"),
    [
        ({"target_modules": ["v_proj"]}, "v"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj"], "use_rslora": True}, "qkv"),
        ({"target_modules": ["down_proj", "o_proj"], "layers_to_transform": [1]}, "layers/1/attn/o_proj|layers/1/mlp/down_proj"),
    ],
)
def test_what_peft_writes_is_read_here(base: snapshot.Snapshot, settings: dict[str, Any], targets: str, tmp_path: Path) -> None:
    peft, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=6, lora_dropout=0.1, init_lora_weights=False, task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(theirs(base.path), config).eval()
    model.save_pretrained(tmp_path / "adapter")
    ours, adapter = peft_adapter.load(tmp_path / "adapter", base.model)
    assert adapter.targets == targets
    expected = qwen.their_logits(model, TOKENS)
    assert np.abs(expected - qwen.their_logits(base.path, TOKENS)).max() > 0.1
    np.testing.assert_allclose(qwen.our_logits(ours, TOKENS), expected, atol=1e-4, rtol=0)


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def change_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        save_file(change(load_file(folder / peft_adapter.WEIGHTS)), folder / peft_adapter.WEIGHTS)

    return changed


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda folder: (folder / "adapter_config.json").unlink(), "has no adapter_config.json"),
    "another kind": (change_config(peft_type="IA3"), "an adapter of type 'IA3'; only LORA is supported"),
    "DoRA": (change_config(use_dora=True), "this value of use_dora is not implemented"),
    "ranks that differ": (change_config(rank_pattern={"q_proj": 2}), "this value of rank_pattern is not implemented"),
    "biases": (change_config(bias="all"), "bias is 'all'; only adapters without trained biases"),
    "rank a text": (change_config(r="4"), "r is '4'; it must be a positive whole number"),
    "alpha nothing": (change_config(lora_alpha=None), "lora_alpha is None; it must be a positive number"),
    "no weights": (lambda folder: (folder / peft_adapter.WEIGHTS).unlink(), "has no adapter_model.safetensors; save the adapter with"),
    "damaged": (lambda folder: (folder / peft_adapter.WEIGHTS).write_bytes(b"?" * 40), "is no readable safetensors file"),
    "no tensor": (change_tensors(lambda tensors: {}), "holds no tensor"),
    "another rank": (change_config(r=2), r"has shape \(4, 64\), wanted is \(2, 64\)"),
    "half of it": (
        change_tensors(lambda tensors: {name: one for name, one in tensors.items() if "lora_A" in name}),
        "lora_B of layers/0/attn/v_proj is missing",
    ),
    "a layer more": (
        change_tensors(lambda tensors: {name.replace("layers.1", "layers.7"): one for name, one in tensors.items()}),
        "has adapters of layers/7/attn/v_proj, which the model has not",
    ),
    "an embedding": (change_tensors(lambda tensors: {**tensors, "embed": np.zeros((2, 2))}), "has the tensor embed, which is no matrix of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_adapters_are_one_clear_line(base: snapshot.Snapshot, tmp_path: Path, name: str) -> None:
    spoil, message = WRONG[name]
    model = lora.with_adapter(base.model, lora.Adapter("v", RANK, ALPHA), 0)
    spoil(peft_adapter.save(model, lora.Adapter("v", RANK, ALPHA), base.path, tmp_path / "adapter"))
    with pytest.raises(InputError, match=message) as caught:
        peft_adapter.load(tmp_path / "adapter", base.model)
    assert "\n" not in str(caught.value)


def test_what_is_no_number_is_not_read_or_written(base: snapshot.Snapshot, tmp_path: Path) -> None:
    model, adapter = adapted(base, "v")
    folder = peft_adapter.save(model, adapter, base.path, tmp_path / "adapter")
    change_tensors(lambda tensors: {name: one * np.nan for name, one in tensors.items()})(folder)
    with pytest.raises(DivergedError, match="has NaN"):
        peft_adapter.load(folder, base.model)
    with pytest.raises(InputError, match="holds something already"):
        peft_adapter.save(model, adapter, base.path, folder)
