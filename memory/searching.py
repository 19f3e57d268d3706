"""The part of a store that searches: one hop, by meaning, by words, or both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hoptrail.errors import (
    EncoderMismatch,
    InputError,
    UnknownId,
)
from hoptrail.memory.encoders.query_cache import QueryCache
from hoptrail.memory.encoders.transformer import Encoder, Vectors, require
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.memory.guarded import guarded
from hoptrail.memory.index.slots import Scores, Slots
from hoptrail.memory.passages import cleaning
from hoptrail.memory.passages.updater import Updater
from hoptrail.memory.search import hybrid_search
from hoptrail.memory.search.fusion import Fusion, rule_of
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.views.view import View
from hoptrail.types import Hit, Passage
from hoptrail.values.numbers import shown, whole
from hoptrail.values.strings import check_choice, check_string

if TYPE_CHECKING:
    from hoptrail.memory.search.pipeline import Pipeline

Mode = Literal["hybrid", "dense", "sparse"]

TRIES = 3
"""Searches whose passages others replace meanwhile, before the last one's are returned."""


class Searcher(Updater):
    """What can be asked of a store's indexes."""

    path: Path
    queries: QueryCache
    changing: RLock

    @abstractmethod
    def pinned(
        self, namespace: ScopeLike = (), encoder: Encoder | None = None
    ) -> AbstractContextManager[View]:
        """The scope's view, caught up with the last commit and kept as it is meanwhile.

        Args:
            namespace: The scope.
            encoder: The one that the view's vectors must be by; None for whichever it is.
        """

    @abstractmethod
    def view(self, namespace: ScopeLike = ()) -> View:
        """The scope's indexes in memory, caught up with the last commit.

        Args:
            namespace: The scope.
        """

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        namespace: ScopeLike = (),
        mode: Mode = "hybrid",
        filter: FilterLike | None = None,
        fusion: str | Fusion | None = None,
        pipeline: Pipeline | None = None,
    ) -> list[Hit]:
        """The best `k` passages of the scope for a query, best first.

        Args:
            query: What to look for.
            k: How many, at least 1. By words alone fewer may be found: only those that share one.
            namespace: The scope.
            mode: By meaning (dense), by words (sparse), or both.
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.
            fusion: How a hybrid search makes one score of two, if not by the sum of z-scores:
                "reciprocal-rank", "min-rank", or a rule of `hoptrail.memory.search.fusion`.
            pipeline: Stages to search by in place of a mode; see `hoptrail.memory.search.pipeline`.

        Raises:
            InputError: An empty query, a `k` below 1, an unknown mode, no filter, a fusion or a
                pipeline with a mode that it does not go with.
            EncoderMissing: The mode needs vectors and the store has no encoder.
        """
        check_string(query, "a query")
        check_choice(mode, get_args(Mode), "mode")
        rule = rule_of(fusion)
        if mode != "hybrid" and (fusion is not None or pipeline is not None):
            raise InputError(f"a fusion or pipeline takes the place of the mode, got mode {mode!r}")
        if pipeline is not None:
            from hoptrail.memory.search.pipeline import Pipeline as Stages

            if not isinstance(pipeline, Stages):
                raise InputError(f"a pipeline is a Pipeline of stages, got {shown(pipeline)}")
            if fusion is not None:
                raise InputError(
                    "a pipeline's first stage says how it fuses: give Search(fusion=...)"
                )
            return list(pipeline.search(self, query, k, namespace=namespace, filter=filter).hits)
        whole(k, "k", least=1)
        conditions, scope = Filter.parse_optional(filter), Scope.parse(namespace)
        for left in reversed(range(TRIES)):
            try:
                passages, scores, rowids, version = self._search(
                    query, k, scope, mode, conditions, rule
                )
            except UnknownId:  # it is damaged, and left out from now on
                if not left:
                    raise
                continue
            fulfil = np.ones(len(passages), dtype=np.bool_)
            if conditions is not None:  # its columns may have been read when one was changed
                fulfil = conditions.passages_mask(passages)
            if fulfil.all() and self.unchanged(version, rowids.tolist()):
                break  # else another has replaced one just now: look again
        self.recorder.note(rowids[fulfil].tolist())
        return [
            Hit(passage, float(score))
            for passage, score, right in zip(
                cleaning.apart(passages), scores, fulfil.tolist(), strict=True
            )
            if right
        ]

    def _search(
        self,
        query: str,
        k: int,
        scope: Scope,
        mode: Mode,
        filter: Filter | None,
        rule: Fusion,
    ) -> tuple[list[Passage], Scores, Slots, int]:
        """One search: passages, their scores and rowids, and the version that they are of."""
        # It is pinned, and stays as it is: its lock is only for a moment in an index.
        with self._searched(query, mode, scope) as (view, vector):
            allowed = view.allowed(filter)
            scores, slots = hybrid_search.search(
                view, query, vector, k, mode, rule=rule, allowed=allowed
            )
            return view.passages(slots), scores, view.rowids[slots], view.version

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """The vectors of queries, `(n, d)`: from memory if it keeps them, never from the disk.

        Args:
            texts: n of them.

        Raises:
            EncoderMissing: The store has no encoder.
            EncoderMismatch: Another process has written vectors of another one.
        """
        return self._encode_queries(require(self.encoder, "encoding a query"), texts)

    def view_of(self, encoder: Encoder, namespace: ScopeLike = ()) -> View:
        """The scope's view, its vectors by this encoder: what it encodes may be asked of them.

        Args:
            encoder: What encoded, or will encode, the queries.
            namespace: The scope.

        Raises:
            EncoderMismatch: The store's vectors are another's.
        """
        with self.pinned(namespace, encoder) as view:
            return view

    @guarded
    def pinned_for(
        self, texts: Sequence[str], namespace: ScopeLike = ()
    ) -> Iterator[tuple[View, Vectors]]:
        """A scope's view, pinned, and vectors of queries `(n, d)` by the encoder of its own.

        Raises what `encode_queries` raises.

        Args:
            texts: n queries.
            namespace: The scope.
        """
        scope = Scope.parse(namespace)
        while True:
            encoder = require(self.encoder, "encoding a query")
            with ExitStack() as stack:
                try:
                    vectors = self._encode_queries(encoder, texts)
                    view = stack.enter_context(self.pinned(scope, encoder))
                except EncoderMismatch:
                    if not self._changed(encoder):
                        raise
                    continue  # another thread has just changed it
                yield view, vectors
                return

    def _changed(self, encoder: Encoder) -> bool:
        """Whether the store has another encoder by now; one that is on its way is waited for."""
        with self.changing:
            return self.encoder is not encoder

    @guarded
    def _searched(
        self, query: str, mode: Mode, scope: Scope
    ) -> Iterator[tuple[View, Vectors | None]]:
        if mode == "sparse":
            with self.pinned(scope) as view:
                yield view, None
        else:
            require(self.encoder, f"{mode} search")
            with self.pinned_for([query], scope) as (view, vectors):
                yield view, vectors[0]

    def _encode_queries(self, encoder: Encoder, texts: Sequence[str]) -> Vectors:
        with self._db.reading() as connection:
            store_info.check_encoder(connection, encoder, self._db.name)
        return self.queries.encode(uncached(encoder), texts)
