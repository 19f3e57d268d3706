"""What can be differentiated, and what stands in where it cannot: no decision process."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
