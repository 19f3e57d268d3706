"""The sparse index: BM25 as defined, whatever was added, changed and deleted on the way."""

from __future__ import annotations

import math
from collections import Counter
from threading import RLock

import numpy as np
import pytest

from hoptrail.memory.content_hash import content_key
from hoptrail.memory.index.bm25 import K1, B, SparseIndex
from hoptrail.memory.index.slots import SlotTable


class Index:
    """A sparse index with its slots, as a view holds them."""

    def __init__(self, texts: list[str] | None = None) -> None:
        self.table = SlotTable()
        self.sparse = SparseIndex(self.table, RLock())
        self.add(texts or [])

    def add(self, texts: list[str]) -> None:
        keys = np.asarray([content_key(t) for t in texts], dtype=np.uint64)
        first = self.table.capacity
        self.table.add(np.arange(first, first + len(texts)), keys)
        self.sparse.add(texts)

    def remove(self, slots: list[int]) -> None:
        gone = np.asarray(slots, dtype=np.int64)
        self.table.mark_deleted(gone)
        self.sparse.remove(gone)


def by_hand(texts: list[str], query: str, terms) -> list[float]:
    """The formula at the head of the module, one passage at a time."""
    counted = [Counter(terms(text)) for text in texts]
    mean = sum(sum(c.values()) for c in counted) / len(texts)
    scores = []
    for counts in counted:
        score = 0.0
        for term in terms(query):
            n = sum(term in c for c in counted)
            idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            f, length = counts[term], sum(counts.values())
            score += idf * f / (f + K1 * (1 - B + B * length / mean))
        scores.append(score)
    return scores


TEXTS = [
    "The old bridge of Nantes crosses the Loire.",
    "A painter painted the bridge, and the bridge again.",
    "Delft has canals and bridges.",
    "Loire",
    "The kings of the north kept boats on the river and never painted them.",
]
QUERY = "Which painter painted the bridges of the Loire?"


def test_scores_are_the_formula() -> None:
    index = Index(TEXTS).sparse
    assert index.scores(QUERY).tolist() == pytest.approx(
        by_hand(TEXTS, QUERY, index.terms), abs=1e-5
    )
    assert index.scores_of(QUERY, np.array([1, 3])).tolist() == index.scores(QUERY)[[1, 3]].tolist()


def test_words_are_folded_and_stemmed_and_stop_words_left_out() -> None:
    index = Index().sparse
    assert index.terms("The Bridges, BRIDGED; a straße in México (x) 19th") == [
        "bridg",
        "bridg",
        "strass",
        "mexico",
        "x",
        "19th",
    ]
    assert index.terms("Me\u0301xico") == ["mexico"]  # the accent as a character of its own
    assert index.terms("the of and !") == []


def test_growing_in_any_portions_is_growing_at_once() -> None:
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 30))) for _ in range(300)]
    whole, pieces = Index(texts), Index()
    start = 0
    while start < len(texts):
        size = int(rng.integers(1, 20))
        pieces.add(texts[start : start + size])
        start += size
    for query in ["word1 word2 word3", "word39", "word0 " * 3]:
        assert np.array_equal(whole.sparse.scores(query), pieces.sparse.scores(query))
        assert whole.sparse.idf("word7") == pieces.sparse.idf("word7")


def test_what_is_removed_leaves_no_trace_in_the_scores() -> None:
    rng = np.random.default_rng(1)
    words = [f"word{i}" for i in range(30)]
    texts = [" ".join(rng.choice(words, size=12)) for _ in range(200)]
    index = Index(texts)
    gone = rng.permutation(200)[:150]
    for part in np.array_split(gone, 12):
        index.remove(part.tolist())
    index.add(texts[:10])
    kept = [i for i in range(200) if i not in set(gone.tolist())]
    rebuilt = Index([texts[i] for i in kept] + texts[:10])
    for query in ["word1 word2", "word5 word5 word29"]:
        scores = index.sparse.scores(query)
        assert not scores[gone].any()
        alive = kept + list(range(200, 210))
        assert np.array_equal(scores[alive], rebuilt.sparse.scores(query))
        assert index.sparse.moments(query) == pytest.approx(rebuilt.sparse.moments(query))
    assert index.sparse.idf("word3") == rebuilt.sparse.idf("word3")


def test_search_gives_only_what_shares_a_term_best_first() -> None:
    index = Index(TEXTS)
    scores, slots = index.sparse.search(QUERY, 10)
    assert slots.tolist() == sorted(
        [0, 1, 2, 3, 4], key=lambda s: -by_hand(TEXTS, QUERY, index.sparse.terms)[s]
    )
    assert scores.tolist() == index.sparse.scores(QUERY)[slots].tolist()
    assert index.sparse.search("boats", 10)[1].tolist() == [4]
    assert index.sparse.search("zebra", 10)[1].tolist() == []
    assert index.sparse.search("the of", 10)[1].tolist() == []


def test_equals_are_ordered_by_content_also_at_the_boundary() -> None:
    texts = [f"bridge {w}{w}" for w in "abcdefghijklmnopqrst"]
    forward, backward = Index(texts), Index(texts[::-1])
    for k in (1, 5, 19, 20):
        found = [texts[s] for s in forward.sparse.search("bridges", k)[1]]
        assert found == [texts[::-1][s] for s in backward.sparse.search("bridges", k)[1]]
        assert len(found) == k


