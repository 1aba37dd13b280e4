"""`vmap` for many small problems: the batch stays the last axis all the way through, so that processors work along it.

`jax.vmap` puts the batch first wherever a matrix product or a broadcast occurs, and then a CPU vectorises over rows of five to ten numbers.
Here the batch is last and contiguous, and small matrix products become sums of products over it; the numbers are the same up to rounding.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from lsa_jax.batching_rules import ONE_MORE_AXIS, RULES, Flags, Value, Values, constant, listed, one_more_axis, shape_of, with_batch

Marked = tuple[Value, bool]
"""A value, and whether the batch is its last axis."""

Known = Mapping[Any, Marked]
"""Values of variables of a program."""

NOTHING: Known = MappingProxyType({})


def vmap_last(function: Callable[..., Any], in_axes: int | Sequence[Any] | None = 0) -> Callable[..., Any]:
    """Vectorise a function like `jax.vmap`, with the batch as the last axis of everything inside; it is first in what goes in and out.

    For whole training runs of small models, inside the library: about 2 times the speed of `jax.vmap` at d = 5 on a CPU, 1.2 times at
    d = 12, none above. The result is not to be differentiated;
    derivatives inside `function` are fine.

    Args:
        function: what to compute for one element.
        in_axes: 0 for arguments to go along, None for those that are shared; for each argument, or for all.

    Returns:
        The function of batches.

    Example:
        >>> vmap_last(lambda matrix, vector: matrix @ vector, (None, 0))(jnp.eye(2), jnp.arange(6.0).reshape(3, 2)).tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """

    def batched(*arguments: Any) -> Any:
        axes = in_axes if isinstance(in_axes, Sequence) else (in_axes,) * len(arguments)
        flags = [axis == 0 for axis, argument in zip(axes, arguments, strict=True) for _ in jax.tree.leaves(argument)]
        leaves, structure = jax.tree.flatten(arguments)
        sizes = {leaf.shape[0] for leaf, flag in zip(leaves, flags, strict=True) if flag}
        if len(sizes) != 1:
            raise ValueError(f"batch sizes are {sorted(sizes)}; all arguments with axis 0 must have the same, and there must be one")
        cells = [jax.eval_shape(lambda leaf: leaf[0], leaf) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        program, shape = jax.make_jaxpr(function, return_shape=True)(*jax.tree.unflatten(structure, cells))
        values = [jnp.moveaxis(leaf, 0, -1) if flag else leaf for leaf, flag in zip(leaves, flags, strict=True)]
        (size,) = sizes
        results, marks = _evaluate(program, values, flags, size)
        spread = [jnp.moveaxis(with_batch(value, mark, size), -1, 0) for value, mark in zip(results, marks, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(shape), spread)

    return batched


def _evaluate(program: core.ClosedJaxpr, values: Values, flags: Flags, size: int, given: Known = NOTHING) -> tuple[Values, Flags]:
    """Evaluate a program, each operation over the whole batch, but for the variables that are given."""
    known = dict(given)
    known.update(zip(program.jaxpr.invars, zip(values, flags, strict=True), strict=True))
    missing = [equation for equation in program.jaxpr.eqns if equation.effects or not set(equation.outvars) <= given.keys()]
    _evaluate_into(known, program, missing, size)
    outputs = [_read(known, variable) for variable in program.jaxpr.outvars]
    return [value for value, _ in outputs], [mark for _, mark in outputs]


def _evaluate_into(known: dict[Any, Marked], program: core.ClosedJaxpr, equations: Sequence[core.JaxprEqn], size: int) -> None:
    """Add the results of equations of a program to what is known."""
    known.update({variable: (value, False) for variable, value in zip(program.jaxpr.constvars, program.consts, strict=True)})
    for equation in equations:
        inputs = [_read(known, variable) for variable in equation.invars]
        operands, marks = [value for value, _ in inputs], [mark for _, mark in inputs]
        known.update(zip(equation.outvars, zip(*_operation(equation, operands, marks, size), strict=True), strict=True))


def _read(known: Known, variable: Any) -> Marked:
    """A variable or a constant, and whether it depends on the batch."""
    return (constant(variable), False) if isinstance(variable, core.Literal) else known[variable]


def _operation(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> tuple[Values, Flags]:
    """One operation over the batch."""
    name, parameters = equation.primitive.name, equation.params
    if any(flags) and name == "scan":
        return _scan(equation, operands, flags, size)
    if (called := _called(equation)) is not None:
        return _evaluate(_closed(called), operands, flags, size)
    bind = functools.partial(equation.primitive.bind, **parameters)

    if not any(flags):
        results = listed(equation, bind(*operands))
        return results, [False] * len(results)
    if name in ONE_MORE_AXIS:
        results = one_more_axis(equation, operands, flags, size)
        return results, [True] * len(results)
    rule = RULES.get(name)
    result = rule(equation, operands, flags, size) if rule else None
    if result is not None:
        return [result], [True]
    results = listed(equation, jax.vmap(bind, [-1 if flag else None for flag in flags], -1)(*operands))
    return results, [True] * len(results)


def _marks(program: core.ClosedJaxpr | core.Jaxpr, flags: Sequence[bool]) -> Flags:
    """Which results of a program depend on the batch, given which of its inputs do."""
    inner = program.jaxpr if isinstance(program, core.ClosedJaxpr) else program
    marked = {variable for variable, flag in zip(inner.invars, flags, strict=True) if flag}
    for equation in inner.eqns:
        reads = [not isinstance(variable, core.Literal) and variable in marked for variable in equation.invars]
        if equation.primitive.name == "scan":
            marks = [*_carried(equation, reads), *_loop_marks(equation, reads)[_loop_sizes(equation)[1] :]]
        elif (called := _called(equation)) is not None:
            marks = _marks(called, reads)
        else:
            marks = [any(reads)] * len(equation.outvars)
        marked.update(variable for variable, mark in zip(equation.outvars, marks, strict=True) if mark)
    return [not isinstance(variable, core.Literal) and variable in marked for variable in inner.outvars]


def _loop_marks(equation: core.JaxprEqn, flags: Sequence[bool]) -> Flags:
    """Which results of a loop's body depend on the batch."""
    first, number = _loop_sizes(equation)
    last = first + number
    return _marks(equation.params["jaxpr"], [*flags[:first], *_carried(equation, flags), *flags[last:]])


