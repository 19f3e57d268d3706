"""A pipeline: cheap stages look at many passages, dear ones at the few that are left.

The first stage scans the scope and brings candidates; each later one scores what the one before
it kept, all questions of a batch together, and keeps its best. Namespace and filter hold from the
first stage on, since no later one sees anything else, and are checked again at the end: a passage
that was deleted or changed while a slow stage ran is not returned, but where that goes for all of
them, in one try after another.

    pipeline = Pipeline([Prefix(64, keep=200), Full(keep=50), MaxSim(encoder, keep=20)])
    store.search("Who taught Ada's tutor?", 5, pipeline=pipeline)
    pipeline.search(store, "Who taught Ada's tutor?", 5).stages   # what each stage took

Stages: `Search`, `Full` and `Prefix` in `first_stages`, `Compressed` and `Clustered` in
`compressed`, `MaxSim` in `late_interaction`, `BiEncoder`, `CrossEncoder` and `Judge` in
`rerankers`; or one's own `Stage`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import ConfigError, InputError, UnknownId
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.memory.guarded import guarded
from hoptrail.memory.index.slots import DECIMALS, Scores, Slots
from hoptrail.memory.search.searchable import Searchable
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.memory.views.view import View
from hoptrail.types import Hit, Passage
from hoptrail.values.numbers import whole
from hoptrail.values.strings import check_string

TRIES = 3
"""Times that a search begins again where another process changed what it had found."""


@dataclass(slots=True)
class QueryState:
    """A question on its way through the pipeline."""

    view: View
    text: str
    vector: Vectors | None
    """`(d,)`; None where the store has no encoder."""
    allowed: NDArray[np.bool_] | None
    """`(capacity,)` the slots that a filter lets through; None without one."""
    slots: Slots = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """`(m,)` the candidates left."""
    scores: Scores = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    """`(m,)` what the last stage gave them."""
    passages: dict[int, Passage] = field(default_factory=dict)
    """The candidates that were read, by slot: as they were when this question first read them."""

    @property
    def query(self) -> Vectors:
        """The question's vector, `(d,)`, for a stage that needs it."""
        assert self.vector is not None
        return self.vector

    def contents(self) -> list[str]:
        """The candidates' contents, in order.

        Raises:
            UnknownId: Another process deleted one just now.
        """
        missing = [int(slot) for slot in self.slots if int(slot) not in self.passages]
        if missing:
            self.passages.update(zip(missing, self.view.passages(missing), strict=True))
        return [self.passages[int(slot)].content for slot in self.slots]


class Stage(ABC):
    """One stage: scores candidates, and says how many of them it keeps.

    Args:
        keep: Candidates that go on, at least 1; a search for more keeps more.
    """

    name: str = "stage"
    needs_vector: bool = False
    """Whether it looks at the question's vector."""

    def __init__(self, keep: int) -> None:
        self.keep = whole(keep, f"{self.name}: keep", least=1, error=ConfigError)
        self.cached = 0
        """Scores that were not worked out, because they were known."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} keep {self.keep}>"

    @abstractmethod
    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The scores of each question's candidates, `(m,)` each; higher is better.

        Args:
            batch: Questions, each with its candidates.
        """


class CandidateGenerator(Stage):
    """A stage that can be the first: it finds candidates by itself."""

    @abstractmethod
    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best `count` slots of the view that are allowed, best first.

        Args:
            state: The question.
            count: How many at most.
        """


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage did and took, over all questions of a search."""

    name: str
    taken: int
    """Candidates that it scored; of the first stage, passages that it could choose from."""
    kept: int
    cached: int
    """Scores that it knew already."""
    milliseconds: float
    share: float
    """Of the pipeline's time, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What came out of a pipeline."""

    hits: tuple[Hit, ...]
    """Best first, with the last stage's scores."""
    stages: tuple[StageCost, ...]
    """Of the whole batch that the question was in."""
    milliseconds: float
    """Of the whole batch, the encoding of questions and the reading of passages included."""


