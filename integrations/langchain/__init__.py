"""LangChain: a memory as a retriever, as tools, as a vector store, and encoders as embeddings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
