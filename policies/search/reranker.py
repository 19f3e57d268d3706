"""Effort `thorough`: the best candidates, judged once more together with what was read.

The question is asked again of the names that each passage read brings (`subquestions`), and every
one of the best candidates is compared with every one of these sub-questions, token by token. For a
candidate i and a sub-question (e, x), of the name x that passage e brings,

    fit(i, e, x) = Σ_t w_t max_j cos(token t of the sub-question, token j of i) / Σ_t w_t
    joint(i)     = max over (e, x), e not i, of fit(i, e, x) less its mean over the candidates

What counts is z(joint(i)), in standard deviations over the candidates of the question
(`hoptrail.policies.search.scoring`). The first line is late
interaction (Khattab and Zaharia 2020, arXiv:2004.12832, eq. 3), its tokens weighted by how rare
their words are; where we differ is in what is asked: the question as it stands adds nothing to what
the policy knows already. Only what lies between candidates counts, never a cosine's own height, so
that the one weight survives a change of encoder. An encoder without token vectors gives each text
one vector in their place.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoptrail.memory.encoders.transformer import Encoder, Vectors
from hoptrail.memory.encoders.wrapped import uncached
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.search.late_interaction import TokenEncoder
from hoptrail.policies.environment.candidates import RetrievalScope
from hoptrail.policies.environment.reformulation import candidate_content
from hoptrail.policies.search.beam import Episode
from hoptrail.policies.search.scoring import Scores, rerank, round_score
from hoptrail.policies.search.sub_questions import SubQuestion, subquestions

READS, NAMES = 4, 4
"""Passages read that sub-questions come from, the likeliest, and sub-questions of each."""
HEAD = 550
"""Characters of a candidate that are compared."""
FUNCTION_WORD = 0.05
"""Weight of a word that the sparse index leaves out, beside the idf of the others."""
REMEMBERED = 256
"""Candidates whose token vectors are kept for the next question: about 70 kB each."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class RerankFit:
    """How well the best candidates of one question fit what was read, and what it took to tell."""

    slots: tuple[int, ...]
    """The candidates judged, best first as they were."""
    z: NDArray[np.float64]
    """Their joint fit, in standard deviations, `(n,)`."""
    sub_questions: Mapping[int, str]
    """For each of them, by slot, the sub-question that it fits best."""
    texts: int
    """Texts encoded."""
    pairs: int
    """Pairs of sub-question and candidate."""


NOT_RERANKED = RerankFit((), np.zeros(0), {}, 0, 0)

Tokens = tuple[Vectors, NDArray[np.float64]]
"""Token vectors `(t, d)`, L2-normalised, and their weights `(t,)`."""


