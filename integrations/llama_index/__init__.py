"""LlamaIndex: a memory as a retriever and a block of an agent's memory; nodes as passages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
