"""LlamaIndex: a memory as a retriever and a block of an agent's memory; nodes as passages."""

from importlib.util import find_spec

import lazy_loader

from hoptrail.errors import MissingExtra

if find_spec("llama_index") is None:
    raise MissingExtra("what serves LlamaIndex needs its core", "llama-index")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
