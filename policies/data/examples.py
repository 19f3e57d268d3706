"""Questions made ready for training: their pools, with the gold and some wrong turns read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.metrics.clusters import connected_components
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.candidates import CandidatePool, RetrievalScope
from hoptrail.policies.environment.features import Features, as_links, features
from hoptrail.policies.environment.reformulation import Reformulator
from hoptrail.policies.environment.state import State, StateInput, state_input
from hoptrail.policies.environment.terms import Lexicon
from hoptrail.types import Namespace, Question

WRONG_HITS, WRONG_NAMED = 6, 4
"""How many of the best hits and of the named passages are read besides the gold: a policy that
never saw what follows a wrong turn cannot get over one."""
AT_ONCE = 64
"""Questions prepared in one encoder call."""


class Source(StrEnum):
    """Where a question comes from; it decides which stages and networks learn from it."""

    GIVEN = "given"
    """People asked it of their corpus."""
    AUGMENTED = "augmented"
    """It is asked of a corpus made from theirs; see `hoptrail.policies.data.augmentation`."""
    PSEUDO = "pseudo"
    """It was made of the passages; see `hoptrail.policies.data.pseudo_questions`."""
    FEEDBACK = "feedback"
    """It was a recall, and its gold is what was useful."""


class PoolFeatures:
    """The features of a pool that widens, worked out when they are asked for.

    Args:
        pool: The candidates of a question.
    """

    def __init__(self, pool: CandidatePool) -> None:
        self.pool = pool
        self._features: Features | None = None
        self._as_links: Features | None = None
        self._reads = 0  # how many the pool had when these were worked out
        self._mark = (0, 0)

    def mark(self) -> None:
        """Let `reset` come back to the reads and candidates that the pool has now."""
        self._mark = self._size()

    def reset(self) -> None:
        """Take out of the pool what was read since `mark`."""
        if self._mark != self._size():
            self.pool.forget(*self._mark)
            self._features = None
        self._as_links = None  # cheap to make again, and half of all memory to keep

    def now(self, *, mentions_as_links: bool) -> Features:
        """The features of the pool as it is.

        Args:
            mentions_as_links: Whether mentions are shown as links.
        """
        if self._features is None or self._reads != len(self.pool.reads):
            self._features, self._reads = features(self.pool), len(self.pool.reads)
            self._as_links = None
        if not mentions_as_links:
            return self._features
        if self._as_links is None:
            self._as_links = as_links(self._features)
        return self._as_links

    def _size(self) -> tuple[int, int]:
        return len(self.pool.reads), len(self.pool.slots)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A question to learn from, with its candidates; each is equal to itself alone.

    Nothing of it changes but its pool, which reading widens: what was true stays true.
    """

    question: Question
    features: PoolFeatures
    """Of its candidates."""
    gold: tuple[int, ...]
    """Slots of the supporting passages; none where they are not known."""
    source: Source = Source.GIVEN
    mentions_as_links: bool = False
    """Whether mentions are shown to the policy as links; see `features.as_links`."""
    corpus: str = ""
    """What the passages are in: with a namespace and an id it tells a passage from all others."""

    @property
    def pool(self) -> CandidatePool:
        """The candidates, with what was read of them."""
        return self.features.pool

    @property
    def wrong(self) -> list[int]:
        """Slots that were read and are not gold."""
        return [slot for slot in self.pool.reads if slot not in self.gold]

    def with_mentions_as_links(self) -> Example:
        """The same question over the same pool, whose mentions the policy sees as links."""
        return replace(self, mentions_as_links=True)

    def mark(self) -> None:
        """The example is prepared: `reset` comes back to here."""
        self.features.mark()

    def reset(self) -> None:
        """Forget what was read since it was prepared, so that an epoch depends on none before."""
        self.features.reset()

    def state(self, evidence: State) -> StateInput:
        """What the policy sees with some evidence.

        Args:
            evidence: Slots, all of which must have been read.
        """
        now = self.features.now(mentions_as_links=self.mentions_as_links)
        return state_input(self.pool, now, evidence)


def read_all(reads: Sequence[tuple[Example, int]], reformulator: Reformulator) -> None:
    """Read passages for their questions, where they were not read yet, in one encoder call.

    Args:
        reads: Questions and slots; what is read becomes part of the questions' pools.
        reformulator: Rewrites the query from each.
    """
    missing = dict.fromkeys(
        (example, slot) for example, slot in reads if slot not in example.pool.reads
    )
    queries = reformulator.rewrite([(example.pool, slot) for example, slot in missing])
    rows_of: dict[Example, list[int]] = {}
    slots: list[int] = []
    for row, (example, slot) in enumerate(missing):
        rows_of.setdefault(example, []).append(row)
        slots.append(slot)
    for example, rows in rows_of.items():
        example.pool.read([slots[row] for row in rows], queries[rows])


def prepare(
    corpora: Sequence[OpenCorpus],
    encoder: Encoder,
    *,
    source: Source = Source.GIVEN,
    reencode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Example]:
    """The questions of all corpora, each with its pool.

    Args:
        corpora: Opened corpora.
        encoder: For questions and rewritten queries; one that caches makes the next run quick.
        source: Where the questions come from.
        reencode: Encode what queries are rewritten to; otherwise they move as vectors.
        progress: Called with (done, total) questions.

    Raises:
        FormatError: A question's gold passage is not in its corpus.
    """
    total = sum(len(corpus.questions) for corpus in corpora)
    encoder = query_side(encoder)
    reformulator = Reformulator(encoder, reencode=reencode)
    out: list[Example] = []
    done = 0
    for corpus in corpora:
        scopes: dict[Namespace, RetrievalScope] = {}
        for chunk in _chunks(corpus.questions):
            vectors = encoder.encode([question.text for question in chunk])
            examples = []
            for question, vector in zip(chunk, vectors, strict=True):
                if question.namespace not in scopes:
                    scope = corpus.scope_of(question)
                    scopes[question.namespace] = RetrievalScope(
                        scope.view, scope.graph, Lexicon(scope.view, scope.graph)
                    )
                pool = CandidatePool(question.text, vector, scopes[question.namespace])
                examples.append(
                    Example(
                        question,
                        PoolFeatures(pool),
                        corpus.gold(question),
                        source,
                        corpus=str(corpus.store.path),
                    )
                )
            read_all([(e, slot) for e in examples for slot in to_read(e)], reformulator)
            for example in examples:
                example.mark()
            out += examples
            done += len(chunk)
            if progress:
                progress(done, total)
    return out


def to_read(example: Example) -> list[int]:
    """What is read of an example before training: its gold, and some wrong turns.

    Args:
        example: A question whose pool holds nothing but what the question brought.

    Returns:
        Slots.
    """
    pool = example.pool
    named = sorted(pool.named, key=pool.scope.view.content_key)[:WRONG_NAMED]
    return list(dict.fromkeys([*example.gold, *pool.rankings[0][:WRONG_HITS], *named]))


def _chunks(questions: list[Question]) -> Iterator[list[Question]]:
    for start in range(0, len(questions), AT_ONCE):
        yield questions[start : start + AT_ONCE]


def gold_clusters(examples: Sequence[Example]) -> NDArray[np.int64]:
    """A cluster number for each example: those that share a gold passage are in one.

    Args:
        examples: n questions of any corpora; ids are those of a corpus.

    Returns:
        `(n,)`, from 0 in the order of first appearance.
    """
    return connected_components(
        [
            [
                (example.corpus, example.question.namespace, passage)
                for passage in example.question.supporting_ids
            ]
            for example in examples
        ]
    )
