"""The operations of JAX with the batch as last axis: where `jax.vmap` would put it first, or take long to say the same."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import Array

LARGEST_PRODUCT = 10000
"""Multiplications of one matrix product, above which it is left to the matrix-product kernels."""

Value = Any
"""An array, a traced one, or a constant of the program."""

Values = list[Value]
Flags = list[bool]
"""Which values carry the batch as their last axis; the others are shared by all of it."""


def shape_of(variable: Any) -> tuple[int, ...]:
    """Shape of a variable for one element of the batch."""
    return variable.aval.shape


def constant(literal: Any) -> np.ndarray:
    """A constant of a program, of the type it has there."""
    return np.asarray(literal.val, literal.aval.dtype)


def listed(equation: core.JaxprEqn, results: Any) -> Values:
    """The results of an operation as a list, also where there is but one."""
    return list(results) if equation.primitive.multiple_results else [results]


def with_batch(value: Value, flag: bool, size: int) -> Array:
    """The value with the batch as its last axis."""
    return value if flag else _broadcast_to((*jnp.shape(value), size), value, flag)


def one_more_axis(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Values:
    """The results of an operation that means the same with the batch as one more axis; its operands get one shape."""
    shape = (*np.broadcast_shapes(*map(shape_of, equation.invars)), size)
    full = [_broadcast_to(shape, operand, flag) for operand, flag in zip(operands, flags, strict=True)]
    return listed(equation, equation.primitive.bind(*full, **equation.params))


def _broadcast_to(shape: tuple[int, ...], value: Value, flag: bool) -> Value:
    """A value at a shape that ends in the batch."""
    if jnp.shape(value) == shape:
        return value
    end = len(shape) - 1 + flag
    return jax.lax.broadcast_in_dim(value, shape, tuple(range(end - jnp.ndim(value), end)))


def _dot_general(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array | None:
    """A small matrix product as a sum of products along the batch; with a matrix that all share on a CPU one product of two matrices."""
    (contract, batch), output = equation.params["dimension_numbers"], shape_of(equation.outvars[0])
    extents = [shape_of(equation.invars[0])[axis] for axis in contract[0]]
    small = not batch[0] and math.prod(output) * math.prod(extents) <= LARGEST_PRODUCT
    summed = functools.partial(written_out, flags=flags, contract=contract)
    if batch[0] or all(flags):
        return summed(*operands) if small else None
    joined = functools.partial(_joined, equation=equation, flags=flags)
    return jax.lax.platform_dependent(*operands, cpu=joined, default=summed) if small else joined(*operands)


def _joined(left: Value, right: Value, *, equation: core.JaxprEqn, flags: Flags) -> Array:
    """The product with a matrix that the whole batch shares, as one product of two matrices."""
    contract, precision = equation.params["dimension_numbers"][0], equation.params["precision"]
    shared, along, axes = (left, right, contract) if flags[1] else (right, left, contract[::-1])
    product = jax.lax.dot_general(shared, along, (axes, ((), ())), precision=precision)
    free = shared.ndim - len(axes[0])
    return product if flags[1] else jnp.moveaxis(product, range(free), range(product.ndim - 1 - free, product.ndim - 1))


def written_out(left: Value, right: Value, *, flags: Flags, contract: tuple[Sequence[int], Sequence[int]]) -> Array:
    """The product as a sum over the indices that both have, each term along the batch; a matrix that all share is read as it stands."""
    left, right = (operand if flag else operand[..., None] for operand, flag in zip((left, right), flags, strict=True))
    number, free_left, free_right = len(contract[0]), left.ndim - len(contract[0]) - 1, right.ndim - len(contract[0]) - 1
    standing, moving = (0, 1) if flags[1] else (1, 0)
    pairs = sorted(zip(contract[standing], contract[moving], strict=True))
    along, axes = [axis for axis, _ in pairs], [axis for _, axis in pairs]
    if flags[1]:
        right = jnp.expand_dims(jnp.moveaxis(right, axes, range(number)), [axis for axis in range(left.ndim - 1) if axis not in along])
        left = jnp.expand_dims(left, range(left.ndim - 1, left.ndim - 1 + free_right))
        return jnp.sum(left * right, axis=tuple(along))
    left = jnp.moveaxis(left, axes, range(free_left, free_left + number))
    left = jnp.expand_dims(left, [free_left + axis for axis in range(right.ndim - 1) if axis not in along])
    return jnp.sum(left * right[(None,) * free_left], axis=tuple(free_left + axis for axis in along))


def _broadcast_in_dim(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """A broadcast, the batch last."""
    shape, dimensions = equation.params["shape"], equation.params["broadcast_dimensions"]
    return jax.lax.broadcast_in_dim(operands[0], (*shape, size), (*dimensions, len(shape)))


def _reshape(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """A reshape, the batch last."""
    return jnp.reshape(operands[0], (*equation.params["new_sizes"], size))


def _squeeze(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """The removal of axes of size 1 before the batch."""
    return jnp.squeeze(operands[0], equation.params["dimensions"])


def _transpose(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """A transposition that leaves the batch last."""
    permutation = equation.params["permutation"]
    return jnp.transpose(operands[0], (*permutation, len(permutation)))


def _concatenate(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """A concatenation, the batch last."""
    spread = [with_batch(operand, flag, size) for operand, flag in zip(operands, flags, strict=True)]
    return jax.lax.concatenate(spread, equation.params["dimension"])


def _slice(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array:
    """A part of an array, for the whole batch."""
    first, last, steps = (equation.params[name] for name in ("start_indices", "limit_indices", "strides"))
    return jax.lax.slice(operands[0], (*first, 0), (*last, size), None if steps is None else (*steps, 1))


def _pad(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> Array | None:
    """An array with more of the same number around it."""
    return None if flags[1] else jax.lax.pad(*operands, (*equation.params["padding_config"], (0, 0, 0)))


# fmt: off
ONE_MORE_AXIS = {
    "abs", "add", "add_any", "and", "convert_element_type", "copy", "cos", "div", "eq", "erf", "erf_inv", "exp", "expm1", "ge", "gt",
    "integer_pow", "is_finite", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow",
    "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "rem", "rsqrt", "select_n", "shift_left",
    "shift_right_logical", "sign", "sin", "split", "sqrt", "square", "sub", "tanh", "xor",
}
# fmt: on
"""Operations that mean the same with the batch as one more axis, and need no `jax.vmap`, which takes a millisecond each."""

RULES: dict[str, Callable[[core.JaxprEqn, Values, Flags, int], Array | None]] = {
    "dot_general": _dot_general,
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "slice": _slice,
    "pad": _pad,
}
"""Operations for which `jax.vmap` would move the batch to the front."""
