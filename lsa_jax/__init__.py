"""Exactly solvable in-context learning: exact and simulated risk of linear attention, its optima and its fine-tuning, in JAX.

Public names are loaded when they are first used, so importing the package costs next to nothing and touches no device.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
