"""Names, sentences and passages of a corpus as arrays, for the graph methods that this folder has.

LinearRAG names spaCy's recogniser and HippoRAG 2 an LLM; here both get the names that hoptrail's
own graph finds, by capital letters and without a model. So what is compared is what they make of
the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.peers.peer import SharedEncoder
from hoptrail.graph.extraction.entities import find_entities
from hoptrail.graph.extraction.names import words
from hoptrail.types import Passage

_SENTENCE = re.compile(r".+?(?:[.!?]+[\"'”’)]*(?=\s|$)|\n|$)", re.DOTALL)

Rows = NDArray[np.int64]


class EntityGraph:
    """What was recognised in a corpus.

    Args:
        passages: Of one namespace.
        encoder: Makes the vectors of names and sentences.
    """

    def __init__(self, passages: Sequence[Passage], encoder: SharedEncoder) -> None:
        self.entities: dict[str, int] = {}
        self.sentences: list[str] = []
        self.sentence_entities: list[list[int]] = []
        """For each sentence that holds a name, the names in it, each once."""
        self.passage_entities: list[dict[int, int]] = []
        """For each passage, its names and how often each was recognised."""
        for passage in passages:
            counts: dict[int, int] = {}
            for sentence, names in named_sentences(passage):
                rows = [self.entities.setdefault(name, len(self.entities)) for name in names]
                for row in rows:
                    counts[row] = counts.get(row, 0) + 1
                self.sentences.append(sentence)
                self.sentence_entities.append(list(dict.fromkeys(rows)))
            self.passage_entities.append(counts)
        self.entity_vectors = encoder.phrases.encode(list(self.entities))
        self.sentence_vectors = encoder.phrases.encode(self.sentences)
        self.entity_sentences: list[list[int]] = [[] for _ in self.entities]
        for sentence_row, rows in enumerate(self.sentence_entities):
            for row in rows:
                self.entity_sentences[row].append(sentence_row)

    def mention_edges(self, *, shares: bool) -> Iterator[tuple[int, int, float]]:
        """An edge for each passage and name in it: passage, name, weight.

        Args:
            shares: Weight a name by its share of the passage's mentions; else by 1.
        """
        for passage, counts in enumerate(self.passage_entities):
            total = sum(counts.values())
            for entity, count in counts.items():
                yield passage, entity, count / total if shares else 1.0

    def together(self) -> Iterator[tuple[int, int, float]]:
        """An edge for each two names of one sentence, as often as they stand together."""
        for rows in self.sentence_entities:
            for first, second in combinations(sorted(rows), 2):
                yield first, second, 1.0


def named_sentences(passage: Passage) -> Iterator[tuple[str, list[str]]]:
    """The sentences of a passage that hold names, with these; its title counts for the first.

    Args:
        passage: Its title, or its speaker, is a name too.
    """
    heading = passage.title or str(passage.metadata.get("speaker") or "") or None
    mentions = find_entities(words(passage.text), heading)
    own = [mention.name for mention in mentions if mention.start < 0]
    for match in _SENTENCE.finditer(passage.text):
        sentence = match.group().strip()
        inside = [m.name for m in mentions if match.start() <= m.start < match.end()]
        names, own = own + inside, []
        if names and sentence:
            yield sentence, names


def question_names(text: str) -> list[str]:
    """The names in a question, each once."""
    return list(dict.fromkeys(mention.name for mention in find_entities(words(text))))


class Walk:
    """Personalised PageRank over an undirected graph with weights.

    Args:
        size: Nodes.
        edges: From, to, weight; edges between the same two add up.
    """

    ROUNDS = 60

    def __init__(self, size: int, edges: Sequence[tuple[int, int, float]]) -> None:
        ends = np.array([edge[:2] for edge in edges], dtype=np.int64).reshape(-1, 2)
        weights = np.array([edge[2] for edge in edges], dtype=np.float64)
        matrix = sparse.coo_matrix((weights, (ends[:, 0], ends[:, 1])), shape=(size, size)).tocsr()
        matrix = matrix + matrix.T
        degrees = np.asarray(matrix.sum(axis=1)).ravel()
        self._alone = degrees == 0
        inverse = np.divide(1.0, degrees, out=np.zeros(size), where=degrees > 0)
        self.matrix = (sparse.diags(inverse) @ matrix).T.tocsr()

    def shares(self, reset: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
        """How often a walker is on each node.

        Args:
            reset: Weights of the nodes that it starts from; what is below 0 counts as 0.
            damping: How probably it goes on, at each step.
        """
        start = np.maximum(reset, 0.0)
        start /= start.sum()
        shares = start
        for _ in range(self.ROUNDS):
            stranded = shares[self._alone].sum()
            following = damping * (self.matrix @ shares + stranded * start) + (1 - damping) * start
            if np.abs(following - shares).sum() < 1e-9:
                return following
            shares = following
        return shares
