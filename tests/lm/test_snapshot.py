"""Local snapshots: the same logits as transformers', and one clear line for whatever is wrong with the files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qwen
from safetensors.numpy import load_file, save_file

from lsa_jax.errors import InputError
from lsa_jax.lm import snapshot, tiny
from lsa_jax.lm.families import FAMILIES

LOUD: dict[str, Any] = {"scale": 3.0, "embedding_std": 0.3, "bias_std": 0.3, "norm_std": 0.3}
"""Weights that give logits of a scale of about 7."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_snapshot(tmp_path_factory.mktemp("snapshot") / "sound", 0, num_shards=2, **LOUD)


KINDS = {"tied": {"tied": True}, "untied": {"tied": False, "head_dim": 24}, "sharded": {"tied": False, "num_shards": 3}}


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padded", [False, True], ids=["plain", "left-padded"])
def test_logits_are_those_of_transformers(tmp_path: Path, model_type: str, kind: str, padded: bool) -> None:
    base = float(FAMILIES[model_type].rope_theta or 3e4)
    tiny.write_snapshot(tmp_path, 1, model_type=model_type, rope_theta=base, **LOUD, **KINDS[kind])
    tokens, mask = qwen.random_tokens(2, (3, 12)), np.ones((3, 12), bool)
    if padded:
        mask[1, :4] = mask[2, :7] = False
    ours, theirs = qwen.our_logits(snapshot.load(tmp_path).model, tokens, mask), qwen.their_logits(tmp_path, tokens, mask)
    assert np.abs(theirs[mask]).max() > 5
    np.testing.assert_allclose(ours[mask], theirs[mask], atol=1e-4, rtol=0)


