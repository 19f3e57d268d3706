"""What words that are added to passages are worth to BM25 (document expansion).

    python -m benchmarks.search.document_expansion DATA [--sets musique ...] [--vectors DIR]
        [--ids DIR] [--out FILE]

DATA holds a folder for each set with corpus.jsonl, train.jsonl and dev.jsonl; what is learned is
learned of train.jsonl and of queries made of passages. To the text of each passage are added the
titles of the ten nearest to it, of ten whose ids the decoder of semantic ids gives for it, or of
those that name it, or ten words of questions, by a decoder of words: a layer that gives the words
of a train question from the vector of a passage that it needs. Recall@5 on dev.jsonl, of BM25 and
of its sum with dense search, and the differences with 95 % intervals by clusters of questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from benchmarks.search.learned_indexes import (
    CLOZE_QUERIES,
    Corpus,
    Figures,
    K,
    first,
    hybrid,
    ids_of,
    opened,
    rounded,
    shares_in,
    timed,
)
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from hoptrail.formats.jsonl import read_questions
from hoptrail.learning.indexes.id_training import SemanticIdsConfig
from hoptrail.memory.analysis.analyzer import Analyzer
from hoptrail.memory.encoders.transformer import minilm
from hoptrail.memory.encoders.vectors import Vectors
from hoptrail.memory.index.bm25 import SparseIndex
from hoptrail.memory.index.learned.semantic_ids import SemanticIds
from hoptrail.memory.index.slots import SlotTable
from hoptrail.metrics.bootstrap import Bootstrap, clusters_of
from hoptrail.policies.data.corpora import OpenCorpus

SETS = ("musique", "2wikimultihopqa")
ALIKE, HUB, WORDS, LEAST_USES = 10, 30, 10, 3
"""Passages whose titles are added to one, and of those that name it; words that a decoder adds, and
train questions that a word has to be in."""


def main() -> None:
    """Measure every kind of words on every set, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--vectors", type=Path, help="keep vectors here, or take them from here")
    parser.add_argument("--ids", type=Path, help="trained ids of `learned_indexes.py semantic-ids`")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results: Figures = {}
    for name in args.sets:
        corpus = opened(args.data / name, CLOZE_QUERIES, args.vectors)
        ids = SemanticIds.load(args.ids / f"{name}.safetensors") if args.ids else None
        results[name] = expansion(corpus, ids)
        sys.stdout.write(f"{name}\n{json.dumps(results[name], indent=1)}\n")
        sys.stdout.flush()
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def expansion(corpus: Corpus, ids: SemanticIds | None) -> Figures:
    """BM25, and its sum with dense search, over passages as they are and over longer ones."""
    folder = corpus.folder
    with closing(OpenCorpus(folder / "corpus.jsonl", folder / "dev.jsonl", minilm())) as texts:
        scope = texts.scope(())
        slots = np.flatnonzero(scope.view.alive).tolist()
        passages, row = scope.view.passages(slots), {slot: i for i, slot in enumerate(slots)}
        naming = [{row[one.source] for one in scope.graph.in_mentions(slot)} for slot in slots]
        train = texts.with_questions(read_questions(folder / "train.jsonl"))
        examples = [(row[slot], one.text) for one in train.questions for slot in train.gold(one)]
        dev = texts.questions
    contents = [passage.content for passage in passages]

    def titles(rows: Iterable[Iterable[int]]) -> list[str]:
        return [" ".join(passages[i].title or "" for i in some) for some in rows]

    ways: dict[str, Callable[[], list[str]]] = {
        "nothing": lambda: [""] * len(contents),
        "titles of the nearest": lambda: titles(nearest_rows(corpus.passages)),
        "titles that the ids' decoder gives": lambda: titles(generated_rows(corpus, ids)),
        "titles of what names it": lambda: titles(sorted(some)[:HUB] for some in naming),
        "words of questions": lambda: question_words(corpus.passages, examples, contents),
    }
    dense, bootstrap = corpus.dev.vectors @ corpus.passages.T, Bootstrap(clusters_of(dev))
    figures: Figures = {"questions": len(dev)}
    before: list[NDArray[np.float64]] = []
    for name, make in ways.items():
        words, seconds = timed(make)
        longer = [f"{text} {more}" for text, more in zip(contents, words, strict=True)]
        sparse = bm25(longer, [question.text for question in dev])
        rankings = sparse, hybrid(dense, sparse)
        shares = [100 * shares_in(first(scores, K), corpus.dev) for scores in rankings]
        before = before or shares
        count = float(np.mean([len(more.split()) for more in words]))
        figures[name] = {"words added": round(count, 1), "processor seconds": seconds}
        for kind, now, old in zip(("BM25", "hybrid"), shares, before, strict=True):
            gain = rounded(bootstrap.paired(now, old))
            figures[name][kind] = {"recall@5": round(float(now.mean()), 1), "difference": gain}
    return figures


