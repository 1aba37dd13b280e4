"""Low-rank adapters on chosen projections: qwix's LoRA with PEFT's initialisation, in float32 on a base of any type."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import qwix
from flax import nnx
from jax.typing import DTypeLike

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.lm import forward
from lsa_jax.lm.families import Config, Decoder, tensor_shapes
from lsa_jax.lm.settings import FinetuneSettings

TARGETS = {
    "qkv": r".*/attn/[qkv]_proj",
    "qk": r".*/attn/[qk]_proj",
    "q": r".*/attn/q_proj",
    "k": r".*/attn/k_proj",
    "v": r".*/attn/v_proj",
}
"""Regular expressions of the named target sets; any other expression over paths such as `layers/0/attn/q_proj` is taken as it is."""

UNIFORM = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PEFT's initial law of A, uniform within 1/sqrt(fan in)."""


@dataclasses.dataclass(frozen=True)
class Adapter:
    """What is trained.

    Attributes:
        targets: a key of `TARGETS`, or a regular expression over the paths of projections.
        rank: inner size of the adapters.
        alpha: their outputs are multiplied with alpha / rank.
    """

    targets: str = "qkv"
    rank: int = 128
    alpha: float = 256.0

    def __post_init__(self) -> None:
        checks.as_count("rank", self.rank)
        checks.as_scale("alpha", self.alpha, minimum=0.0, zero_allowed=False)

    @property
    def scale(self) -> float:
        """The factor of the adapters' outputs."""
        return self.alpha / self.rank

    def projections(self, config: Config) -> dict[str, tuple[int, int]]:
        """Return the projections that get an adapter.

        Args:
            config: the model.

        Returns:
            Output and input widths by path.

        Raises:
            InputError: if the expression is none, matches no projection, or the rank is larger than one's width.
        """
        every = projections(config)
        try:
            pattern = re.compile(TARGETS.get(self.targets, self.targets))
        except re.error as error:
            raise InputError(f"targets {self.targets!r} is no regular expression ({error}); pass one of {', '.join(TARGETS)}") from None
        chosen = {path: widths for path, widths in every.items() if pattern.fullmatch(path)}
        if not chosen:
            raise InputError(
                f"targets {self.targets!r} matches no projection such as {next(iter(every))}; pass one of {', '.join(TARGETS)}"
            )
        narrowest = min(map(min, chosen.values()))
        if self.rank > narrowest:
            raise InputError(f"rank is {self.rank}; a projection of targets {self.targets!r} has width {narrowest}: take at most that")
        return chosen

    def num_parameters(self, config: Config) -> int:
        """Return the number of trained parameters.

        Args:
            config: the model.

        Returns:
            The number.
        """
        return sum(self.rank * (out + into) for out, into in self.projections(config).values())


def adapter_of(settings: FinetuneSettings) -> Adapter:
    """Return what a run trains."""
    return Adapter(settings.targets, settings.rank, settings.alpha)


def projections(config: Config) -> dict[str, tuple[int, int]]:
    """Return all projections of the decoder layers.

    Args:
        config: the model.

    Returns:
        Output and input widths by path, such as `layers/0/attn/q_proj`.
    """
    found: dict[str, tuple[int, int]] = {}
    for name, shape in tensor_shapes(config).items():
        matched = re.fullmatch(r"model\.layers\.(\d+)\.(self_attn|mlp)\.(\w+_proj)\.weight", name)
        if matched:
            place, part, projection = matched.groups()
            found[f"layers/{place}/{part.removeprefix('self_')}/{projection}"] = (shape[0], shape[1])
    return found


def with_adapter(model: Decoder, adapter: Adapter, seed: int) -> Decoder:
    """Return the model with fresh adapters, which do not change what it computes.

    Args:
        model: the base model; its arrays are shared, not changed.
        adapter: what to train.
        seed: of the initial A; B is zero.

    Returns:
        The model; its `nnx.LoRAParam` are the adapters, in float32.
    """
    paths = "|".join(map(re.escape, adapter.projections(model.config)))
    rule = qwix.LoraRule(
        module_path=paths, rank=adapter.rank, alpha=adapter.alpha, lora_a_initializer=_initial_a, lora_b_initializer=_initial_b
    )
    adapted: Any = qwix.apply_lora_to_model(model, _SameTypeLora([rule]), **model.get_model_input(), rngs=nnx.Rngs(params=seed))
    return adapted


def adapters(model: Decoder) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Return the trained matrices of a model.

    Args:
        model: a model with adapters.

    Returns:
        A, shape (input axes, rank), and B, shape (rank, output axes), by the path of their kernel, such as `layers.0.attn.q_proj.w`.
    """
    found: dict[str, dict[str, jax.Array]] = {}
    for path, value in forward.tensors(model, nnx.LoRAParam).items():
        kernel, _, which = path.rpartition("_lora_")
        found.setdefault(kernel, {})[which] = value
    return {kernel: (pair["a"], pair["b"]) for kernel, pair in found.items()}


class _SameTypeLora(qwix.LoraProvider):
    """qwix's LoRA, computed in the adapters' type, whose sum with the base is returned in the base's type."""

    def einsum(self, einsum_str: str, *operands: Any, **kwargs: Any) -> jax.Array:
        """Compute an attention projection and its adapter."""
        return super().einsum(einsum_str, *operands, **kwargs).astype(jnp.result_type(*operands))

    def dot_general(self, lhs: jax.Array, rhs: jax.Array, *arguments: Any, **kwargs: Any) -> jax.Array:
        """Compute a feed-forward projection and its adapter."""
        return super().dot_general(lhs, rhs, *arguments, **kwargs).astype(jnp.result_type(lhs, rhs))


def _initial_a(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Initial A in float32, whatever the base."""
    return UNIFORM(key, shape, jnp.float32)


def _initial_b(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Initial B in float32, whatever the base."""
    return jnp.zeros(shape, jnp.float32)
