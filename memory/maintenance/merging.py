"""Merging the duplicates that a store holds: the first stays, and keeps what the others had.

What is merged away is deleted, and `history` of the passage that stays tells it whole: id, title,
text, metadata. Its links join the other's, and links of others that led to it are turned to the one
that stays. Only within one namespace; nothing is done unless asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hoptrail.memory.maintenance import near_duplicates
from hoptrail.memory.maintenance.near_duplicates import NEAR, Duplicate
from hoptrail.memory.passages import batches, provenance, versions
from hoptrail.memory.storage import records
from hoptrail.memory.storage.namespaces import Scope, ScopeLike, encode_namespace
from hoptrail.memory.storage.validity import EVER
from hoptrail.memory.store import Store
from hoptrail.types import Link, Namespace, Passage
from hoptrail.values.flags import flag


@dataclass(frozen=True, slots=True)
class Merge:
    """Passages that become one."""

    namespace: Namespace
    keeper: str
    """Id of the one that stays: the first that was written."""
    merged: tuple[Duplicate, ...]
    """The others, each beside what it is a duplicate of."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did, or would do."""

    merges: tuple[Merge, ...]
    done: bool
    """Whether anything was written."""

    @property
    def passages(self) -> int:
        """How many passages go."""
        return sum(len(merge.merged) for merge in self.merges)


def merge_duplicates(
    store: Store,
    *,
    namespace: ScopeLike = (),
    similarity_threshold: float = NEAR,
    dry_run: bool = True,
) -> Pruned:
    """Merge the duplicates of a scope into the first of each group, in one transaction.

    Args:
        store: Able to write, if it is not a dry run.
        namespace: The scope; passages of different namespaces are never merged.
        similarity_threshold: Cosine from which passages that say the same are merged; above 1,
            only the same text counts.
        dry_run: Only say what would be done.

    Raises:
        InputError: `similarity_threshold` is not above 0, or the namespace is none.
    """
    bound, scope = near_duplicates.checked_bound(similarity_threshold), Scope.parse(namespace)
    dry_run = flag(dry_run, "dry_run")
    while True:
        duplicates: list[Duplicate] = []
        seen: dict[Namespace, int] = {}
        for space in store.namespaces():
            if scope.includes(space):
                seen[space], among = near_duplicates.among_old(store, space, bound)
                duplicates += among
        merges = _groups(duplicates)
        if dry_run or not merges:
            return Pruned(merges, done=False)
        with store.transaction() as connection:
            # What has expired meanwhile goes first, and counts as a change.
            now = store.clock()
            batches.delete_rows(connection, records.expired_rowids(connection, now))
            if any(near_duplicates.changed(connection, *one) for one in seen.items()):
                continue  # another process wrote meanwhile: look again
            for merge in merges:
                _apply(store, connection, merge, now)
        return Pruned(merges, done=True)


def _groups(duplicates: Sequence[Duplicate]) -> tuple[Merge, ...]:
    """Duplicates by the passage that stays."""
    groups: dict[tuple[Namespace, str], list[Duplicate]] = {}
    for one in duplicates:
        groups.setdefault((one.namespace, one.of), []).append(one)
    return tuple(
        Merge(space, keeper, tuple(sorted(group, key=lambda one: one.id)))
        for (space, keeper), group in sorted(groups.items())
    )


def _apply(store: Store, connection: sqlite3.Connection, merge: Merge, now: float) -> None:
    """Let the first passage of a group keep the others, turn links to it, and delete them."""
    space = merge.namespace
    ids = [one.id for one in merge.merged]
    first, *others = store.get_many([merge.keeper, *ids], Scope.parse(space).at(EVER))
    group = {first.id, *ids}
    gone = {*ids}
    own_links = tuple(link for link in first.links if link.target not in gone)
    links = [
        link
        for other in others
        for link in other.links
        if link.target not in group and link.kind != versions.REVISES  # which goes with it
    ]
    rowids = batches.existing_rowids(connection, [(space, id_) for id_ in (first.id, *ids)], now)
    provenance.move(connection, [rowids[space, id_] for id_ in ids], rowids[space, first.id])
    if len(own_links) < len(first.links):
        first = store.relink(first.id, space, lambda old: own_links)
    entries = [
        provenance.merge_record(other, one.cosine)
        for other, one in zip(others, merge.merged, strict=True)
    ]
    near_duplicates.keep(store, connection, first, entries, links)
    turned = dict.fromkeys(ids, first.id)
    for source in _linking_to(store, connection, ids, space):
        if source.id not in group:
            store.relink(source.id, space, lambda old: _turned(old, turned))
    store.delete(ids, space)


def _linking_to(
    store: Store, connection: sqlite3.Connection, targets: Sequence[str], namespace: Namespace
) -> list[Passage]:
    """The passages of exactly this namespace that link to one of some ids."""
    rowids: set[int] = set()
    for part, marks in records.batches(targets):
        rows = connection.execute(
            "SELECT DISTINCT source FROM links INDEXED BY links_target "
            "CROSS JOIN passages ON passages.rowid = links.source "
            f"WHERE passages.namespace = ? AND links.target IN ({marks})",
            (encode_namespace(namespace), *part),
        )
        rowids.update(row[0] for row in rows)
    passages = store.read_rows(sorted(rowids))
    return [passages[rowid] for rowid in sorted(passages)]


def _turned(links: Iterable[Link], turned: Mapping[str, str]) -> tuple[Link, ...]:
    """Links that lead where ids have gone; those that are there already stay as they are."""
    rest = [link for link in links if link.target not in turned]
    seen = {(link.target, link.kind) for link in rest}
    for link in links:
        key = (turned.get(link.target, ""), link.kind)
        if link.target in turned and key not in seen:
            seen.add(key)
            rest.append(Link(key[0], link.kind, link.weight))
    return tuple(rest)