def bm25(contents: Sequence[str], questions: Sequence[str]) -> NDArray[np.float32]:
    """BM25's scores of texts for questions, `(questions, texts)`."""
    table = SlotTable()
    rows = np.arange(len(contents))
    table.add(rows, rows.astype(np.uint64))
    index = SparseIndex(table, RLock())
    index.add(contents)
    return np.stack([index.scores(question) for question in questions])


def nearest_rows(passages: Vectors) -> list[list[int]]:
    """The passages nearest to each, without itself."""
    near: list[list[int]] = []
    for start in range(0, len(passages), 1024):
        cosines = passages[start : start + 1024] @ passages.T
        best = np.argpartition(-cosines, ALIKE + 1, axis=1)[:, : ALIKE + 1]
        near += [[i for i in row if i != start + at] for at, row in enumerate(best.tolist())]
    return near


def generated_rows(corpus: Corpus, ids: SemanticIds | None) -> list[list[int]]:
    """Passages of the likeliest ids for each, without itself; ids are learned where none come."""
    index = ids or ids_of(corpus, SemanticIdsConfig())
    leaves = index.leaves(index.ids(corpus.passages))
    of_leaf: dict[int, list[int]] = {}
    for i, leaf in enumerate(leaves.tolist()):
        of_leaf.setdefault(leaf, []).append(i)
    rows: list[list[int]] = []
    for at, vector in enumerate(corpus.passages):
        proposed = index.propose(vector, leaves, ALIKE)[0].tolist()
        rows.append([i for leaf in proposed for i in of_leaf[leaf] if i != at][:ALIKE])
    return rows


def question_words(
    passages: Vectors, examples: Sequence[tuple[int, str]], contents: Sequence[str]
) -> list[str]:
    """The likeliest words of a question for each passage that are not in it, by a linear layer."""
    analyzer = Analyzer()
    words = analyzer.words
    wordings = [set(words(text)) for _, text in examples]
    uses = Counter(word for one in wordings for word in one)
    vocabulary = [
        word for word, count in uses.items() if count >= LEAST_USES and analyzer.term(word)
    ]
    targets = torch.tensor([[float(word in one) for word in vocabulary] for one in wordings])
    targets = functional.normalize(targets, p=1, dim=1)
    vectors = torch.tensor(passages)
    torch.manual_seed(0)
    layer = nn.Linear(vectors.shape[1], len(vocabulary))
    optimizer = torch.optim.AdamW(layer.parameters(), 0.01, weight_decay=0.1)
    rows = torch.tensor([row for row, _ in examples])
    for _ in range(150):
        loss = functional.cross_entropy(layer(vectors[rows]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        ranked = layer(vectors).topk(4 * WORDS).indices.tolist()
    own_words = [set(words(text)) for text in contents]
    return [
        " ".join([vocabulary[i] for i in best if vocabulary[i] not in own][:WORDS])
        for best, own in zip(ranked, own_words, strict=True)
    ]


if __name__ == "__main__":
    main()
