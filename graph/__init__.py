"""The knowledge graph: names, mentions, entities and links over the passages of a store."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
