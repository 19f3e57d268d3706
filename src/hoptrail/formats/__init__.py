"""What is read and written: JSON lines, documents, triples, sequences, JSON for machines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
