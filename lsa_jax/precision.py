"""The precision of matrix products: the highest, unless the caller asks JAX for another one."""

import contextlib

import jax


def current() -> str:
    """Return the precision in force: `highest`, or what `jax.default_matmul_precision` was set to.

    Recent GPUs and TPUs round the inputs of float32 products by default, which no comparison with theory survives.

    Returns:
        The precision's name.

    Example:
        >>> current()
        'highest'
        >>> with jax.default_matmul_precision("high"):
        ...     current()
        'high'
    """
    return jax.config.jax_default_matmul_precision or "highest"  # ty: ignore[missing-attribute]


def in_force() -> contextlib.AbstractContextManager[None]:
    """Return a context in which products without a precision of their own have the current one.

    Returns:
        The context.
    """
    return jax.default_matmul_precision(current())
