"""Whether the optional extra is installed, asked before anything of it is imported."""

import importlib.util

from lsa_jax.errors import InputError

PACKAGES = ("tunix", "qwix", "orbax.checkpoint", "safetensors", "tokenizers")
"""What the commands import; lm-eval and datasets serve the cross-check of the scorer only."""


def require() -> None:
    """Refuse to go on without the optional extra.

    Raises:
        InputError: if one of its packages is missing; the message says which command installs them.
    """
    missing = [name for name in PACKAGES if not _installed(name)]
    if missing:
        raise InputError(f"{missing[0]} is not installed; the language-model experiment needs the extra lm: pip install 'lsa_jax[lm]'")


def _installed(name: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
