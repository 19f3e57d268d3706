"""The policy of a memory, and its retrievers: each stays in memory between recalls of its scope."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.memory import forks
from hoptrail.memory.guarded import guarded
from hoptrail.memory.storage.namespaces import Scope

if TYPE_CHECKING:
    from hoptrail.graph.view import GraphView
    from hoptrail.memory.encoders.query_cache import QueryCache
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.views.view import View
    from hoptrail.policies.policy import AnyPolicy
    from hoptrail.policies.retriever import PolicyRetriever

RETRIEVERS_KEPT = 32
"""Scopes and efforts whose terms stay in memory; the one not asked for longest goes first."""

Key = tuple[Scope, str]
"""A scope, and an effort."""

State = tuple[int, int, int, int]
"""Of a graph over a view, as `GraphView.state` tells it."""


class Retrievers:
    """Lends a `PolicyRetriever` for a scope and an effort; two threads never share one.

    A retriever learns the terms of the scope that it walks, and so is worth keeping. The policy is
    loaded when it is first needed.

    Args:
        policy: A loaded one, "shipped" for the one in the package, a folder, or None for none.
        queries: The vectors of the last queries, which all retrievers share.
    """

    def __init__(self, policy: AnyPolicy | str | Path | None, queries: QueryCache) -> None:
        self._named = policy
        self._queries = queries
        self._policy: AnyPolicy | None = None
        self._fingerprint = ""
        self._forked(whole=True)
        forks.register(self)

    def _forked(self, *, whole: bool) -> None:
        """Be a forked child's: no thread of its parent's has a lock or a retriever there."""
        self._loading = threading.RLock()  # held while something is loaded; never while it runs
        self._lock = threading.Lock()
        # Those that nobody has; only with the lock held.
        self._idle: OrderedDict[Key, list[tuple[State, PolicyRetriever]]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Retrievers of policy {self._named!s}>"

    @property
    def named(self) -> AnyPolicy | str | Path | None:
        """The policy as it was given, loaded or not."""
        return self._named

    @property
    def policy(self) -> AnyPolicy:
        """The policy, loaded at the first use.

        Raises:
            PolicyError: There is none, or its files cannot be used.
        """
        if self._policy is None:
            with self._loading:
                if self._policy is None:
                    from hoptrail.api.recalling import loaded_policy

                    with forks.loading:
                        policy = loaded_policy(self._named)
                    self._fingerprint = policy.fingerprint
                    self._policy = policy
        return self._policy

    @property
    def fingerprint(self) -> str:
        """The policy's, which takes a pass over its weights: worked out once.

        Raises what `policy` raises.
        """
        _ = self.policy
        return self._fingerprint

    @guarded
    def lent(
        self, effort: str, view: View, graph: GraphView, encoder: Encoder
    ) -> Iterator[PolicyRetriever]:
        """A retriever over a pinned view, made if there is none of just this state.

        One that an exception comes out of is not used again.

        Args:
            effort: What a recall may cost, by its name.
            view: Of the scope, pinned.
            graph: Over that view.
            encoder: The one that made the view's vectors.

        Yields:
            The retriever, this thread's alone.

        Raises:
            PolicyError: There is no policy, or its files cannot be used.
            ConfigError: There is no such effort.
        """
        key, state = (view.scope, effort), graph.state
        retriever = self._idle_one(key, state, view, graph)
        if retriever is None:
            retriever = self._new(effort, view, graph, encoder)
        yield retriever
        with self._lock:
            self._idle.setdefault(key, []).append((state, retriever))
            self._idle.move_to_end(key)
            while len(self._idle) > RETRIEVERS_KEPT:
                self._idle.popitem(last=False)

    def clear(self) -> None:
        """Forget all that nobody has."""
        with self._lock:
            self._idle.clear()

    def _idle_one(
        self, key: Key, state: State, view: View, graph: GraphView
    ) -> PolicyRetriever | None:
        with self._lock:
            idle = self._idle.get(key, [])
            while idle:  # those of an earlier state are of no use any more
                state_then, retriever = idle.pop()
                scope = retriever.scope
                if state_then == state and scope.view is view and scope.graph is graph:
                    return retriever
        return None

    def _new(self, effort: str, view: View, graph: GraphView, encoder: Encoder) -> PolicyRetriever:
        from hoptrail.memory.encoders.query_cache import RememberingEncoder
        from hoptrail.policies.environment import efforts
        from hoptrail.policies.retriever import PolicyRetriever

        return PolicyRetriever(
            self.policy,
            view,
            graph,
            encoder,
            efforts.effort(effort),
            cache=lambda inner: RememberingEncoder(inner, self._queries),
        )
