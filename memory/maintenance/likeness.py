"""Which passages are like which: what the search for duplicates looks at, and in what order.

Passages are told apart by the hash of their content and by its form, so that ten thousand equal
texts take as long as ten thousand different ones. Cosines are compared only where forms are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import UnknownId
from hoptrail.memory import content_hash
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.maintenance import sameness
from hoptrail.memory.maintenance.sameness import Form
from hoptrail.memory.passages.batches import Key
from hoptrail.memory.storage import records
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.types import Passage

AT_ONCE = 256
"""New passages compared with all others in one go, and old ones read."""

NEAREST = 32
"""Passages of a namespace looked at first for each new one; all, where that many are near."""

ROUNDING = 1e-6
"""By which the cosine of a text with itself may miss 1."""


@dataclass(frozen=True, slots=True)
class Like:
    """What a passage is a duplicate of."""

    id: str
    cosine: float
    exact: bool


class Keepers:
    """Passages that are no duplicates of each other.

    Args:
        near: Cosine from which passages that say the same are duplicates; above 1, only the same
            text is one.
    """

    def __init__(self, near: float) -> None:
        self._near = near
        self._by_content: dict[str, str] = {}
        self._by_form: dict[int, list[tuple[str, Form, Vectors]]] = {}

    def add(self, id: str, content: str, vector: Vectors) -> None:
        """Take in one more, whose vector is `(d,)`.

        Args:
            id: The passage's.
            content: The passage's.
            vector: `(d,)` L2-normalised.
        """
        self._by_content[content] = id
        if self._near <= 1:
            form = sameness.form(content)
            self._by_form.setdefault(form.folded, []).append((id, form, vector))

    def like(self, content: str, vector: Vectors) -> Like | None:
        """The one that a content with its vector `(d,)` is a duplicate of: the nearest.

        Args:
            content: The passage's.
            vector: `(d,)` L2-normalised.
        """
        if content in self._by_content:
            return Like(self._by_content[content], 1.0, exact=True)
        if self._near > 1 or not self._by_form:
            return None
        form = sameness.form(content)
        same = [one for one in self._by_form.get(form.folded, ()) if form.same(one[1])]
        if not same:
            return None
        cosines = np.stack([one[2] for one in same]) @ vector
        best = int(cosines.argmax())
        if cosines[best] < self._near - ROUNDING:
            return None
        return Like(same[best][0], float(min(cosines[best], 1.0)), exact=False)


class _Forms:
    """The forms of a view's slots that were looked at; kept, because new passages come one by one.

    A form is of a content: it is known by the content's hash, whoever has the slot by now.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)
        self._known = np.zeros(0, dtype=np.bool_)
        self._folded = np.zeros(0, dtype=np.uint64)

    def folded(self, view: View, slots: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The folded forms of slots `(m,)`, as hashes."""
        keys = view.keys
        more = len(keys) - len(self._keys)
        if more > 0:
            self._keys = np.concatenate([self._keys, np.zeros(more, dtype=np.uint64)])
            self._known = np.concatenate([self._known, np.zeros(more, dtype=np.bool_)])
            self._folded = np.concatenate([self._folded, np.zeros(more, dtype=np.uint64)])
        missing = slots[~(self._known[slots] & (self._keys[slots] == keys[slots]))]
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            forms = [sameness.form(passage.content).folded for passage in view.passages(part)]
            self._folded[part] = np.asarray(forms, dtype=np.uint64)
            self._keys[part], self._known[part] = keys[part], True
        return self._folded[slots]


_forms: WeakKeyDictionary[View, _Forms] = WeakKeyDictionary()  # each with its view's lock held


def of_new(
    store: Store,
    view: View,
    batch: Mapping[Key, Passage],
    vectors: Mapping[Key, Vectors],
    near: float,
) -> dict[Key, Like]:
    """What new passages are duplicates of among those that a namespace holds.

    Args:
        store: Of the view.
        view: Of the namespace; its lock is held.
        batch: The new passages, of that namespace.
        vectors: Theirs, `(d,)` each.
        near: Cosine from which passages that say the same are duplicates.

    Raises:
        UnknownId: A passage was deleted after the view was last refreshed.
    """
    mask = _exactly(store, view)
    exact = _exact(view, {passage.content for passage in batch.values()}, mask)
    likenesses = {key: exact[p.content] for key, p in batch.items() if p.content in exact}
    rest = [key for key in batch if key not in likenesses]
    if near > 1 or not mask.any():
        return likenesses
    for start in range(0, len(rest), AT_ONCE):
        part = rest[start : start + AT_ONCE]
        matrix = np.stack([vectors[key] for key in part])
        for key, slots in zip(part, _near(view, matrix, near, mask), strict=True):
            if like := _nearest(view, batch[key].content, vectors[key], slots, near):
                likenesses[key] = like
    return likenesses


def oldest_first(store: Store, view: View) -> Iterator[tuple[Passage, Vectors]]:
    """The passages of exactly a view's namespace with their vectors `(d,)`, as they were written.

    Args:
        store: Holds the passages.
        view: Of exactly one namespace, pinned.

    Raises:
        UnknownId: A passage was deleted after the view was last refreshed.
    """
    slots = np.flatnonzero(_exactly(store, view))
    slots = slots[np.argsort(view.rowids[slots], kind="stable")]
    for start in range(0, len(slots), AT_ONCE):
        part = slots[start : start + AT_ONCE]
        rowids = view.rowids[part].tolist()
        with store.reading() as connection:  # not by the view, which keeps what was asked lately
            passages = records.passages_at(connection, rowids, links=False)
        if len(passages) < len(rowids):
            raise UnknownId("a passage was deleted: refresh the view and look again")
        yield from zip((passages[row] for row in rowids), view.dense.vectors(part), strict=True)


def _exact(view: View, contents: Collection[str], mask: NDArray[np.bool_]) -> dict[str, Like]:
    """For each content that a slot of the mask holds, the first that was written."""
    texts = {content_hash.content_key(content): content for content in contents}
    keys = np.fromiter(texts, dtype=np.uint64, count=len(texts))
    same = np.flatnonzero(mask & np.isin(view.keys, keys))
    first: dict[int, int] = {}
    for slot in same[np.argsort(view.rowids[same], kind="stable")].tolist():
        first.setdefault(int(view.keys[slot]), slot)
    passages = view.passages(list(first.values()))
    return {texts[key]: Like(p.id, 1.0, exact=True) for key, p in zip(first, passages, strict=True)}


def _near(
    view: View, vectors: Vectors, near: float, mask: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """The slots whose cosine with each of some vectors `(n, d)` reaches the bound."""
    scores, nearest = view.dense.search(vectors, NEAREST, allowed=mask, wholes=True)
    reaches = scores >= near - ROUNDING
    candidates = [nearest[row][reaches[row]] for row in range(len(vectors))]
    full = [row for row in range(len(vectors)) if reaches[row].all()]
    if not full or nearest.shape[1] < NEAREST:  # there are no others
        return candidates
    slots = np.flatnonzero(mask)
    parts: dict[int, list[NDArray[np.int64]]] = {row: [] for row in full}
    for start in range(0, len(slots), 16 * AT_ONCE):
        part = slots[start : start + 16 * AT_ONCE]
        cosines = vectors[full] @ view.dense.vectors(part).T
        for row, reached in zip(full, cosines >= near - ROUNDING, strict=True):
            parts[row].append(part[reached])
    for row in full:
        candidates[row] = np.concatenate(parts[row])
    return candidates


def _nearest(
    view: View, content: str, vector: Vectors, slots: NDArray[np.int64], near: float
) -> Like | None:
    """The nearest of some slots that say what a content says."""
    if not len(slots):
        return None
    form = sameness.form(content)
    forms = _forms.setdefault(view, _Forms())
    same = slots[forms.folded(view, slots) == np.uint64(form.folded)]
    same = same[np.argsort(view.rowids[same], kind="stable")]
    keepers = Keepers(near)
    for start in range(0, len(same), AT_ONCE):
        part = same[start : start + AT_ONCE]
        for passage, other in zip(view.passages(part), view.dense.vectors(part), strict=True):
            keepers.add(passage.id, passage.content, other)
    return keepers.like(content, vector)


def _exactly(store: Store, view: View) -> NDArray[np.bool_]:
    """Which living slots of a view are of exactly its scope's namespace, `(capacity,)`."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT rowid FROM passages WHERE namespace = ?", (view.scope.encoded,)
        ).fetchall()
    rowids = np.asarray([row[0] for row in rows], dtype=np.int64)
    exactly: NDArray[np.bool_] = np.isin(view.rowids, rowids) & view.alive
    return exactly
