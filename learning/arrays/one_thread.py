"""One thread for products of small matrices.

A walk multiplies matrices of some hundred rows. A BLAS library that gives a part of each to a
second thread has that thread wait busily for the next: twice the processor's time, and no sooner.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


class _Blocks:
    """Which threads are in such a block, and how to give back the number of threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entered = 0
        self.limiter: Any = None

    def enter(self) -> None:
        with self.lock:
            self.entered += 1
            if self.entered == 1:
                self.limiter = _controller().limit(limits=1, user_api="blas")

    def leave(self) -> None:
        with self.lock:
            self.entered -= 1
            if not self.entered:
                self.limiter.restore_original_limits()


_blocks = _Blocks()


@cache
def _controller() -> Any:
    """The BLAS libraries of this process, looked for once: NumPy's is there by now."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which products of arrays take one thread, whoever computes them.

    Blocks may overlap in several threads: the last to leave gives back the number from before.
    """
    _blocks.enter()
    try:
        yield
    finally:
        _blocks.leave()
