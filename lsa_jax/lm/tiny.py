"""Small snapshots with random weights, to try everything on without a real model."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lsa_jax import store
from lsa_jax.lm.config import CONFIG, read_config
from lsa_jax.lm.export import write_weights
from lsa_jax.lm.families import FAMILIES, tensor_shapes


def write_snapshot(
    folder: Path,
    seed: int,
    *,
    model_type: str = "qwen2",
    vocab_size: int = 64,
    width: int = 64,
    mlp_width: int = 128,
    num_layers: int = 2,
    num_heads: int = 4,
    num_kv_heads: int = 2,
    head_dim: int | None = None,
    rope_theta: float = 10000.0,
    tied: bool = True,
    num_shards: int = 1,
    scale: float = 1.0,
    embedding_std: float = 0.02,
    bias_std: float = 0.0,
    norm_std: float = 0.0,
    tokenizer: Path | None = None,
) -> Path:
    """Write a random snapshot in float32.

    Kernels are normal with variance scale²/input width.

    Args:
        folder: where; made if it does not exist.
        seed: of the weights.
        model_type: a key of `lsa_jax.lm.families.FAMILIES`.
        vocab_size: number of tokens.
        width: of the residual stream.
        mlp_width: of the feed-forward layers.
        num_layers: number of decoder layers.
        num_heads: query heads.
        num_kv_heads: key-value heads.
        head_dim: width of a head; by default width / num_heads.
        rope_theta: base of the rotary embedding.
        tied: use the embedding as output matrix.
        num_shards: number of weight files.
        scale: factor of the random kernels.
        embedding_std: standard deviation of the embeddings.
        bias_std: standard deviation of the biases, where the model has some.
        norm_std: standard deviation of the norms' weights about one.
        tokenizer: a tokenizer.json to copy in, with a tokenizer_config.json beside it if there is one.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "architectures": [FAMILIES[model_type].architecture],
        "model_type": model_type,
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": mlp_width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "head_dim": head_dim or width // num_heads,
        "rope_theta": rope_theta,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "max_position_embeddings": 4096,
        "use_sliding_window": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    store.save_json(folder / CONFIG, content)
    rng = np.random.default_rng(seed)
    deviations = {"embed_tokens.weight": embedding_std, "bias": bias_std, "norm.weight": norm_std}
    tensors = {name: _initial(rng, name, shape, scale, deviations) for name, shape in tensor_shapes(read_config(folder)).items()}
    write_weights(folder, tensors, num_shards)
    for path in [] if tokenizer is None else [tokenizer, tokenizer.with_name("tokenizer_config.json")]:
        if path == tokenizer or path.exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def _initial(rng: np.random.Generator, name: str, shape: tuple[int, ...], scale: float, deviations: Mapping[str, float]) -> np.ndarray:
    """Initial values of a tensor; a kernel's deviation follows from its width."""
    deviation = next((one for ending, one in deviations.items() if name.endswith(ending)), scale * shape[-1] ** -0.5)
    drawn = rng.normal(scale=deviation, size=shape) if deviation else np.zeros(shape)
    return (drawn + name.endswith("norm.weight")).astype(np.float32)
