"""The store and its indexes: passages in, ranked passages out. `Store` is in `.store`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
