"""Walkers that stay in memory between recalls: each learns the terms of the scope that it walks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage.namespaces import Scope

if TYPE_CHECKING:
    from hoptrail.graph.view import GraphView
    from hoptrail.memory.views.view import View
    from hoptrail.policies.retriever import PolicyRetriever

WALKERS_KEPT = 32
"""Scopes and efforts whose terms stay in memory; the one not asked for longest goes first."""

Key = tuple[Scope, str]
"""A scope, and an effort."""

State = tuple[int, int, int]
"""Of a view: its version and size, since what expires on a read-only store changes no version; and
the version of the graph over it."""


class Walkers:
    """Lends each walker to one thread at a time; two that walk the same scope have two."""

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """Begin anew, as in a forked child."""
        self._lock = threading.Lock()
        # Those that nobody has; only with the lock held.
        self._idle: OrderedDict[Key, list[tuple[State, PolicyRetriever]]] = OrderedDict()

    def clear(self) -> None:
        """Forget all that nobody has."""
        with self._lock:
            self._idle.clear()

    @guarded
    def lent(
        self, effort: str, view: View, graph: GraphView, make: Callable[[], PolicyRetriever]
    ) -> Iterator[PolicyRetriever]:
        """A walker of a pinned view, made if there is none of just this state.

        One that an exception comes out of is not used again.
        """
        key, state = (view.scope, effort), graph.state
        walker = self._taken(key, state, view, graph)
        if walker is None:
            walker = make()
        yield walker
        with self._lock:
            self._idle.setdefault(key, []).append((state, walker))
            self._idle.move_to_end(key)
            while len(self._idle) > WALKERS_KEPT:
                self._idle.popitem(last=False)

    def _taken(
        self, key: Key, state: State, view: View, graph: GraphView
    ) -> PolicyRetriever | None:
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:  # those of an earlier state are of no use any more
                known, walker = idle.pop()
                scope = walker.scope
                if known == state and scope.view is view and scope.graph is graph:
                    return walker
        return None
