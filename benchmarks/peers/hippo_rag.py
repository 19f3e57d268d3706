"""HippoRAG 2's retrieval (Gutiérrez et al., ICML 2025, arXiv:2502.14802) as far as it needs no LLM.

Kept: phrases and passages as nodes; edges between phrases of one fact, between a passage and its
phrases, and between phrases that are synonyms by their vectors; facts that are nearest to the
question give weight to their phrases, each divided by the passages that hold it; all passages get
a little by their own likeness; personalised PageRank. Replaced: the triples that an LLM extracts,
by the sentences that hold at least two names (a fact is its sentence; its phrases are the names in
it). Left out: the LLM that filters facts at query time. Ours: this code. Settings are the published
defaults.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from scipy import sparse

from benchmarks.peers.entity_graph import EntityGraph, Walk
from benchmarks.peers.peer import Index, Scored, SharedEncoder, top
from hoptrail.types import Passage

FACTS = 5
"""Facts that a question is linked to, and phrases that keep a weight."""

SYNONYM = 0.8
"""Cosine from which two phrases are synonyms."""

NEIGHBOURS = 100
"""Phrases that are looked at for synonyms of one; published are 2,047, of which few pass."""

PASSAGE_WEIGHT, DAMPING = 0.05, 0.5


class HippoRagIndex:
    """The graph of passages and phrases, and all vectors."""

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        self._ids = [passage.id for passage in passages]
        self._encoder = encoder
        self._vectors = encoder.passages([passage.content for passage in passages])
        graph = EntityGraph(passages, encoder)
        count, size = len(passages), len(graph.entities)
        facts = [row for row, names in enumerate(graph.sentence_entities) if len(names) > 1]
        self._facts = [graph.sentence_entities[row] for row in facts]
        self._fact_vectors = graph.sentence_vectors[facts]
        self._passages_of = np.zeros(size)
        edges = []
        for passage, entity, weight in graph.mention_edges(shares=False):
            self._passages_of[entity] += 1
            edges.append((passage, count + entity, weight))
        edges += [(count + a, count + b, weight) for a, b, weight in graph.together()]
        edges += [(count + a, count + b, weight) for a, b, weight in synonyms(graph.entity_vectors)]
        self._walk = Walk(count + size, edges)

    def search(self, text: str, k: int) -> Scored:
        """By the walk from the phrases of the nearest facts and all passages."""
        vector = self._encoder.question(text)
        cosines = self._vectors @ vector
        if not self._facts:
            return top(cosines, self._ids, k)
        low, high = cosines.min(), cosines.max()
        near = (cosines - low) / (high - low) if high > low else np.ones_like(cosines)
        weights = self._phrase_weights(spread(self._fact_vectors @ vector))
        reset = np.concatenate([PASSAGE_WEIGHT * near, weights])
        return top(self._walk.shares(reset, DAMPING)[: len(self._ids)], self._ids, k)

    def _phrase_weights(self, scores: np.ndarray) -> np.ndarray:
        scores_of: dict[int, list[float]] = {}
        for fact in np.argsort(-scores, kind="stable")[:FACTS]:
            for entity in self._facts[fact]:
                scores_of.setdefault(entity, []).append(float(scores[fact]))
        means = {entity: float(np.mean(values)) for entity, values in scores_of.items()}
        weights = np.zeros(len(self._passages_of))
        for entity in sorted(means, key=lambda entity: -means[entity])[:FACTS]:
            weights[entity] = scores_of[entity][-1] / max(1.0, self._passages_of[entity])
        return weights

    def save(self, folder: Path) -> None:
        """Vectors, graph and facts: what a search needs."""
        np.savez(folder / "vectors.npz", self._vectors, self._fact_vectors)
        sparse.save_npz(folder / "graph.npz", self._walk.matrix)
        lists = [self._ids, self._facts, self._passages_of.tolist()]
        (folder / "facts.json").write_text(json.dumps(lists), encoding="utf-8")


def spread(scores: np.ndarray) -> np.ndarray:
    """Scores from 0 to 1, as the published code has those of facts."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def synonyms(vectors: np.ndarray) -> list[tuple[int, int, float]]:
    """Edges between phrases whose vectors are near, weighted by their cosine."""
    if not len(vectors):
        return []
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    cosines, rows = index.search(vectors, min(NEIGHBOURS, len(vectors)))
    first, place = np.nonzero(cosines >= SYNONYM)
    second = rows[first, place]
    once = first < second
    return list(
        zip(
            first[once].tolist(),
            second[once].tolist(),
            cosines[first, place][once].tolist(),
            strict=True,
        )
    )


class HippoRag:
    """HippoRAG 2 without an LLM, by our code."""

    name = "HippoRAG 2 without an LLM (ours)"
    requires = ("scipy", "faiss-cpu")
    settings = (
        "5 facts, 5 phrases, synonyms from cosine 0.8, passage weight 0.05, damping 0.5; sentences "
        "with two names in place of an LLM's triples, no LLM filter"
    )
    persists: str | None = None

    def index(self, passages: Sequence[Passage], encoder: SharedEncoder, folder: Path) -> Index:
        """Its graph over the passages."""
        return HippoRagIndex(passages, encoder)
