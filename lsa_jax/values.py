"""Records of arrays as values: compared by their numbers, and read as trees of axes."""

from typing import Any

import jax
import numpy as np


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
