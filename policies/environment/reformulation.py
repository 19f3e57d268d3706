"""The next query of a state: from the question and the evidence, as a set.

The learned reformulator (`policies.reformulation`) encodes both with the changed query side of the
memory's encoder, one pass for all states of a hop. Where a pass does not pay, at effort `fast` and
in states that are hardly probable, a small network moves the first query by the vectors of the
evidence. For an encoder that nothing was learned for, a fixed rule takes its place: the same text
in the encoder as it is, as in multi-hop dense retrieval (Xiong et al. 2021, arXiv:2009.12756,
eq. 2), or norm(q + mean of v).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.policies.environment.candidates import CandidatePool, search_nearest
from hoptrail.policies.reformulation.learned import LearnedReformulator
from hoptrail.policies.reformulation.query_text import query_text

Evidence = tuple[int, ...]
"""Slots of what was read, in any order."""


class Reformulator:
    """Asks the next query of states, and reads for them what was not read yet.

    Args:
        encoder: The memory's, in whatever form; for what was not learned.
        reencode: Whether to encode a state's text; otherwise the first query moves as a vector.
        learned: What was trained; passed over where it is of another encoder.
        cache: Puts a cache before what encodes queries; none by default.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        reencode: bool,
        learned: LearnedReformulator | None = None,
        cache: Callable[[Encoder], Encoder] | None = None,
    ) -> None:
        self.reencode = reencode
        self.learned = learned if learned is not None and learned.suits(encoder) else None
        changed = self.learned.query_encoder(encoder) if self.learned is not None else encoder
        self._encoder = for_questions(changed)
        if cache is not None:
            self._encoder = cache(self._encoder)

    def first(self, questions: Sequence[str], vectors: Vectors) -> Vectors:
        """The first queries, `(n, d)`: of the states in which nothing was read.

        Args:
            questions: n of them, in words.
            vectors: `(n, d)`, as the memory's encoder gives them.
        """
        if self.learned is None or not len(questions):
            return vectors
        return self._encoder.encode(list(questions))

    def enter(
        self,
        states: Sequence[tuple[CandidatePool, Evidence]],
        worth_encoding: Sequence[bool] | None = None,
    ) -> list[int]:
        """Enter states: read their evidence where it was not read yet, and ask their queries.

        Args:
            states: Pools with the evidence of a state; those that were entered cost nothing.
            worth_encoding: Of which of them the text is encoded, where texts are; of all by
                default. The queries of the others move as vectors.

        Returns:
            For each how many texts were encoded for it, 0 or 1.
        """
        by_slot = {(id(p), slot): (p, slot) for p, evidence in states for slot in evidence}
        unread = [(pool, slot) for pool, slot in by_slot.values() if slot not in pool.reads]
        first_row: dict[tuple[int, frozenset[int]], int] = {}
        for row, (pool, evidence) in enumerate(states):
            if frozenset(evidence) not in pool.queries:
                first_row.setdefault((id(pool), frozenset(evidence)), row)
        rows = list(first_row.values())
        encoding = [
            row for row in rows if self.reencode and (worth_encoding is None or worth_encoding[row])
        ]
        moving = [row for row in rows if row not in encoding]
        self._widen(
            unread,
            [(states[row][0], in_order(*states[row])) for row in moving],
            [(states[row][0], in_order(*states[row])) for row in encoding],
        )
        return [int(row in encoding) for row in range(len(states))]

    def _widen(
        self,
        unread: Sequence[tuple[CandidatePool, int]],
        moving: Sequence[tuple[CandidatePool, Evidence]],
        encoding: Sequence[tuple[CandidatePool, Evidence]],
    ) -> None:
        """Read passages and ask the queries of states, all in one search.

        Args:
            unread: Pools with a passage each, all different.
            moving: Pools with the evidence of a state whose query moves as a vector, likewise.
            encoding: The same of states whose text is encoded.
        """
        requests: list[tuple[CandidatePool, Evidence]] = [(pool, (slot,)) for pool, slot in unread]
        # What one passage alone leads to is the query of the state that read it alone.
        row_of = {(id(pool), evidence): row for row, (pool, evidence) in enumerate(requests)}
        for pool, evidence in moving:
            if (id(pool), evidence) not in row_of:
                row_of[id(pool), evidence] = len(requests)
                requests.append((pool, evidence))
        texts = [state_text(pool, evidence) for pool, evidence in encoding]
        queries = self._moved(requests)
        if texts:
            queries = np.concatenate([queries, self._encoder.encode(texts)])
        hits = search_nearest([pool for pool, _ in (*requests, *encoding)], queries)
        rows_by_pool: dict[int, list[int]] = {}
        for row, (pool, _) in enumerate(unread):
            rows_by_pool.setdefault(id(pool), []).append(row)
        for rows in rows_by_pool.values():
            slots = [unread[row][1] for row in rows]
            unread[rows[0]][0].read(slots, queries[rows], [hits[row] for row in rows])
        asking: list[tuple[int, str | None]] = [
            *((row_of[id(pool), evidence], None) for pool, evidence in moving),
            *((len(requests) + i, text) for i, text in enumerate(texts)),
        ]
        for (pool, evidence), (row, text) in zip((*moving, *encoding), asking, strict=True):
            pool.ask([evidence], queries[row : row + 1], [text], [hits[row]])

    def _moved(self, states: Sequence[tuple[CandidatePool, Evidence]]) -> Vectors:
        """The first queries moved by the vectors of the evidence, `(n, d)`, L2-normalised."""
        if not states:
            return np.zeros((0, self._encoder.dim), dtype=np.float32)
        first = np.stack([pool.query(()).vector for pool, _ in states])
        vectors = np.concatenate(
            [p.scope.view.dense.vectors(np.asarray(evidence)) for p, evidence in states]
        )
        owner = np.repeat(np.arange(len(states)), [len(evidence) for _, evidence in states])
        if self.learned is not None:
            return self.learned.latent.move(first, vectors, owner)
        mean = np.zeros_like(first)
        np.add.at(mean, owner, vectors)
        moved = first + mean / np.bincount(owner, minlength=len(states))[:, None]
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit


