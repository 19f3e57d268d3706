"""Duplicates: found when passages are written, and in what is there already.

Two passages of one namespace are exact duplicates if their contents are the same text, and near
duplicates if they say the same (`hoptrail.memory.maintenance.sameness`) and the cosine of
their vectors reaches
a bound. What is in another namespace is another tenant's, and never compared.

A passage is compared with those that stay, oldest first: a duplicate of a duplicate that is none of
what stays, stays too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hoptrail.errors import InputError, UnknownId
from hoptrail.memory.encoders.transformer import Encoder, Vectors, require
from hoptrail.memory.maintenance import likeness
from hoptrail.memory.maintenance.likeness import Keepers
from hoptrail.memory.passages import batches, provenance
from hoptrail.memory.passages.batches import Key
from hoptrail.memory.passages.provenance import Merged
from hoptrail.memory.passages.settling import own
from hoptrail.memory.storage import store_info
from hoptrail.memory.storage.namespaces import Scope, ScopeLike, encode_namespace
from hoptrail.memory.storage.validity import EVER
from hoptrail.memory.store import Store
from hoptrail.memory.views.view import View
from hoptrail.types import Link, Namespace, Passage
from hoptrail.values.numbers import finite, shown
from hoptrail.values.strings import check_choice

NEAR = 0.97
"""Cosine from which two contents that say the same are duplicates."""

DuplicateAction = Literal["report", "skip", "merge"]


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
    then: DuplicateAction = "skip",
    similarity_threshold: float = NEAR,
    encoder: Encoder | None = None,
) -> Distinct:
    """Write passages, looking for duplicates first, all of them or none.

    Duplicates are looked for among what is there when it writes, also if another process wrote it
    just now, and within the passages given, in their order.

    Args:
        store: Where they go.
        passages: What to write, under ids that are not taken.
        then: What to do with a duplicate: write it all the same ("report"), leave it out
            ("skip"), or let the first keep it ("merge"): id, title, text and metadata, which
            `history` tells, and its links joined to the first's.
        similarity_threshold: Cosine from which two passages that say the same are near duplicates,
            in (0, 1]; above 1, only exact ones are found.
        encoder: What makes the vectors; the store's own by default.

    Raises:
        InputError: A passage cannot be stored, or `similarity_threshold` is not above 0.
        DuplicateId: An id is taken.
        EncoderMissing: There is no encoder.
        EncoderMismatch: The store's vectors are another encoder's.
    """
    check_choice(then, get_args(DuplicateAction), "then")
    bound = checked_bound(similarity_threshold)
    now = store.clock()
    batch = batches.collect(passages, "error", now, None)
    encoder = require(store.encoder if encoder is None else encoder, "encoding passages")
    contents = [passage.content for passage in batch.values()]
    stored = dict(zip(batch, store.encode_passages(contents, encoder=encoder), strict=True))
    # As wholes: a text that stands in a long one is not all that the long one says.
    vectors = {key: all_of_it[0] for key, all_of_it in stored.items()}
    while True:
        seen: dict[Namespace, int] = {}
        doubled: list[Duplicate] = []
        for namespace in dict.fromkeys(key[0] for key in batch):
            part = {key: p for key, p in batch.items() if key[0] == namespace}
            seen[namespace], among = _among_new(store, encoder, part, vectors, bound)
            doubled += among
        names = {(d.namespace, d.id) for d in doubled}
        fresh = [p for key, p in batch.items() if then == "report" or key not in names]
        with store.transaction() as connection:
            if _stale(connection, seen, doubled, batch, store.clock()):
                continue  # another process wrote meanwhile: look again
            ids = store.restore(
                [replace(p, written_at=now) for p in fresh],
                stored,
                made_by=store_info.describe_encoder(encoder),
                rekey=True,
                encoder=encoder,
            )
            if then == "merge":
                _merge_all(store, connection, doubled, batch)
        return Distinct(ids, tuple(doubled))


def duplicates(
    store: Store, *, namespace: ScopeLike = (), similarity_threshold: float = NEAR
) -> list[Duplicate]:
    """The duplicates that a scope holds, each beside the first that says the same.

    Of a bound above 1 there are none: no cosine reaches it.

    Args:
        store: Holds the passages.
        namespace: The scope; passages of different namespaces are never duplicates.
        similarity_threshold: Cosine from which two passages are near duplicates, above 0.

    Raises:
        InputError: `similarity_threshold` is not above 0, or the namespace is none.
    """
    bound, scope = checked_bound(similarity_threshold), Scope.parse(namespace)
    return [
        one
        for space in store.namespaces()
        if scope.includes(space)
        for one in among_old(store, space, bound)[1]
        if one.cosine >= bound - likeness.ROUNDING
    ]


def among_old(
    store: Store, namespace: Namespace, similarity_threshold: float
) -> tuple[int, list[Duplicate]]:
    """The duplicates that exactly one namespace holds, at the version that comes first.

    Args:
        store: Holds the passages.
        namespace: Exactly this one.
        similarity_threshold: Cosine from which two passages are near duplicates.
    """
    while True:
        with store.pinned(namespace) as view, view.lock:
            try:
                return view.version, _clusters(store, view, similarity_threshold)
            except UnknownId:  # another process deleted one just now: look again
                continue


def changed(connection: sqlite3.Connection, namespace: Namespace, version: int) -> bool:
    """Whether exactly this namespace was written to after a version.

    Args:
        connection: The store's.
        namespace: Exactly this one; it was checked.
        version: Of the store.
    """
    stored = encode_namespace(namespace)
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM passages WHERE version > ? AND +namespace = ?) "
        "OR EXISTS (SELECT 1 FROM tombstones WHERE version > ? AND namespace = ?)",
        (version, stored, version, stored),
    ).fetchone()
    return bool(row[0])


def checked_bound(similarity_threshold: object) -> float:
    """A cosine from which passages are near duplicates.

    Args:
        similarity_threshold: As a caller gave it.

    Raises:
        InputError: It is no number above 0.
    """
    bound = finite(similarity_threshold)
    if bound is None or not bound > 0:
        raise InputError(
            f"similarity_threshold must be a cosine above 0, got {shown(similarity_threshold)}"
        )
    return bound


def _stale(
    connection: sqlite3.Connection,
    seen: Mapping[Namespace, int],
    doubled: Sequence[Duplicate],
    batch: Mapping[Key, Passage],
    now: float,
) -> bool:
    """Whether what was decided no longer holds for what the store has."""
    if any(changed(connection, namespace, version) for namespace, version in seen.items()):
        return True
    olds = {(d.namespace, d.of) for d in doubled} - batch.keys()
    return len(batches.existing_rowids(connection, olds, now)) < len(olds)  # one has just expired


def _among_new(
    store: Store,
    encoder: Encoder,
    batch: Mapping[Key, Passage],
    vectors: Mapping[Key, Vectors],
    similarity_threshold: float,
) -> tuple[int, list[Duplicate]]:
    """The duplicates among new passages of one namespace, and of what it holds at a version."""
    namespace = next(iter(batch))[0]
    while True:
        with store.pinned(namespace, encoder) as view, view.lock:
            try:
                there = likeness.of_new(store, view, batch, vectors, similarity_threshold)
            except UnknownId:  # another process deleted one just now: look again
                continue
            firsts = Keepers(similarity_threshold)
            duplicates = []
            for key, passage in batch.items():
                vector = vectors[key]
                like = there.get(key)
                if like is None or not like.exact:
                    like = firsts.like(passage.content, vector) or like
                if like is None:
                    firsts.add(passage.id, passage.content, vector)
                else:
                    duplicates.append(
                        Duplicate(passage.id, like.id, like.cosine, like.exact, namespace)
                    )
            return view.version, duplicates


def _clusters(store: Store, view: View, similarity_threshold: float) -> list[Duplicate]:
    """The duplicates of a namespace, which its view holds; only with its lock held."""
    firsts = Keepers(similarity_threshold)
    duplicates = []
    for passage, vector in likeness.oldest_first(store, view):
        like = firsts.like(passage.content, vector)
        if like is None:
            firsts.add(passage.id, passage.content, vector)
        else:
            space = view.scope.namespace
            duplicates.append(Duplicate(passage.id, like.id, like.cosine, like.exact, space))
    return duplicates


def _merge_all(
    store: Store,
    connection: sqlite3.Connection,
    doubled: Iterable[Duplicate],
    batch: Mapping[Key, Passage],
) -> None:
    """Let each first passage keep what is in the duplicates of it."""
    groups: dict[Key, list[Duplicate]] = {}
    for one in doubled:
        if one.id != one.of:  # else it was there already, under its own id
            groups.setdefault((one.namespace, one.of), []).append(one)
    for (namespace, id_), group in groups.items():
        others = [batch[namespace, one.id] for one in group]
        keep(
            store,
            connection,
            store.get(id_, Scope.parse(namespace).at(EVER)),
            [provenance.merge_record(p, one.cosine) for p, one in zip(others, group, strict=True)],
            [link for p in others for link in p.links],
        )


def keep(
    store: Store,
    connection: sqlite3.Connection,
    first: Passage,
    entries: Iterable[Merged],
    links: Iterable[Link],
) -> None:
    """Let a passage keep what is merged into it, and its links; its own links come before.

    Args:
        store: Holds the passages.
        connection: The store's.
        first: The passage that stays.
        entries: What was merged into it.
        links: Those of what was merged.
    """
    rowid = batches.existing_rowids(connection, [own(first)], store.clock())[own(first)]
    provenance.put_merged(connection, rowid, entries)
    joined = {(link.target, link.kind): link for link in (*links, *first.links)}
    if set(joined.values()) != set(first.links):
        store.relink(first.id, first.namespace, lambda old: tuple(joined.values()))
