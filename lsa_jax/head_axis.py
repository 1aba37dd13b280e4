"""Terms of every head and every pair of heads of one layer; a layer of one head has no axis for it, and pays nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class HeadAxis:
    """The first axis of the arrays of several heads, which arrays of one head lack.

    Args:
        exists: whether there is an axis.
    """

    exists: bool

    def each(self, term: Callable[[Any], Any], heads: Any) -> Any:
        """Compute a term of every head.

        Args:
            term: a function of one head.
            heads: the heads.

        Returns:
            The terms, with the axis of heads first.

        Example:
            >>> HeadAxis(True).each(jnp.sum, jnp.ones((2, 3))).tolist(), HeadAxis(False).each(jnp.sum, jnp.ones(3)).tolist()
            ([3.0, 3.0], 3.0)
        """
        return jax.vmap(term)(heads) if self.exists else term(heads)

    def total(self, terms: Any) -> Any:
        """Sum terms over the heads.

        Args:
            terms: what `each` gave.

        Returns:
            The sums.

        Example:
            >>> HeadAxis(True).total(jnp.ones((2, 3))).tolist(), HeadAxis(False).total(jnp.ones(3)).tolist()
            ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
        """
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), terms) if self.exists else terms

    def pairs(self, term: Callable[[Any, Any], Any], heads: Any) -> Any:
        """Compute a term of every ordered pair of heads.

        Args:
            term: a function of two heads.
            heads: the heads.

        Returns:
            The terms, with the axis of the first head first and that of the second next.

        Example:
            >>> HeadAxis(True).pairs(jnp.subtract, jnp.arange(2.0)).tolist(), HeadAxis(False).pairs(jnp.add, jnp.ones(())).tolist()
            ([[0.0, -1.0], [1.0, 0.0]], 2.0)
        """
        return self.each(lambda head: self.each(lambda other: term(head, other), heads), heads)

    def mirrored(self, terms: Any) -> Any:
        """Exchange the two heads of every pair.

        Args:
            terms: what `pairs` gave.

        Returns:
            The terms of the exchanged pairs.

        Example:
            >>> HeadAxis(True).mirrored(jnp.array([[0.0, 1.0], [2.0, 3.0]])).tolist()
            [[0.0, 2.0], [1.0, 3.0]]
        """
        return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), terms) if self.exists else terms

    def own(self, terms: Any) -> Any:
        """Sum the terms of every head with itself.

        Args:
            terms: what `pairs` gave.

        Returns:
            The sums.

        Example:
            >>> HeadAxis(True).own(jnp.array([[0.0, 1.0], [2.0, 3.0]])).tolist()
            3.0
        """
        return jax.tree.map(jnp.trace, terms) if self.exists else terms