class CrossFittedReformulator:
    """Asks for each question by a reformulator that has not seen it, as training does.

    Args:
        whole: Trained on all questions; it asks for those that are in no part.
        parts: Each trained on the questions of all parts but its own.
        part_of: The part that a question is in; None for none.
    """

    def __init__(
        self,
        whole: Reformulator,
        parts: Sequence[Reformulator],
        part_of: Callable[[str], int | None],
    ) -> None:
        self._whole, self._parts, self._part_of = whole, parts, part_of
        self.reencode = whole.reencode

    def first(self, questions: Sequence[str], vectors: Vectors) -> Vectors:
        """As `Reformulator.first`."""
        out = vectors.copy()
        for one, rows in self._by_part(questions):
            out[rows] = one.first([questions[row] for row in rows], vectors[rows])
        return out

    def enter(
        self,
        states: Sequence[tuple[CandidatePool, Evidence]],
        worth_encoding: Sequence[bool] | None = None,
    ) -> list[int]:
        """As `Reformulator.enter`."""
        encoded = [0] * len(states)
        for one, rows in self._by_part([pool.question for pool, _ in states]):
            worth = None if worth_encoding is None else [worth_encoding[row] for row in rows]
            counts = one.enter([states[row] for row in rows], worth)
            for row, count in zip(rows, counts, strict=True):
                encoded[row] = count
        return encoded

    def _by_part(self, questions: Sequence[str]) -> list[tuple[Reformulator, list[int]]]:
        rows: dict[int, list[int]] = {}
        for row, question in enumerate(questions):
            part = self._part_of(question)
            rows.setdefault(-1 if part is None else part, []).append(row)
        return [
            (self._whole if part < 0 else self._parts[part], of_part)
            for part, of_part in sorted(rows.items())
        ]


AnyReformulator = Reformulator | CrossFittedReformulator


def in_order(pool: CandidatePool, evidence: Evidence) -> Evidence:
    """The evidence in an order that depends on the set alone: as the question ranks it by meaning.

    Args:
        pool: The question's.
        evidence: Slots of passages that were read.
    """
    view = pool.scope.view
    cosines = view.dense.cosines(pool.vector, np.asarray(evidence, dtype=np.int64)).round(4)
    keyed = zip((-cosines).tolist(), evidence, strict=True)
    return tuple(slot for _, slot in sorted(keyed, key=lambda k: (k[0], view.content_key(k[1]))))


def state_text(pool: CandidatePool, evidence: Evidence) -> str:
    """What the encoder reads in a state; see `policies.reformulation.query_text`.

    Args:
        pool: The question's.
        evidence: Slots, in the order of `in_order`.
    """
    return query_text(pool.question, [candidate_content(pool, slot) for slot in evidence])


def candidate_content(pool: CandidatePool, slot: int) -> str:
    """The content of a candidate.

    Args:
        pool: The question's.
        slot: Of the candidate.
    """
    return pool.scope.lexicon.passage_terms([slot])[0].passage.content