def test_new_spelling_of_the_rotary_base_is_read(tmp_path: Path) -> None:
    tiny.write_snapshot(tmp_path, 1, rope_theta=123.0, **LOUD)
    before = snapshot.load(tmp_path).config
    content = json.loads((tmp_path / "config.json").read_text())
    content["rope_parameters"] = {"rope_theta": content.pop("rope_theta"), "rope_type": "default"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert snapshot.load(tmp_path).config == before
    assert before.rope_theta == 123


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def change_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = min(folder.glob("*.safetensors"))
        save_file(change(load_file(path)), path)

    return changed


def change_index(weight_map: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return change


def make_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def truncate(folder: Path) -> None:
    path = min(folder.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])


def duplicate(folder: Path) -> None:
    (folder / "more.safetensors").write_bytes(min(folder.glob("*.safetensors")).read_bytes())


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json; pass the folder of a complete"),
    "config no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json is no JSON .*copy it again"),
    "config nested": (lambda folder: (folder / "config.json").write_text("[" * 10**5), "config.json is no JSON .*copy it again"),
    "architecture": (
        change_config(architectures=["MistralForCausalLM"], model_type="mistral"),
        "describes MistralForCausalLM; only Qwen2ForCausalLM, LlamaForCausalLM and Qwen3ForCausalLM are supported",
    ),
    "architecture of another type": (change_config(model_type="llama"), "describes Qwen2ForCausalLM; only"),
    "biases that Llama has not": (
        change_config(architectures=["LlamaForCausalLM"], model_type="llama"),
        r"has the tensor model.layers.0.self_attn.k_proj.bias, which config.json knows nothing of",
    ),
    "Llama with biases": (
        change_config(architectures=None, model_type="llama", attention_bias=True),
        "this value of attention_bias is not implemented",
    ),
    "rope scaling": (change_config(rope_scaling={"type": "yarn", "factor": 4.0}), "this value of rope_type is not implemented"),
    "sliding window": (change_config(use_sliding_window=True), "this value of use_sliding_window is not implemented"),
    "no size": (change_config(hidden_size=None), "hidden_size is None; it must be a positive whole number"),
    "sizes do not divide": (change_config(num_attention_heads=7), "do not divide each other"),
    "heads of another width": (change_config(head_dim=32), r"q_proj.weight has shape \(64, 64\), config.json says \(128, 64\)"),
    "heads of no width": (change_config(head_dim="16"), "head_dim is '16'; it must be a positive whole number"),
    "heads of odd width": (change_config(head_dim=15), "heads are 15 wide, which must be even"),
    "Qwen3 of another base": (
        change_config(architectures=None, model_type="qwen3"),
        "rope_theta is 10000; Qwen3ForCausalLM takes 1000000 only: take another model",
    ),
    "Qwen3 without norms of heads": (
        change_config(architectures=None, model_type="qwen3", rope_theta=1e6),
        r"has no tensor model.layers.0.self_attn.k_norm.weight \(4 missing\)",
    ),
    "quantised": (change_config(quantization_config={"quant_method": "awq"}), "describes quantised weights"),
    "scaling a text": (change_config(rope_scaling="yarn"), "rope_scaling is 'yarn'; it must be an object or null"),
    "no norm": (change_config(rms_norm_eps=None), "rms_norm_eps is None; it must be a number above 0"),
    "norm a text": (change_config(rms_norm_eps="1e-6"), "rms_norm_eps is '1e-6'; it must be a number above 0"),
    "tied a text": (change_config(tie_word_embeddings="yes"), "this value of tie_word_embeddings"),
    "base no number": (change_config(rope_theta=float("nan")), "rope_theta is nan; it must be a number above 1"),
    "architectures an object": (change_config(architectures={"a": 1}), "describes {'a': 1}; only Qwen2ForCausalLM"),
    "weight map a list": (change_index([]), "index.json has no weight_map from tensors to files"),
    "weight map null": (change_index(None), "index.json has no weight_map from tensors to files"),
    "fewer layers": (change_config(num_hidden_layers=1), r"has the tensor model.layers.1.* which config.json knows nothing of"),
    "an adapter": (make_adapter, "holds an adapter .*pass the snapshot of the model it was trained on"),
    "a weight no number": (
        change_tensors(lambda tensors: {name: np.full_like(one, np.nan) for name, one in tensors.items()}),
        "has NaN, infinity or a number too large to be squared in ",
    ),
    "no base": (change_config(rope_theta=None), "rope_theta is None; it must be a number above 1"),
    "other sizes": (change_config(intermediate_size=256), r"has shape \(128, 64\), config.json says \(256, 64\)"),
    "more layers": (change_config(num_hidden_layers=3), r"has no tensor model.layers.2.* \(12 missing\)"),
    "no weights": (
        lambda folder: [path.unlink() for path in folder.glob("*.safetensors")],
        r"has no \*.safetensors; pass the folder of a complete",
    ),
    "a shard missing": (
        lambda folder: min(folder.glob("*.safetensors")).unlink(),
        "has no model-00001-of-00002.safetensors, which .* names",
    ),
    "a shard cut short": (truncate, "is no readable safetensors file .*copy it again"),
    "a tensor twice": (duplicate, "is in more.safetensors and in another file"),
    "another type": (
        change_tensors(lambda tensors: {name: one.astype(np.float64) for name, one in tensors.items()}),
        "holds tensors of type F64; all must be of one of F32, BF16, F16",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_one_clear_line(tmp_path: Path, name: str) -> None:
    spoil, message = WRONG[name]
    spoil(tiny.write_snapshot(tmp_path, 0, num_shards=2))
    with pytest.raises(InputError, match=message) as caught:
        snapshot.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_sees_weights_configuration_and_tokenizer(tmp_path: Path) -> None:
    folders = [tiny.write_snapshot(tmp_path / str(number), 0) for number in range(4)]
    same, weights, config, template = folders
    change_tensors(lambda tensors: {name: one + 1 for name, one in tensors.items()})(weights)
    change_config(rope_theta=99.0)(config)
    (template / "chat_template.jinja").write_text("")
    assert len({snapshot.fingerprint(folder) for folder in folders}) == 4
    shutil.copytree(same, tmp_path / "elsewhere")
    assert snapshot.fingerprint(tmp_path / "elsewhere") == snapshot.fingerprint(same)


def test_missing_folder_and_unknown_type_are_one_clear_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        snapshot.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"unknown dtype 'float23'; .*Did you mean 'float32'\?"):
        snapshot.load(folder, dtype="float23")


def test_an_extra_tied_head_is_ignored(tmp_path: Path) -> None:
    tiny.write_snapshot(tmp_path, 0, **LOUD)
    before = qwen.our_logits(snapshot.load(tmp_path).model, qwen.random_tokens(0, (1, 5)))
    change_tensors(lambda tensors: {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]})(tmp_path)
    np.testing.assert_array_equal(qwen.our_logits(snapshot.load(tmp_path).model, qwen.random_tokens(0, (1, 5))), before)
