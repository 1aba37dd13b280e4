"""Records of arrays as values: compared by their numbers, and read as trees of axes."""

import dataclasses
from typing import Any, TypeVar

import jax
import numpy as np

V = TypeVar("V", bound="Record")


class Record:
    """A frozen dataclass of arrays: two are equal if they hold the same numbers, and `replace` makes and checks another."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return same_numbers(self, other)

    def replace(self: V, **changes: Any) -> V:
        """Return the record with other values, checked as new ones are.

        Args:
            changes: the values, by the names that the class takes them by.

        Returns:
            The record.

        Raises:
            ValueError: if a value is refused.

        Example:
            >>> import lsa_jax as lsa
            >>> lsa.SpherePrior(dim=3).replace(radius=2.0) == lsa.SpherePrior(dim=3, radius=2.0)
            True
        """
        return dataclasses.replace(self, **changes)  # ty: ignore[invalid-argument-type]


def are_axes(*values: Any) -> bool:
    """Whether values are axes of `jax.vmap`, some of them None, and no numbers.

    Args:
        values: what a class of this library was given.

    Returns:
        True if each is None or an int, and both occur.

    Example:
        >>> are_axes(0, None), are_axes(0, 0), are_axes(None, 0.1)
        (True, False, False)
    """
    return {type(value) for value in values} == {int, type(None)}


def same_numbers(one: Any, other: object) -> bool:
    """Whether two pytrees are of one class and hold the same numbers, of whatever type; not to be asked of traced ones.

    Args:
        one: the first.
        other: the second.

    Returns:
        True if every leaf has the same shape and entries.

    Example:
        >>> same_numbers((1, np.ones(2)), (1.0, np.ones(2))), same_numbers((1,), [1])
        (True, False)
    """
    if type(one) is not type(other) or jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(np.array_equal(left, right) for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
