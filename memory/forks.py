"""What a fork must not tear apart: statements of SQLite, and the loading of models.

A forked child has one thread, and every lock as it was. SQLite's own locks are among them, and what
it remembers of the files that this process has open, which the child does not: opened in the
child, the same file would be read without a lock that other processes see. So a fork waits until
no thread is inside SQLite, and the child closes what it inherited before it opens anything. The
threads of PyTorch and FAISS are not there in the child either; it computes with one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from hoptrail.errors import StoreError
from hoptrail.memory.guarded import guarded

PATIENCE = 2.0
"""Seconds that a fork waits for other threads' transactions."""


class Inherited(Protocol):
    """What a child must not use."""

    def _forked(self, *, whole: bool) -> Path | None:
        """Called in the child: let go of locks, and of what was opened.

        Args:
            whole: Nobody was using it: it may be closed. Else it is to be left as it is for ever.

        Returns:
            A file that could not be closed, and cannot be used in this process.
        """


class _Mine(threading.local):
    inside = False
    """Whether this thread is in such a block."""


_mine = _Mine()
_gate = threading.Lock()  # held while a fork is under way, and for an instant by who enters
_inside: dict[object, tuple[int, Inherited]] = {}  # thread and file, of each that is in SQLite
_open: WeakSet[Inherited] = WeakSet()
_torn: set[Path] = set()  # files that were in use when this process was forked
loading = threading.RLock()
"""Held while a model is loaded: a child could never import what was half imported."""


def register(opened: Inherited) -> None:
    """Have something let go of what it holds in forked children."""
    _open.add(opened)


@guarded
def without_forks(opened: Inherited) -> Iterator[None]:
    """A block that no fork comes into, if it is short."""
    token, deep = object(), _mine.inside
    try:
        _mine.inside = True
        if deep:  # a fork waits for this thread already
            _inside[token] = threading.get_ident(), opened
        else:
            with _gate:
                _inside[token] = threading.get_ident(), opened
        yield
    finally:
        _mine.inside = deep
        _inside.pop(token, None)


def torn(path: Path) -> bool:
    """Whether the locks of a file were torn apart by a fork, and it cannot be used here."""
    return path in _torn


def check_locks(path: Path) -> None:
    """Refuse a file whose locks were torn apart by a fork.

    Raises:
        StoreError: A transaction on it was open when this process was forked.
    """
    if torn(path):
        raise StoreError(
            f"the store {path} was in a transaction when this process was forked and cannot be "
            "opened here: fork while no transaction is open, or start the process by spawn"
        )


def _before() -> None:
    loading.acquire(timeout=60)
    _gate.acquire()
    me, latest = threading.get_ident(), time.monotonic() + PATIENCE
    while any(thread != me for thread, _ in list(_inside.values())) and time.monotonic() < latest:
        time.sleep(0.0005)


def _after() -> None:
    for lock in (_gate, loading):
        with suppress(RuntimeError):
            lock.release()


def _in_child() -> None:
    me = threading.get_ident()
    in_use = [opened for thread, opened in _inside.values() if thread != me]
    _inside.clear()
    for opened in list(_open):
        path = opened._forked(whole=not any(opened is other for other in in_use))
        if path is not None:
            _torn.add(path)
    _after()
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    if (faiss := sys.modules.get("faiss")) is not None:
        faiss.omp_set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
