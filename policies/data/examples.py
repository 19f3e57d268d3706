"""Questions made ready for training: their pools, with the gold and some wrong turns read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hoptrail.memory.encoders.transformer import Encoder
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


@dataclass(slots=True)
class Example:
    """A question with its pool. Reading more widens the pool; what was true stays true."""

    question: Question
    pool: CandidatePool
    gold: tuple[int, ...]
    """Slots of the supporting passages; none where they are not known."""
    asked: Question | None = None
    """Of a question that varies another, that other; of one that was made, itself; else None."""
    linked: bool = False
    """Whether mentions are shown to the policy as links; see `features.as_links`."""
    _features: Features | None = field(default=None, repr=False)
    _as_links: Features | None = field(default=None, repr=False)
    _reads: int = 0
    _settled: tuple[int, int] = (0, 0)
    """How many reads and candidates the pool had once it was prepared."""

    @property
    def wrong(self) -> list[int]:
        """Slots that were read and are not gold."""
        return [slot for slot in self.pool.reads if slot not in self.gold]

    def settle(self) -> None:
        """The example is prepared: `renew` comes back to here."""
        self._settled = len(self.pool.reads), len(self.pool.slots)

    def renew(self) -> None:
        """Forget what was read since it was prepared, so that an epoch depends on none before."""
        if self._settled != (len(self.pool.reads), len(self.pool.slots)):
            self.pool.forget(*self._settled)
            self._features = None
        self._as_links = None  # cheap to make again, and half of all memory to keep

    def state(self, evidence: State) -> StateInput:
        """What the policy sees with this evidence, all of which must have been read."""
        if self._features is None or self._reads != len(self.pool.reads):
            self._features, self._reads = features(self.pool), len(self.pool.reads)
            self._as_links = None
        if not self.linked:
            return state_input(self.pool, self._features, evidence)
        if self._as_links is None:
            self._as_links = as_links(self._features)
        return state_input(self.pool, self._as_links, evidence)


def read_all(wanted: Sequence[tuple[Example, int]], reformulator: Reformulator) -> None:
    """Read passages for their questions, where they were not read yet, in one encoder call."""
    missing: dict[tuple[int, int], tuple[Example, int]] = {
        (id(example), slot): (example, slot)
        for example, slot in wanted
        if slot not in example.pool.reads
    }
    queries = reformulator.rewrite([(e.pool, slot) for e, slot in missing.values()])
    by_example: dict[int, list[int]] = {}
    for row, (key, _) in enumerate(missing):
        by_example.setdefault(key, []).append(row)
    reads = list(missing.values())
    for rows in by_example.values():
        reads[rows[0]][0].pool.read([reads[row][1] for row in rows], queries[rows])


def prepare(
    corpora: Sequence[OpenCorpus],
    encoder: Encoder,
    *,
    reencode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Example]:
    """The questions of all corpora, each with its pool.

    Args:
        corpora: Opened corpora.
        encoder: For questions and rewritten queries; one that caches makes the next run quick.
        reencode: Encode what queries are rewritten to; otherwise they move as vectors.
        progress: Called with (done, total) questions.
    """
    total = sum(len(corpus.questions) for corpus in corpora)
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
                examples.append(Example(question, pool, corpus.gold(question)))
            read_all([(e, slot) for e in examples for slot in to_read(e)], reformulator)
            for example in examples:
                example.settle()
            out += examples
            done += len(chunk)
            if progress:
                progress(done, total)
    return out


def to_read(example: Example) -> list[int]:
    """What is read of an example before training: its gold, and some wrong turns."""
    pool = example.pool
    named = sorted(pool.named, key=pool.scope.view.content_key)[:WRONG_NAMED]
    return list(dict.fromkeys([*example.gold, *pool.rankings[0][:WRONG_HITS], *named]))


def _chunks(questions: list[Question]) -> Iterator[list[Question]]:
    for start in range(0, len(questions), AT_ONCE):
        yield questions[start : start + AT_ONCE]
