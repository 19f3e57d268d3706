"""Duplicates: found when passages are written, and in what is there already.

Two passages of one namespace are exact duplicates if their contents are the same text, and near
duplicates if the cosine of their vectors reaches a bound. What is in another namespace is another
tenant's, and never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.memory import bulk, meta, records
from hoptrail.memory.bulk import Key
from hoptrail.memory.encoder import Vectors, require
from hoptrail.memory.store import Store
from hoptrail.memory.view import View
from hoptrail.types import Namespace, Passage

NEAR = 0.97
"""Cosine from which two contents say the same: paraphrases are lower with most encoders."""
PROVENANCE = "merged_from"
"""The metadata key under which a passage keeps what was merged into it."""
AT_ONCE = 256
"""Passages compared with all others in one search."""

NEIGHBOURS = 8
"""Nearest passages that are looked at for each."""

Then = Literal["report", "skip", "merge"]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A passage that says what another of its namespace says."""

    id: str
    of: str
    """Id of the other, which was there first."""
    cosine: float
    """Of their vectors; 1 for the same text."""
    exact: bool
    namespace: Namespace


@dataclass(frozen=True, slots=True)
class Distinct:
    """What `add_distinct` did."""

    ids: list[str]
    """Of the passages written under their own ids."""
    duplicates: tuple[Duplicate, ...]


def add_distinct(
    store: Store,
    passages: Iterable[Passage],
    *,
    then: Then = "skip",
    near: float = NEAR,
) -> Distinct:
    """Write passages, looking for duplicates first, all of them or none.

    Duplicates are looked for among what is there when it begins and within the passages given, in
    their order; what another process writes meanwhile is not seen.

    Args:
        store: Where they go; it has an encoder.
        passages: What to write, under ids that are not taken.
        then: What to do with a duplicate: write it all the same ("report"), leave it out
            ("skip"), or let the first keep it ("merge"): under `merged_from` in its metadata,
            with id, title, text and metadata, and with its links joined to the first's.
        near: Cosine from which two passages are near duplicates, in (0, 1]; above 1, only exact
            ones are found.

    Raises:
        InputError: A passage cannot be stored, or `near` is not above 0.
        DuplicateId: An id is taken.
        EncoderMissing: The store has no encoder.
    """
    records.check_choice(then, get_args(Then), "then")
    _check_bound(near)
    now = store.clock()
    batch = bulk.collect(passages, "error", now, None)
    encoder = require(store.encoder, "encoding passages")
    contents = [passage.content for passage in batch.values()]
    stored = dict(zip(batch, store.encode_passages(contents), strict=True))
    vectors = {key: all_of_it[0] for key, all_of_it in stored.items()}
    found: list[Duplicate] = []
    for namespace in dict.fromkeys(key[0] for key in batch):
        part = {key: p for key, p in batch.items() if key[0] == namespace}
        found += _among_new(store, store.view_of(encoder, namespace), part, vectors, near)
    doubled = {(d.namespace, d.id): d for d in found}
    kept = [p for key, p in batch.items() if then == "report" or key not in doubled]
    with store.transaction():
        ids = store.restore(
            [replace(p, written_at=now) for p in kept], stored, made_by=meta.describe(encoder)
        )
        if then == "merge":
            for key, duplicate in doubled.items():
                _merge(store, duplicate, batch[key])
    return Distinct(ids, tuple(found))


def duplicates(store: Store, *, namespace: Namespace = (), near: float = NEAR) -> list[Duplicate]:
    """The duplicates that a scope holds, each beside one that was written before it.

    Of each passage its `NEIGHBOURS` nearest are looked at.

    Raises:
        InputError: `near` is not above 0.
    """
    _check_bound(near)
    found: list[Duplicate] = []
    for space in store.namespaces():
        if space[: len(namespace)] == namespace:
            found += _among_old(store, space, near)
    return found