def test_an_unknown_term_is_rarer_than_any() -> None:
    index = Index(TEXTS).sparse
    assert index.idf("zebra") == pytest.approx(math.log(1 + 5.5 / 0.5))
    assert index.idf("zebra") > index.idf("delft") > index.idf("bridg")


def test_an_empty_index_answers() -> None:
    index = Index().sparse
    assert index.scores("river").shape == (0,)
    assert index.search("river", 3)[1].tolist() == []
    assert index.moments("river") == (0.0, 0.0)


def test_scores_cannot_be_written_to() -> None:
    scores = Index(TEXTS).sparse.scores(QUERY)
    with pytest.raises(ValueError, match="read-only"):
        scores[0] = 1


def test_a_state_restored_is_the_same_index() -> None:
    index = Index(TEXTS)
    index.add(["A canal boat in Delft."])
    index.remove([1, 4])
    state = index.sparse.state()
    copy = Index()
    alive = index.table.alive
    copy.table.add(index.table.rowids[alive], index.table.keys[alive])
    copy.sparse.restore(state)
    assert np.array_equal(copy.sparse.scores(QUERY), index.sparse.scores(QUERY)[alive])
    assert b"king" not in state["terms"].tobytes()  # no word of what is gone
    for each in (index, copy):
        each.add(["A king of Nantes and his painter."])
    assert np.array_equal(copy.sparse.scores(QUERY), index.sparse.scores(QUERY)[index.table.alive])
    assert copy.sparse.idf("paint") == index.sparse.idf("paint")


def test_full_segments_are_left_alone_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, size=rng.integers(1, 30))) for _ in range(200)]
    texts[60:80] = ["the"] * 20  # without a term: no segment of its own stays
    whole = Index(texts)
    monkeypatch.setattr("hoptrail.memory.index.bm25.FULL", 500)
    pieces = Index()
    for start in range(0, 200, 10):
        pieces.add(texts[start : start + 10])
    held = pieces.sparse._segments
    assert max(map(len, held)) <= 500
    assert len(held) < 15
    for index in (whole, pieces):
        index.remove([5, 70, *range(90, 120)])
    copy = Index()
    alive = pieces.table.alive
    copy.table.add(pieces.table.rowids[alive], pieces.table.keys[alive])
    state = pieces.sparse.state()
    for array in state.values():
        array.setflags(write=False)  # as those of a mapped file are
    copy.sparse.restore(state)
    for index in (whole, pieces, copy):
        index.add(texts[:7])
    now = whole.table.alive
    for query in ("word1 word2 word3", "word39 word39", "word7"):
        scores = whole.sparse.scores(query)
        assert np.array_equal(scores, pieces.sparse.scores(query))
        assert np.array_equal(scores[now], copy.sparse.scores(query))
        assert whole.sparse.idf("word7") == copy.sparse.idf("word7")


def test_the_best_of_many_are_those_of_sorting_all() -> None:
    rng = np.random.default_rng(3)
    words = [f"word{i}" for i in range(20)]
    index = Index([" ".join(rng.choice(words, size=rng.integers(1, 40))) for _ in range(900)])
    scores = index.sparse.scores("word1 word2")
    for k in (1, 3, 12, 200):
        found = index.sparse.search("word1 word2", k)
        order = index.table.order(scores, np.arange(900))[:k]
        assert found[1].tolist() == order.tolist()


@pytest.mark.parametrize("filtered", [False, True])
def test_a_bound_from_rare_terms_loses_nobody(filtered: bool) -> None:
    rng = np.random.default_rng(4)
    odds = 1 / np.arange(1, 61)
    words = rng.choice([f"word{i}" for i in range(60)], (1200, 9), p=odds / odds.sum())
    index = Index([" ".join(row) for row in words] + ["rare rare"] * 3)
    index.remove(rng.permutation(1200)[:300].tolist())
    allowed = rng.random(index.table.capacity - 100) < 0.4 if filtered else None
    among = index.table.alive if allowed is None else index.table.among(allowed)
    for query in ("word0 word40 word59", "word0 word1", "rare word0", "rare", "word0 zebra"):
        scores = index.sparse.scores(query)
        held = np.flatnonzero(among & (scores > 0))
        order = held[index.table.order(scores[held], held)]
        for k in (1, 2, 5, 40, 2000):
            assert index.sparse.search(query, k, allowed=allowed)[1].tolist() == order[:k].tolist()


def test_moments_are_those_of_the_scores_of_all_that_live() -> None:
    rng = np.random.default_rng(5)
    words = rng.choice([f"word{i}" for i in range(50)], (6000, 8))
    index = Index([" ".join(row) for row in words])  # more than one block of squares
    for gone in ([], range(0, 6000, 7), range(6000)):
        index.remove([slot for slot in gone if index.table.alive[slot]])
        scores = index.sparse.scores("word3 word4")[index.table.alive].astype(float)
        expected = (scores.mean(), scores.std()) if len(scores) else (0.0, 0.0)
        assert index.sparse.moments("word3 word4") == pytest.approx(expected, abs=1e-6)