class Pipeline:
    """Stages, one after another.

    Args:
        stages: At least one; the first brings the candidates.

    Raises:
        ConfigError: There is none, or the first cannot find candidates.

    Examples:
        >>> from hoptrail.memory.search.first_stages import Full, Prefix
        >>> Pipeline([Prefix(64, keep=200), Full(keep=50)])
        <Pipeline prefix 64 -> full>
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        stages = tuple(stages)
        if not stages or not isinstance(stages[0], CandidateGenerator):
            first = f"{stages[0].name!r}" if stages else "none"
            raise ConfigError(
                "a pipeline's first stage finds the candidates: Search, Prefix, Full or a "
                f"compressed scan, got {first}"
            )
        self.stages = stages
        self._first = stages[0]

    def __repr__(self) -> str:
        return f"<Pipeline {' -> '.join(stage.name for stage in self.stages)}>"

    def search(
        self,
        store: Searchable,
        query: str,
        k: int = 10,
        *,
        namespace: ScopeLike = (),
        filter: FilterLike | None = None,
    ) -> PipelineResult:
        """The best `k` passages of the scope for a query; every stage keeps at least `k`.

        Args:
            store: Where to search.
            query: What to look for.
            k: How many, at least 1.
            namespace: The scope.
            filter: Only passages that fulfil it.

        Raises:
            InputError: An empty query, a `k` below 1, no filter.
            EncoderMissing: A stage needs vectors and the store has no encoder.
        """
        return self.search_many(store, [query], k, namespace=namespace, filter=filter)[0]

    def search_many(
        self,
        store: Searchable,
        queries: Sequence[str],
        k: int = 10,
        *,
        namespace: ScopeLike = (),
        filter: FilterLike | None = None,
    ) -> list[PipelineResult]:
        """The same for several queries, each stage taking all of them together.

        Args:
            store: Where to search.
            queries: What to look for.
            k: How many, at least 1.
            namespace: The scope.
            filter: Only passages that fulfil it.

        Returns:
            What came out for each, in their order.

        Raises:
            InputError: As for `search`.
            EncoderMissing: As for `search`.
        """
        if isinstance(queries, str):
            raise InputError("search_many takes a list of queries, not one string")
        for query in queries:
            check_string(query, "a query")
        k = whole(k, "k", least=1)
        conditions, scope = Filter.parse_optional(filter), Scope.parse(namespace)
        began = time.perf_counter()
        for left in reversed(range(TRIES)):
            try:
                with self._query_states(store, queries, scope, conditions) as batch:
                    costs = self._run(batch, k)
                    for state in batch:
                        state.slots, state.scores = state.slots[:k], state.scores[:k]
                        state.contents()
                    rowids = [state.view.rowids[state.slots] for state in batch]
            except UnknownId:  # it is damaged, and left out from now on
                if not left:
                    raise
                continue
            hits = [_hits(store, state, conditions) for state in batch]
            if all(len(one) == len(state.slots) for one, state in zip(hits, batch, strict=True)):
                break  # else another process changed one meanwhile: look again
        # Where all were replaced meanwhile, each time: what they were when the search began.
        hits = [
            one or _hits(store, state, conditions, fresh=False)
            for one, state in zip(hits, batch, strict=True)
        ]
        for rows in rowids:
            store.recorder.note(rows.tolist())
        spent = 1000 * (time.perf_counter() - began)
        return [PipelineResult(tuple(one), _shares(costs), spent) for one in hits]

    @guarded
    def _query_states(
        self, store: Searchable, queries: Sequence[str], scope: Scope, filter: Filter | None
    ) -> Iterator[list[QueryState]]:
        """The questions as they are put to the scope's view, which stays as it is meanwhile."""
        with ExitStack() as stack:
            vectors: Sequence[Vectors | None] = [None] * len(queries)
            if any(stage.needs_vector for stage in self.stages):
                view, encoded = stack.enter_context(store.pinned_for(queries, scope))
                vectors = list(encoded)
            else:
                view = stack.enter_context(store.pinned(scope))
            allowed = view.allowed(filter)
            yield [QueryState(view, q, v, allowed) for q, v in zip(queries, vectors, strict=True)]

    def _run(self, batch: Sequence[QueryState], k: int) -> list[StageCost]:
        """Narrow every question's candidates down; what each stage did."""
        costs = []
        for stage in self.stages:
            began, cached = time.perf_counter(), stage.cached
            if stage is self._first:
                scored = sum(
                    a.view.size if a.allowed is None else int(a.allowed.sum()) for a in batch
                )
                for state in batch:
                    if state.view.size:  # else there is not even a width
                        state.scores, state.slots = self._first.open(state, max(stage.keep, k))
            else:
                scored = sum(len(state.slots) for state in batch)
                for state, scores in zip(batch, stage.score(batch), strict=True):
                    keep_best(state, scores, max(stage.keep, k))
            spent = 1000 * (time.perf_counter() - began)
            left = sum(len(state.slots) for state in batch)
            costs.append(StageCost(stage.name, scored, left, stage.cached - cached, spent, 0.0))
        return costs


def keep_best(state: QueryState, scores: Scores, count: int) -> None:
    """Leave a question its best candidates by these scores, equals by content.

    Args:
        state: The question.
        scores: `(m,)`, of its candidates.
        count: How many stay at most.

    Raises:
        InputError: There is not one score for each candidate.
    """
    rounded = np.asarray(scores, dtype=np.float64).round(DECIMALS)
    if rounded.shape != state.slots.shape:
        raise InputError(
            f"a stage must give a score for each of {len(state.slots)} candidates, "
            f"got the shape {rounded.shape}"
        )
    best = state.view.order(rounded, state.slots)[:count]
    state.slots, state.scores = state.slots[best], rounded[best].astype(np.float32)


def _hits(
    store: Searchable, state: QueryState, filter: Filter | None, *, fresh: bool = True
) -> list[Hit]:
    """The candidates that fulfil a filter.

    Args:
        store: Where they are.
        state: The candidates, with their scores.
        filter: What they must fulfil.
        fresh: Only those that the store holds yet, as they were when they were scored.
    """
    rowids = [int(rowid) for rowid in state.view.rowids[state.slots]]
    now, present = store.clock(), store.read_rows(rowids) if fresh else {}
    hits = []
    for rowid, slot, score in zip(rowids, state.slots, state.scores, strict=True):
        scored = state.passages[int(slot)]
        passage = present.get(rowid) if fresh else scored
        if passage is None or passage.content != scored.content:
            continue
        if not state.view.scope.moment.includes(passage, now):
            continue
        if filter and not filter.passages_mask([passage]).all():
            continue
        hits.append(Hit(passage, float(score)))
    return hits


def _shares(costs: Sequence[StageCost]) -> tuple[StageCost, ...]:
    total = sum(cost.milliseconds for cost in costs) or 1.0
    return tuple(replace(cost, share=cost.milliseconds / total) for cost in costs)
