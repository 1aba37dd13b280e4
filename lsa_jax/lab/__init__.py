"""The forgetting lab: what every remedy against forgetting buys and costs, on exact fronts of zero-shot against few-shot risk."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
