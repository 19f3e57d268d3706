"""LinearRAG's retrieval (Zhuang et al., 2025, arXiv:2510.10114), written from its description.

The whole method needs no LLM before an answer is written: names, sentences and passages are linked,
names of the question activate names of the corpus, these activate others through the sentences that
are nearest to the question, and personalised PageRank ranks passages by all of it. Ours: this code,
and the recogniser (`entity_graph`). Settings are the published defaults.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.peers.entity_graph import EntityGraph, Walk, question_names
from benchmarks.peers.peer import Index, Scored, SharedEncoder, top
from hoptrail.formats.sequences import NEXT
from hoptrail.types import Passage

ROUNDS = 3
"""Of activation, the names of the question being the first."""

THRESHOLD = 0.5
"""A name that is activated less leads no further."""

SENTENCES = 1
"""Of a name, that activate others in a round."""

PASSAGE_RATIO, PASSAGE_WEIGHT, DAMPING = 1.5, 0.05, 0.5


class LinearRagIndex:
    """The graph of passages and names, and all vectors."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        self._ids = [passage.id for passage in passages]
        self._encoder = encoder
        self._vectors = encoder.passages([passage.content for passage in passages])
        self._graph = EntityGraph(passages, encoder)
        self._names = list(self._graph.entities)
        texts = [passage.content.lower() for passage in passages]
        self._text = "\n".join(texts)
        self._starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
        count = len(passages)
        edges = [(p, count + e, w) for p, e, w in self._graph.mention_edges(shares=True)]
        rows = {id_: row for row, id_ in enumerate(self._ids)}
        edges += [
            (rows[passage.id], rows[link.target], 1.0)
            for passage in passages
            for link in passage.links
            if link.kind == NEXT and link.target in rows
        ]
        self._walk = Walk(count + len(self._names), edges)

    def search(self, text: str, k: int) -> Scored:
        """By the walk from activated names and all passages; by vectors where no name is known."""
        vector = self._encoder.question(text)
        cosines = self._vectors @ vector
        names = question_names(text)
        if not names or not self._names:
            return top(cosines, self._ids, k)
        weights, active = self._activate(names, vector)
        low, high = cosines.min(), cosines.max()
        near = (cosines - low) / (high - low) if high > low else np.ones_like(cosines)
        passages = PASSAGE_RATIO * near + np.log1p(self._bonus(active))
        reset = np.concatenate([PASSAGE_WEIGHT * passages, weights])
        return top(self._walk.shares(reset, DAMPING)[: len(self._ids)], self._ids, k)

    def _activate(
        self, names: list[str], question: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], dict[int, tuple[float, int]]]:
        """Weights of all names, and of the active ones the activation and its round."""
        weights = np.zeros(len(self._names))
        likeness = self._encoder.questions.encode(names) @ self._graph.entity_vectors.T
        active: dict[int, tuple[float, int]] = {}
        for row in likeness:
            entity = int(row.argmax())
            active[entity] = (float(row[entity]), 1)
            weights[entity] = row[entity]
        used: set[int] = set()
        current = dict(active)
        for tier in range(2, ROUNDS + 1):
            following: dict[int, tuple[float, int]] = {}
            for entity, (score, _) in current.items():
                if score < THRESHOLD:
                    continue
                rows = [row for row in self._graph.entity_sentences[entity] if row not in used]
                cosines = self._graph.sentence_vectors[rows] @ question
                for place in np.argsort(-cosines)[:SENTENCES]:
                    used.add(rows[place])
                    onward = score * float(cosines[place])
                    if onward < THRESHOLD:
                        continue
                    for other in self._graph.sentence_entities[rows[place]]:
                        weights[other] += onward
                        following[other] = (onward, tier)
            active.update(following)
            current = following
        return weights, active

    def _bonus(self, active: dict[int, tuple[float, int]]) -> NDArray[np.float64]:
        """For each passage, what the active names that its text holds are worth."""
        bonus = np.zeros(len(self._ids))
        for entity, (score, tier) in active.items():
            places, at = [], self._text.find(self._names[entity])
            while at >= 0:
                places.append(at)
                at = self._text.find(self._names[entity], at + 1)
            rows = np.searchsorted(self._starts, places, side="right") - 1
            for row, times in zip(*np.unique(rows, return_counts=True), strict=True):
                bonus[row] += score * math.log1p(times) / tier
        return bonus

    def save(self, folder: Path) -> None:
        """Vectors, graph, names and texts: what a search needs."""
        graph = self._graph
        np.savez(
            folder / "vectors.npz", self._vectors, graph.entity_vectors, graph.sentence_vectors
        )
        sparse.save_npz(folder / "graph.npz", self._walk.matrix)
        lists = [self._ids, self._names, graph.sentence_entities, self._text]
        (folder / "names.json").write_text(json.dumps(lists), encoding="utf-8")


class LinearRag:
    """LinearRAG, by our code."""

    name = "LinearRAG (ours)"
    requires = ("scipy",)
    settings = (
        "3 rounds, 1 sentence a name, threshold 0.5, passage ratio 1.5, passage weight 0.05, "
        "damping 0.5; names by capital letters in place of spaCy; turns in sequence are linked"
    )
    persists: str | None = None

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """Its graph over the passages."""
        return LinearRagIndex(passages, encoder)
