"""How many threads torch takes while it trains or ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: a few thousand rows take as long on two, and sums keep their order.

    On several threads the gradient of an indexed row adds up in the order in which threads come,
    and a run cannot be repeated to the last bit. And where other programs want the cores too,
    waiting for the second thread at every operation took up to seconds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