def _among_new(
    store: Store,
    view: View,
    batch: Mapping[Key, Passage],
    vectors: Mapping[Key, Vectors],
    near: float,
) -> list[Duplicate]:
    """The duplicates among new passages of one namespace, and of what it holds, its view."""
    namespace = view.scope
    found: list[Duplicate] = []
    firsts: list[Key] = []  # those of the batch that are no duplicates
    by_content: dict[str, str] = {}
    with view.lock:
        mask = _exactly(store, view, namespace)
        # As wholes: a text that stands in a long one is not all that the long one says.
        queries = np.stack([vectors[key] for key in batch])
        _, nearest = view.dense.search(queries, 1, allowed=mask, wholes=True)
        for row, (key, passage) in enumerate(batch.items()):
            same = np.flatnonzero(mask & view.has_content(passage.content))[:1]
            best = same if len(same) else nearest[row]
            of, cosine = by_content.get(passage.content), 1.0
            if len(best) and not of:
                cosine = float(view.dense.scores_of(vectors[key][None], best, wholes=True)[0, 0])
                if len(same) or cosine >= near:
                    of = view.passages(best)[0].id
            if not of and firsts:
                cosines = np.stack([vectors[first] for first in firsts]) @ vectors[key]
                cosine = float(cosines.max())
                of = firsts[int(cosines.argmax())][1] if cosine >= near else None
            if of:
                exact = bool(len(same)) or passage.content in by_content
                found.append(Duplicate(passage.id, of, cosine, exact, namespace))
            else:
                firsts.append(key)
                by_content[passage.content] = passage.id
    return found


def _among_old(store: Store, namespace: Namespace, near: float) -> list[Duplicate]:
    """The duplicates that exactly one namespace holds."""
    view = store.view(namespace)
    pairs: dict[tuple[int, int], float] = {}
    with view.lock:
        mask = _exactly(store, view, namespace)
        slots = np.flatnonzero(mask)
        for start in range(0, len(slots), AT_ONCE):
            part = slots[start : start + AT_ONCE]
            scores, others = view.dense.search(
                view.dense.vectors(part), NEIGHBOURS + 1, allowed=mask, wholes=True
            )
            for row, column in zip(*np.nonzero(scores >= near), strict=True):
                one, other = int(part[row]), int(others[row, column])
                if one != other:
                    older, newer = sorted((one, other), key=lambda slot: int(view.rowids[slot]))
                    pairs[newer, older] = float(scores[row, column])
        nearest: dict[int, int] = {}
        for newer, older in sorted(pairs, key=lambda pair: (-pairs[pair], pair)):
            nearest.setdefault(newer, older)
        new, old = view.passages(list(nearest)), view.passages(list(nearest.values()))
    return [
        Duplicate(p.id, q.id, pairs[pair], p.content == q.content, namespace)
        for p, q, pair in zip(new, old, nearest.items(), strict=True)
    ]


def _exactly(store: Store, view: View, namespace: Namespace) -> NDArray[np.bool_]:
    """Which living slots of a view are of exactly this namespace, `(capacity,)`."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT rowid FROM passages WHERE namespace = ?", (records.encode_namespace(namespace),)
        ).fetchall()
    held = np.isin(view.rowids, np.asarray([row[0] for row in rows], dtype=np.int64))
    found: NDArray[np.bool_] = held & view.alive
    return found


def _merge(store: Store, duplicate: Duplicate, merged: Passage) -> None:
    """Let the first passage keep what is in a duplicate of it."""
    first = store.get(duplicate.of, duplicate.namespace)
    record = provenance(merged, duplicate.cosine)
    links = {(link.target, link.kind): link for link in (*merged.links, *first.links)}
    store.update(
        first.id,
        metadata={**first.metadata, PROVENANCE: [*first.metadata.get(PROVENANCE, []), record]},
        links=list(links.values()),
        namespace=duplicate.namespace,
    )


def provenance(merged: Passage, cosine: float) -> dict[str, Any]:
    """What the passage that stays keeps of one that was merged into it."""
    return {
        "id": merged.id,
        "title": merged.title,
        "text": merged.text,
        "metadata": dict(merged.metadata),
        "cosine": cosine,
    }


def _check_bound(near: float) -> None:
    if isinstance(near, bool) or not isinstance(near, int | float) or not near > 0:
        raise InputError(f"near must be a cosine above 0, got {near!r}")
