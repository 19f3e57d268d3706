"""Questions made ready for training: their pools, with the states that are learned from entered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hoptrail.learning.set_likelihood import MAX_GOLD
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.metrics.clusters import connected_components
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.environment.candidates import CandidatePool, RetrievalScope
from hoptrail.policies.environment.features import Features, as_links, features
from hoptrail.policies.environment.reformulation import AnyReformulator
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
    INFERRED = "inferred"
    """People asked it and gave the answer; its gold is what a policy inferred from that. See
    `hoptrail.policies.objectives.inferred_evidence`."""
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
        self._known = (0, 0)  # reads and candidates of the pool when these were worked out
        self._mark = (0, 0, 0)

    def mark(self) -> None:
        """Let `reset` come back to the reads, states and candidates that the pool has now."""
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
        size = len(self.pool.reads), len(self.pool.slots)
        if self._features is None or self._known != size:
            self._features, self._known = features(self.pool), size
            self._as_links = None
        if not mentions_as_links:
            return self._features
        if self._as_links is None:
            self._as_links = as_links(self._features)
        return self._as_links

    def _size(self) -> tuple[int, int, int]:
        return len(self.pool.reads), len(self.pool.queries), len(self.pool.slots)


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
    detours: tuple[State, ...] = ()
    """States behind a wrong turn, to learn from: some of the gold, and a passage that is not."""
    source: Source = Source.GIVEN
    confidence: float = 1.0
    """How probable it is that the gold is right: below 1 where it was inferred."""
    mentions_as_links: bool = False
    """Whether mentions are shown to the policy as links; see `features.as_links`."""
    corpus: str = ""
    """What the passages are in: with a namespace and an id it tells a passage from all others."""

    @property
    def pool(self) -> CandidatePool:
        """The candidates, with what was read of them."""
        return self.features.pool

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
            evidence: Slots of a state that was entered.
        """
        now = self.features.now(mentions_as_links=self.mentions_as_links)
        return state_input(self.pool, now, evidence)


def enter_all(states: Sequence[tuple[Example, State]], reformulator: AnyReformulator) -> None:
    """Enter states of questions, where they were not entered yet, in one encoder call.

    Args:
        states: Questions with the evidence of a state.
        reformulator: Asks their queries, which become part of the questions' pools.
    """
    reformulator.enter([(example.pool, evidence) for example, evidence in states])


def prepare(
    corpora: Sequence[OpenCorpus],
    encoder: Encoder,
    reformulator: AnyReformulator,
    *,
    source: Source = Source.GIVEN,
    wrong_turns: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Example]:
    """The questions of all corpora, each with its pool.

    Args:
        corpora: Opened corpora.
        encoder: For questions; one that caches makes the next run quick.
        reformulator: Asks the queries of the states that are learned from.
        source: Where the questions come from.
        wrong_turns: Whether states behind a wrong turn are entered too, to learn from.
        progress: Called with (done, total) questions.

    Raises:
        FormatError: A question's gold passage is not in its corpus.
    """
    total = sum(len(corpus.questions) for corpus in corpora)
    encoder = query_side(encoder)
    out: list[Example] = []
    for corpus in corpora:
        scopes: dict[Namespace, RetrievalScope] = {}
        for chunk in _chunks(corpus.questions):
            texts = [question.text for question in chunk]
            vectors = encoder.encode(texts)
            firsts = reformulator.first(texts, vectors)
            examples = []
            for question, vector, first in zip(chunk, vectors, firsts, strict=True):
                if question.namespace not in scopes:
                    scope = corpus.scope_of(question)
                    scopes[question.namespace] = RetrievalScope(
                        scope.view, scope.graph, Lexicon(scope.view, scope.graph)
                    )
                pool = CandidatePool(question.text, vector, scopes[question.namespace], first=first)
                gold = corpus.gold(question)
                examples.append(
                    Example(
                        question,
                        PoolFeatures(pool),
                        gold,
                        detours(pool, gold) if wrong_turns else (),
                        source,
                        corpus=str(corpus.store.path),
                    )
                )
            enter_all([(e, state) for e in examples for state in to_enter(e)], reformulator)
            for example in examples:
                example.mark()
            out += examples
            if progress:
                progress(len(out), total)
    return out


def subsets_of_gold(gold: Sequence[int]) -> list[State]:
    """The states that read nothing but gold; which of it, the bits of a state's place say.

    Args:
        gold: Slots of the supporting passages; those beyond `MAX_GOLD` are left out.
    """
    gold = gold[:MAX_GOLD]
    return [
        tuple(slot for j, slot in enumerate(gold) if code >> j & 1)
        for code in range(2 ** len(gold))
    ]


def detours(pool: CandidatePool, gold: Sequence[int]) -> tuple[State, ...]:
    """For each wrong turn a state behind it, with some of the gold; the question decides which.

    Args:
        pool: That of a question, with nothing read.
        gold: Slots of its supporting passages.
    """
    named = sorted(pool.named, key=pool.scope.view.content_key)[:WRONG_NAMED]
    turns = dict.fromkeys([*pool.rankings[0][:WRONG_HITS], *named])
    subsets = subsets_of_gold(gold)
    digest = hashlib.sha256(pool.question.encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng(list(digest[:8]))
    return tuple(
        (*subsets[int(rng.integers(len(subsets)))], turn) for turn in turns if turn not in gold
    )


def to_enter(example: Example) -> list[State]:
    """The states of an example that are entered before training: of its gold, and its detours.

    Args:
        example: A question with its pool.
    """
    return [*subsets_of_gold(example.gold), *example.detours]


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
