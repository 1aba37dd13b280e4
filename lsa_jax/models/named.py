"""Models by what a spec or a flag says: the name of one that is built in, an object, or where an object is defined."""

import importlib
import runpy
from pathlib import Path
from typing import Any

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.given import Given
from lsa_jax.models.one_layer import LINEAR, SOFTMAX
from lsa_jax.models.protocol import Model

BUILT_IN: dict[str, Model] = {model.name: model for model in (LINEAR, SOFTMAX)}


def of(written: Any) -> Model:
    """Return the model that a spec or a flag means.

    Args:
        written: the name of a model that is built in, a model, or `FILE.py:NAME` or `package.module:NAME` for one defined there.

    Returns:
        The model.

    Raises:
        ValueError: if there is no such model, or what is found is none.

    Example:
        >>> of("softmax").groups.keys() == of("linear").groups.keys()
        True
    """
    found = written.value if isinstance(written, Given) else written
    if isinstance(found, str):
        found = _defined(found) if ":" in found else BUILT_IN[checks.as_choice("model", found, tuple(BUILT_IN))]
    if isinstance(found, type):
        raise InputError(f"model is the class {found.__name__}; it must be a model: make one, {found.__name__}()")
    if not isinstance(found, Model):
        raise InputError(f"model is a {type(found).__name__}; it must be a model, with all that lsa_jax.models.Model names")
    return found


def _defined(text: str) -> Any:
    """The object that a file or a module defines."""
    place, _, name = text.rpartition(":")
    try:
        space = runpy.run_path(place) if place.endswith(".py") else vars(importlib.import_module(place))
    except Exception as error:
        raise InputError(f"model {text!r} cannot be read: {Path(place).name} raises {type(error).__name__}: {error}") from None
    if name not in space:
        raise InputError(f"model {text!r}: {place} defines no {name!r}")
    return space[name]
