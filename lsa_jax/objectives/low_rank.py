r"""Low-rank fine-tuning: what is trained is the factors of $W + \frac sr BA$ while W stays, as a trainable set `lora(rank, targets)`."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Key

from lsa_jax.errors import InputError
from lsa_jax.models import Model, mask
from lsa_jax.normals import standard_normals

RANK = "rank"
"""The knob that holds the value of a swept rank."""

SCALE = 2.0
"""Factor s/r before BA, the usual s = 2r."""

Factors = tuple[tuple[Array, Array], ...]
"""B and A of each adapted leaf, in the order of the leaves."""


@dataclasses.dataclass(frozen=True)
class LowRank:
    r"""A trainable set of low rank.

    Args:
        rank: the rank r, from 1 to the width of a token; of a swept one the largest, which factors have room for.
        targets: the trainable set whose matrices get an update of that rank.
        ranks: the values of a swept rank, none otherwise.

    References:
        Hu et al., arXiv 2106.09685, section 4.1.

    Example:
        >>> LowRank.of("lora(2, query_key)").rank, LowRank.of("lora([1, 2, 5])").ranks, LowRank.of("value")
        (2, (1, 2, 5), None)
    """

    rank: int
    targets: str = "all"
    ranks: tuple[int, ...] = ()

    @classmethod
    def of(cls, train: str) -> "LowRank | None":
        """Return the low-rank set of a name such as `lora(2)`, `lora(2, query_key)` or `lora([1, 2], value)`; None for a plain set.

        Args:
            train: name of a trainable set.

        Returns:
            The set or None.

        Raises:
            ValueError: if the name starts with `lora` but does not say a rank, or several different ones, and at most one set.
        """
        if not train.startswith("lora"):
            return None
        match = re.fullmatch(r"lora\(\s*(?:(\d+)|\[([\d\s,]+)\])\s*(?:,\s*([^)]+?)\s*)?\)", train)
        swept = re.findall(r"\d+", match[2] or "") if match else []
        if match is None or len(set(swept)) < len(swept) or (match[2] and not swept):
            written = "lora(rank) or lora(rank, set), such as lora(2, query_key), or with several different ranks lora([1, 2], value)"
            raise InputError(f"trainable set is {train!r}; low rank is written {written}")
        ranks = tuple(map(int, swept))
        return cls(max(ranks) if ranks else int(match[1]), match[3] or "all", ranks)

    def start(self, model: Model, key: Key[Array, ""], params: Any) -> Factors:
        r"""Return the factors a run starts from: B = 0, the entries of A normal with variance one over the width.

        Args:
            model: the model.
            key: randomness.
            params: its parameters.

        Returns:
            The factors.

        Raises:
            ValueError: if the set holds something else than square matrices, or the rank is not from 1 to their width.
        """
        leaves = [(leaf, inside) for leaf, inside in self._leaves(model, params) if np.any(inside)]
        for leaf, _ in leaves:
            width = leaf.shape[-1]
            if leaf.ndim < 2 or leaf.shape[-2] != width:
                raise InputError(f"trainable set {self.targets!r} holds a leaf of shape {leaf.shape}; low rank is for square matrices")
            for rank in self.ranks or (self.rank,):
                if not 1 <= rank <= width:
                    raise InputError(f"rank is {rank}; it must be from 1 to {width}, the width of a token")
        return tuple(self._factors(jax.random.fold_in(key, place), leaf) for place, (leaf, _) in enumerate(leaves))

    def merged(self, model: Model, params: Any, factors: Factors, rank: ArrayLike | None = None) -> Any:
        """Return the parameters with the update added.

        Args:
            model: the model.
            params: the parameters that stay.
            factors: the factors.
            rank: the value of a swept rank: so many columns of B count, and as B starts at 0 no others move. It may be traced.

        Returns:
            The parameters.
        """
        left, moved = iter(factors), []
        inside_rank = True if rank is None else jnp.arange(self.rank) < rank
        for leaf, inside in self._leaves(model, params):
            if np.any(inside):
                up, down = next(left)
                leaf = leaf + SCALE * jnp.where(inside, jnp.where(inside_rank, up, 0) @ down, 0)
            moved.append(leaf)
        return jax.tree.unflatten(jax.tree.structure(params), moved)

    def _leaves(self, model: Model, params: Any) -> list[tuple[Array, Any]]:
        """Each leaf with what of it is in the set."""
        return list(zip(jax.tree.leaves(params), jax.tree.leaves(mask(model, params, self.targets)), strict=True))

    def _factors(self, key: Key[Array, ""], leaf: Array) -> tuple[Array, Array]:
        """B and A of one leaf; the rows of A are drawn so that those of a lower rank come first."""
        *stack, width, _ = leaf.shape
        down = standard_normals(key, (self.rank, *stack, width), leaf.dtype) / width**0.5
        return jnp.zeros((*stack, width, self.rank), leaf.dtype), jnp.moveaxis(down, 0, -2)


def plain_set(train: str) -> str:
    """Return the trainable set that a name means but for the rank.

    Args:
        train: name of a trainable set.

    Returns:
        The plain set.

    Example:
        >>> plain_set("lora(2, query_key)"), plain_set("value")
        ('query_key', 'value')
    """
    adapter = LowRank.of(train)
    return train if adapter is None else adapter.targets
