"""Models by what a spec or a flag says: the name of one that is built in, an object, or where an object is defined."""

import importlib
import runpy
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lsa_jax import checks
from lsa_jax.errors import InputError
from lsa_jax.given import Given
from lsa_jax.models.one_layer import LINEAR, SOFTMAX
from lsa_jax.models.protocol import Model
from lsa_jax.models.transformer import Transformer

BUILT_IN: dict[str, Model] = {model.name: model for model in (LINEAR, SOFTMAX)}
"""The models that a spec knows by name, beside `transformer`."""

TRANSFORMER = "transformer"
"""The name of the model whose shape is told by further settings."""


def of(written: Any, shape: Mapping[str, Any] = MappingProxyType({})) -> Model:
    """Return the model that a spec or a flag means.

    Args:
        written: the name of a model that is built in, a model, or `FILE.py:NAME` or `package.module:NAME` for one defined there.
        shape: the arguments of `Transformer`, where `written` is `transformer`; no other model takes any.

    Returns:
        The model.

    Raises:
        ValueError: if there is no such model, what is found is none, or it takes no shape.

    Example:
        >>> of("softmax").groups.keys() == of("linear").groups.keys()
        True
    """
    found = written.value if isinstance(written, Given) else written
    if found == TRANSFORMER:
        return Transformer(**dict[str, Any]({"layers": 1, "heads": 1, **shape}))
    if isinstance(found, str):
        found = _defined(found) if ":" in found else BUILT_IN[checks.as_choice("model", found, (*BUILT_IN, TRANSFORMER))]
    if isinstance(found, type):
        raise InputError(f"model is the class {found.__name__}; it must be a model: make one, {found.__name__}()")
    if not isinstance(found, Model):
        raise InputError(f"model is a {type(found).__name__}; it must be a model, with all that lsa_jax.models.Model names")
    if shape:
        raise InputError(f"{', '.join(shape)} of model {found.name!r} cannot be chosen: set model = 'transformer', or leave them out")
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
