"""The version that is installed; it follows from the last tag of the repository."""

import importlib.metadata

__version__ = importlib.metadata.version("lsa-jax")