class Reranker:
    """Judges the best candidates of walked questions jointly with what was read.

    Args:
        scope: What was walked; a scorer is good for one version of it.
        encoder: For sub-questions and candidates.
        count: How many candidates of a question are judged.
        weight: How much the joint fit counts.
    """

    def __init__(self, scope: RetrievalScope, encoder: Encoder, count: int, weight: float) -> None:
        self.scope, self.count, self.weight = scope, count, weight
        self.encoder = encoder
        inner = uncached(encoder)  # a cache keeps whole vectors
        self._tokens = inner if isinstance(inner, TokenEncoder) else None
        self._known: dict[int, Vectors] = {}  # in half precision; the oldest goes first

    def rerank(
        self, episodes: Sequence[Episode], scores: Sequence[Scores]
    ) -> list[tuple[Scores, RerankFit]]:
        """Score the best candidates of each episode anew.

        Args:
            episodes: Walks that are over.
            scores: Of each episode's candidates.

        Returns:
            For each episode its new scores, and how well its best candidates fit.
        """
        return [
            (rerank(before, fit.slots, fit.z, self.weight) if fit.slots else before, fit)
            for before, fit in zip(scores, self.compare(episodes, scores), strict=True)
        ]

    def compare(self, episodes: Sequence[Episode], scores: Sequence[Scores]) -> list[RerankFit]:
        """How well the best candidates of each episode fit what it read.

        Args:
            episodes: Walks that are over.
            scores: Of each episode's candidates, which say which are the best.
        """
        best = [sorted(one, key=self._order(one))[: self.count] for one in scores]
        sub_questions = [
            self._sub_questions(episode, one) if len(slots) > 1 else []
            for episode, one, slots in zip(episodes, scores, best, strict=True)
        ]
        best = [slots if any_ else [] for slots, any_ in zip(best, sub_questions, strict=True)]
        texts = self._encoded([one.text for questions in sub_questions for one in questions])
        passages, new = self._passages(episodes, best)
        out = []
        for questions, slots, fresh in zip(sub_questions, best, new, strict=True):
            sides, texts = texts[: len(questions)], texts[len(questions) :]
            if not questions:
                out.append(NOT_RERANKED)
                continue
            lead = _lead(fits(sides, [passages[slot] for slot in slots]), questions, slots)
            first = zip(slots, lead.argmax(0).tolist(), strict=True)
            out.append(
                RerankFit(
                    slots=tuple(slots),
                    z=_z(lead.max(0)),
                    sub_questions={slot: questions[i].text for slot, i in first},
                    texts=len(questions) + fresh,
                    pairs=len(questions) * len(slots),
                )
            )
        return out

    def _sub_questions(self, episode: Episode, scores: Scores) -> list[SubQuestion]:
        """The sub-questions of the passages likeliest to be read."""
        pool, sparse = episode.pool, self.scope.view.sparse
        reads = sorted(episode.read & pool.reads.keys(), key=self._order(scores))[:READS]
        passages = [terms.passage for terms in self.scope.lexicon.passage_terms(reads)]
        return [
            question
            for slot, passage in zip(reads, passages, strict=True)
            for question in subquestions(pool.question, slot, passage, sparse, NAMES)
        ]

    def _order(self, scores: Scores) -> Callable[[int], tuple[float, bytes]]:
        key = self.scope.view.content_key
        return lambda slot: (-round_score(scores.get(slot, 0.0)), key(slot))

    def _encoded(self, texts: list[str]) -> list[Tokens]:
        if not texts:
            return []
        if self._tokens is None:
            return [(vector[None], np.ones(1)) for vector in self.encoder.encode(texts)]
        sparse = self.scope.view.sparse
        encoded = self._tokens.encode_tokens(texts)
        return [
            (_unit(tokens if len(tokens) else whole[None]), _weights(text, spans, sparse))
            for text, (tokens, spans, whole) in zip(texts, encoded, strict=True)
        ]

    def _passages(
        self, episodes: Sequence[Episode], best: Sequence[Sequence[int]]
    ) -> tuple[dict[int, Vectors], list[int]]:
        """The token vectors of all candidates; how many of each episode's were encoded for it."""
        needed = dict.fromkeys(slot for slots in best for slot in slots)
        if self._tokens is None:
            vectors = self.scope.view.dense.vectors(np.asarray(list(needed), dtype=np.int64))
            return dict(zip(needed, vectors[:, None], strict=True)), [0] * len(best)
        missing: dict[int, str] = {}
        new = []
        for episode, slots in zip(episodes, best, strict=True):
            fresh = [s for s in slots if s not in self._known and s not in missing]
            missing.update((slot, candidate_content(episode.pool, slot)[:HEAD]) for slot in fresh)
            new.append(len(fresh))
        vectors_of = {slot: self._known[slot] for slot in needed if slot in self._known}
        encoded = self._tokens.encode_tokens(list(missing.values())) if missing else []
        for slot, (tokens, _, whole) in zip(missing, encoded, strict=True):
            vectors_of[slot] = _unit(tokens if len(tokens) else whole[None]).astype(np.float16)
        self._known.update(vectors_of)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return {slot: vectors.astype(np.float32) for slot, vectors in vectors_of.items()}, new


def fits(texts: Sequence[Tokens], passages: Sequence[Vectors]) -> NDArray[np.float64]:
    """How well each passage answers to each text, `(texts, passages)`: weighted late interaction.

    Args:
        texts: Token vectors `(t, d)` of each text, L2-normalised, and their weights `(t,)`.
        passages: Token vectors `(p, d)` of each passage, L2-normalised.

    Examples:
        >>> east, north = np.eye(2, dtype=np.float32)
        >>> text = np.stack([east, north]), np.asarray([3.0, 1.0])
        >>> fits([text], [np.stack([east, -north]), north[None]]).tolist()
        [[0.75, 0.25]]
    """
    starts = np.cumsum([0, *(len(passage) for passage in passages)])[:-1]
    stacked = np.concatenate(passages)
    out = np.zeros((len(texts), len(passages)))
    for row, (tokens, weights) in enumerate(texts):
        nearest = np.maximum.reduceat(tokens @ stacked.T, starts, axis=1)
        out[row] = weights @ nearest / weights.sum()
    return out


def _lead(
    fit: NDArray[np.float64], questions: Sequence[SubQuestion], slots: Sequence[int]
) -> NDArray[np.float64]:
    """Each fit less the mean of the sub-question's; 0 where a passage would answer its own."""
    own = np.asarray([[one.read == slot for slot in slots] for one in questions])
    others = np.where(own, 0.0, fit)
    mean = others.sum(1, keepdims=True) / np.maximum((~own).sum(1, keepdims=True), 1)
    return np.where(own, 0.0, fit - mean)


def _z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In standard deviations from the mean; zeros where all are equal."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)


def _unit(vectors: Vectors) -> Vectors:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(norm, 1e-9)
    return unit


def _weights(text: str, spans: NDArray[np.int64], sparse: SparseIndex) -> NDArray[np.float64]:
    """The weight of each token: the idf of the word that it is a piece of."""
    matches = list(_WORD.finditer(text))
    starts = [word.start() for word in matches]
    rarity = [
        max((sparse.idf(term) for term in sparse.terms(word.group())), default=0.0)
        for word in matches
    ]
    places = [bisect_right(starts, start) - 1 for start in spans[:, 0].tolist()]
    inside = [
        rarity[i] if i >= 0 and matches[i].end() > s else 0.0
        for i, s in zip(places, spans[:, 0].tolist(), strict=True)
    ]
    return FUNCTION_WORD + np.asarray(inside or [0.0])
