"""The paper's language-model experiment: LoRA fine-tuning of decoders and what it does to zero-shot and few-shot accuracy.

Its packages are an optional extra: whether it is installed is asked before anything of it is imported, so that Ctrl-C is heard.
"""

import contextlib
import importlib.util
import os
import signal
from collections.abc import Generator

from lsa_jax import exit_codes
from lsa_jax.errors import InputError

PACKAGES = ("tunix", "qwix", "orbax.checkpoint", "safetensors", "tokenizers", "transformers", "jinja2", "yaml")
INSTALL = "pip install -e '.[lm]'"
"""What installs the extra, in the folder of the checkout."""


@contextlib.contextmanager
def importing() -> Generator[None]:
    """Refuse to go on without the optional extra; while it is imported, a signal ends the process at once.

    Some of its packages swallow the exception that Ctrl-C raises while they are imported, and nothing is there yet to be kept.

    Yields:
        Nothing; import in the block.

    Raises:
        InputError: if one of its packages is missing; the message says which command installs them.
    """
    missing = [name for name in PACKAGES if not _installed(name)]
    if missing:
        raise InputError(f"{missing[0]} is not installed; the language-model experiment needs the extra lm: {INSTALL} in the checkout")
    before = {number: signal.signal(number, lambda *_: os._exit(exit_codes.INTERRUPTED)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _installed(name: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
