"""Search by learned weights of terms, as a stage: alone, or together with meaning."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np

from hoptrail.memory import forks
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders.cache_file import CacheFile, vectors_file_name
from hoptrail.memory.index.slots import Scores, Slots
from hoptrail.memory.search.first_stages import best_of, living
from hoptrail.memory.search.hybrid_search import standard
from hoptrail.memory.search.learned_sparse.impact_index import STEP, ImpactIndex, impacts_of
from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder, Terms
from hoptrail.memory.search.pipeline import CandidateGenerator, QueryState
from hoptrail.memory.views.view import View
from hoptrail.values.strings import check_choice

SparseMode = Literal["sparse", "hybrid"]
"""By terms alone, or by the sum of z-scores with the cosine."""
AT_ONCE = 64
"""Passages that are encoded between two commits of the cache."""


class LearnedSparse(CandidateGenerator):
    """Learned weights of terms over an inverted index; it can be the first stage.

    The first search reads every passage of the scope by the network once; the weights lie in the
    cache, by content, and passages that are written later are read then.

    Args:
        encoder: Gives the weights.
        keep: Candidates that go on.
        mode: "sparse" for the terms alone; "hybrid" for the sum of their z-scores over the scope
            and those of the cosine.
        folder: Of the cache; `cache_folder()` by default.

    Raises:
        InputError: There is no such mode.
    """

    name = "learned sparse"

    def __init__(
        self,
        encoder: SparseEncoder,
        *,
        keep: int,
        mode: SparseMode = "sparse",
        folder: Path | None = None,
    ) -> None:
        check_choice(mode, get_args(SparseMode), "mode")
        super().__init__(keep)
        self.encoder, self.mode = encoder, mode
        self.needs_vector = mode == "hybrid"
        # Where `disk_cache.erase_vectors` looks, by name and table: a purge takes these too.
        self._file = CacheFile(vectors_file_name(f"{encoder.fingerprint}-terms"), folder)
        self._indexes: WeakKeyDictionary[View, ImpactIndex] = WeakKeyDictionary()
        self._lock = Lock()
        forks.register(self)

    def close(self) -> None:
        """Close the file of the cache."""
        self._file.close()

    def _forked(self, *, whole: bool) -> None:
        """In a forked child: another thread may have had the lock."""
        self._lock = Lock()

    def open(self, state: QueryState, count: int) -> tuple[Scores, Slots]:
        """The best by the learned weights; by these alone, only what has a term of the question."""
        scores = self._all_scores(state)
        slots = living(state)
        if self.mode == "sparse":
            slots = slots[scores[slots] > 0]
        return best_of(state, scores[slots], slots, count)

    def score(self, batch: Sequence[QueryState]) -> list[Scores]:
        """The scores of the candidates."""
        return [self._all_scores(state)[state.slots] for state in batch]

    def _all_scores(self, state: QueryState) -> Scores:
        """Of every slot, `(capacity,)`."""
        view = state.view
        index = self._index(view)
        with view.lock:
            by_terms = index.scores(self.encoder.query_terms(state.text), view.capacity)
            if self.mode == "sparse":
                return by_terms
            alive = np.flatnonzero(view.alive)
            means, spreads = view.dense.moments(state.query[None])
            cosines = view.dense.scores_of(state.query[None], alive)[0]
            fused = np.zeros(view.capacity, dtype=np.float32)
            fused[alive] = standard(cosines, float(means[0]), float(spreads[0])) + standard(
                by_terms[alive], float(by_terms[alive].mean()), float(by_terms[alive].std())
            )
            return fused

    def _index(self, view: View) -> ImpactIndex:
        """The index of a scope, caught up with it."""
        with self._lock:
            index = self._indexes.setdefault(view, ImpactIndex())
            with view.lock:
                alive = view.alive.copy()
            last = len(alive)
            if index.count < last:
                slots = (index.count + np.flatnonzero(alive[index.count :])).tolist()
                contents = [passage.content for passage in view.passages(slots)]
                index.add(last, slots, self._terms(contents))
                index.join(alive)
            return index

    def _terms(self, texts: Sequence[str]) -> list[Terms]:
        """The terms of contents, from the cache or made."""
        text_of = {cache_key(text): text for text in texts}
        rows = {key: _unpacked(blob) for key, blob in self._file.get(list(text_of)).items()}
        terms_of = {key: terms for key, terms in rows.items() if terms is not None}
        self.cached += len(terms_of)
        missing = [key for key in text_of if key not in terms_of]
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            terms = self.encoder.passage_terms([text_of[key] for key in part])
            new = dict(zip(part, terms, strict=True))
            self._file.put([(key, _packed(one)) for key, one in new.items()])
            terms_of |= new
        return [terms_of[cache_key(text)] for text in texts]


def _packed(terms: Terms) -> bytes:
    """Terms and their impacts, with a checksum."""
    body = terms[0].astype("<i4").tobytes() + impacts_of(terms[1]).astype(np.uint8).tobytes()
    return zlib.crc32(body).to_bytes(4, "little") + body


def _unpacked(blob: bytes) -> Terms | None:
    """What `_packed` made; None if it is damaged."""
    body = blob[4:]
    if len(blob) < 4 or len(body) % 5 or zlib.crc32(body).to_bytes(4, "little") != blob[:4]:
        return None
    count = len(body) // 5
    terms = np.frombuffer(body, dtype="<i4", count=count).astype(np.int32)
    impacts = np.frombuffer(body, dtype=np.uint8, offset=4 * count)
    return terms, impacts.astype(np.float32) * np.float32(STEP)