def _carried(equation: core.JaxprEqn, flags: Sequence[bool]) -> Flags:
    """Which parts of a loop's state depend on the batch: what does at the start, and what comes to do so on the way."""
    first, number = _loop_sizes(equation)
    carried = list(flags[first : first + number])
    while True:
        after = _marks(equation.params["jaxpr"], [*flags[:first], *carried, *flags[first + number :]])[:number]
        union = [before or then for before, then in zip(carried, after, strict=True)]
        if union == carried:
            return carried
        carried = union


def _called(equation: core.JaxprEqn) -> core.ClosedJaxpr | core.Jaxpr | None:
    """The program an operation only holds."""
    if equation.primitive.name not in INLINED:
        return None
    return equation.params.get("call_jaxpr", equation.params.get("jaxpr"))


def _closed(program: core.ClosedJaxpr | core.Jaxpr) -> core.ClosedJaxpr:
    """A program with its constants."""
    return program if isinstance(program, core.ClosedJaxpr) else core.ClosedJaxpr(program, ())


def _loop_sizes(equation: core.JaxprEqn) -> tuple[int, int]:
    """How many constants a loop has, and how many parts its state; jax 0.12 writes them down differently."""
    if "num_consts" in equation.params:
        return equation.params["num_consts"], equation.params["num_carry"]
    consts, carry, _ = equation.params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))


def _scan(equation: core.JaxprEqn, operands: Values, flags: Flags, size: int) -> tuple[Values, Flags]:
    """A loop over a body for the whole batch."""
    parameters = equation.params
    first, number = _loop_sizes(equation)
    last = first + number
    carried = _carried(equation, flags)
    body_flags = [*flags[:first], *carried, *flags[last:]]
    rest_marks = _loop_marks(equation, flags)[number:]

    def align(values: Values, marks: Flags, wanted: Flags) -> Values:
        return [with_batch(value, mark, size) if want else value for value, mark, want in zip(values, marks, wanted, strict=True)]

    program = _closed(parameters["jaxpr"])
    fixed = _invariants(program, operands[:first], flags[:first], size)

    def body(state: Values, x: Values) -> tuple[Values, Values]:
        results, marks = _evaluate(program, [*operands[:first], *state, *x], body_flags, size, fixed)
        return align(results[:number], marks[:number], carried), align(results[number:], marks[number:], rest_marks)

    start = align(operands[first:last], flags[first:last], carried)
    end, collected = jax.lax.scan(
        body, start, operands[last:], length=parameters["length"], reverse=parameters["reverse"], unroll=parameters["unroll"]
    )
    return [*end, *collected], [*carried, *rest_marks]


def _invariants(program: core.ClosedJaxpr, constants: Values, flags: Flags, size: int) -> Known:
    """What is the same in all turns of a loop, given what is constant along it; but what is larger than what it is made from."""
    known = dict(zip(program.jaxpr.invars, zip(constants, flags, strict=True), strict=False))
    fixed = set(known) | set(program.jaxpr.constvars)
    equations = []
    for equation in program.jaxpr.eqns:
        if not equation.effects and all(isinstance(variable, core.Literal) or variable in fixed for variable in equation.invars):
            equations.append(equation)
            fixed.update(equation.outvars)
    _evaluate_into(known, program, equations, size)
    grown = {variable for equation in equations if _grows(equation) for variable in equation.outvars}
    return {variable: value for variable, value in known.items() if variable not in grown}


def _grows(equation: core.JaxprEqn) -> bool:
    """Whether an operation returns more numbers than any of its operands has."""
    sizes = [math.prod(shape_of(variable)) for variable in equation.invars if not isinstance(variable, core.Literal)]
    return max(math.prod(shape_of(variable)) for variable in equation.outvars) > max(sizes, default=0)


INLINED = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
"""Operations that only hold a program."""
