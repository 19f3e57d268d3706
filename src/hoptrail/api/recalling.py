"""How a memory recalls: it walks a view that is pinned, and looks whether others replaced it."""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.api.feedback_inbox import Asked, Judging, decision
from hoptrail.api.walkers import Walkers
from hoptrail.errors import EncoderMismatch, InputError, PolicyError
from hoptrail.memory import forks
from hoptrail.memory.guarded import guarded
from hoptrail.types import Recall

if TYPE_CHECKING:
    from hoptrail.graph.graph import Graph
    from hoptrail.graph.view import GraphView
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store
    from hoptrail.memory.views.view import View
    from hoptrail.policies.policy import Policy
    from hoptrail.policies.retriever import PolicyRetriever

RANKED = 100
"""Passages that a walk ranks at least: what lies behind the k best is cheap, and evaluation
looks at it."""


class Recalling(Judging, ABC):
    """The part of `Memory` that walks."""

    _lock: threading.RLock
    _encoder: Encoder | None
    _policy_given: Policy | str | Path | None
    _policy: Policy | None
    _fingerprint: str
    _walkers: Walkers

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The graph of its passages."""

    @abstractmethod
    def _with_encoder(self) -> Store:
        """The store, able to encode queries."""

    def _recalls(
        self,
        asked: list[str],
        k: int,
        how: Asked,
        view: View,
        asking: Encoder,
        *,
        last: bool,
    ) -> list[Recall] | None:
        """The recalls of checked questions; None where others have replaced a passage meanwhile.

        Args:
            asked: The questions.
            k: How many passages for each.
            how: How they are asked.
            view: Of the scope, pinned.
            asking: The encoder.
            last: Return them as they were when the walk began, whatever was replaced.
        """
        graph = self.graph.view(view)
        started = time.perf_counter()
        with self._walkers.lent(
            how.effort, view, graph, lambda: self._walker(view, graph, asking, how.effort)
        ) as walker:
            walks = walker.retrieve(
                asked, k=max(k, RANKED), allowed=view.allowed(how.filter), explore=how.explore
            )
            decisions = [decision(w, view, k, how.filter, self._fingerprint) for w in walks]
        rowids = [one.rowids for one in decisions]
        if not (last or self._store.unchanged(view.version, itertools.chain(*rowids))):
            return None
        for returned in rowids:
            self._store.recorder.note(returned)
        spent = 1000 * (time.perf_counter() - started) / len(asked)
        return [
            Recall(
                text,
                one.hits,
                one.result.trails,
                one.result.cost(spent),
                *self._keep(text, how, one),
            )
            for text, one in zip(asked, decisions, strict=True)
        ]

    @guarded
    def _pinned(self, scope: Scope) -> Iterator[tuple[View, Encoder]]:
        """The scope's view, as it is now, and the encoder that made its vectors."""
        from hoptrail.memory.encoders.transformer import require

        while True:
            store = self._with_encoder()
            asking = require(self._encoder, "recall")
            self._load_policy()
            self.graph.sync(wait=False)
            with ExitStack() as stack:
                try:
                    view = stack.enter_context(store.pinned(scope, asking))
                except EncoderMismatch:
                    with store.changing:
                        if self._encoder is asking:
                            raise
                    continue  # another thread has just changed it
                yield view, asking
                return

    def _load_policy(self) -> None:
        with self._lock:
            if self._policy is None:
                with forks.loading:
                    policy = loaded_policy(self._policy_given)
                self._fingerprint = policy.fingerprint
                self._policy = policy

    def _walker(
        self, view: View, graph: GraphView, asking: Encoder, effort: str
    ) -> PolicyRetriever:
        from hoptrail.memory.encoders.query_cache import RememberingEncoder
        from hoptrail.memory.encoders.query_side import for_questions
        from hoptrail.policies.environment import efforts
        from hoptrail.policies.retriever import PolicyRetriever

        assert self._policy is not None
        with self._lock, forks.loading:  # exported once
            quick = for_questions(asking)
        encoder = RememberingEncoder(quick, self._store.queries)
        return PolicyRetriever(self._policy, view, graph, encoder, efforts.effort(effort))


def loaded_policy(given: Policy | str | Path | None) -> Policy:
    """The policy that is meant: "shipped" is the one in the package, other names are folders.

    Raises:
        PolicyError: There is none, or its files cannot be used.
    """
    from hoptrail.policies.policy import Policy

    if given is None:
        raise PolicyError(
            "this memory was opened with policy=None and recall needs one: "
            'open it with policy="shipped" or a folder that hoptrail train wrote'
        )
    if isinstance(given, Policy):
        return given
    if not isinstance(given, str | Path):
        raise InputError(
            f'policy must be "shipped", a folder, a Policy or None, got {type(given).__name__}'
        )
    return Policy.shipped() if given == "shipped" else Policy.load(Path(given))
