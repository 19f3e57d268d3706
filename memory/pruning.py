"""Merging the duplicates that a store holds: the first stays, and keeps what the others had.

What is merged away is deleted, and stands whole under `merged_from` in the metadata of the passage
that stays: id, title, text, metadata. Its links join the other's, and links of others that led to
it are turned to the one that stays. Only within one namespace; nothing is done unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoptrail.memory import hygiene, records
from hoptrail.memory.hygiene import NEAR, PROVENANCE, Duplicate
from hoptrail.memory.store import Store
from hoptrail.types import Link, Namespace, Passage

SAME = 0.9999
"""The cosine of a text with itself, at least, however it is rounded."""


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
    store: Store, *, namespace: Namespace = (), near: float = NEAR, dry_run: bool = True
) -> Pruned:
    """Merge the duplicates of a scope into the first of each group, in one transaction.

    Chains end at their first: where c says what b says and b what a says, both go into a.

    Args:
        store: Able to write, if it is not a dry run.
        namespace: The scope; passages of different namespaces are never merged.
        near: Cosine from which two passages say the same; above 1, only the same text counts.
        dry_run: Only say what would be done.

    Raises:
        InputError: `near` is not above 0.
    """
    found = hygiene.duplicates(store, namespace=namespace, near=min(near, SAME))
    merges = _groups([one for one in found if near <= 1 or one.exact])
    if dry_run or not merges:
        return Pruned(merges, done=False)
    with store.transaction():
        for merge in merges:
            _apply(store, merge)
    return Pruned(merges, done=True)


def _groups(found: Sequence[Duplicate]) -> tuple[Merge, ...]:
    """Duplicates by the passage that stays at the end of each chain."""
    older = {(one.namespace, one.id): one.of for one in found}
    groups: dict[tuple[Namespace, str], list[Duplicate]] = {}
    for one in found:
        first = one.of
        while (one.namespace, first) in older:
            first = older[one.namespace, first]
        groups.setdefault((one.namespace, first), []).append(one)
    return tuple(
        Merge(space, keeper, tuple(sorted(group, key=lambda one: one.id)))
        for (space, keeper), group in sorted(groups.items())
    )


def _apply(store: Store, merge: Merge) -> None:
    """Let the first passage of a group keep the others, turn links to it, and delete them."""
    space = merge.namespace
    first = store.get(merge.keeper, space)
    others = store.get_many([one.id for one in merge.merged], space)
    group = {first.id, *(other.id for other in others)}
    kept = [
        hygiene.provenance(other, one.cosine)
        for other, one in zip(others, merge.merged, strict=True)
    ]
    links = {
        (link.target, link.kind): link
        for passage in (*others, first)
        for link in passage.links
        if link.target not in group or (passage is first and link.target == first.id)
    }
    store.update(
        first.id,
        metadata={**first.metadata, PROVENANCE: [*first.metadata.get(PROVENANCE, []), *kept]},
        links=list(links.values()),
        namespace=space,
    )
    for other in others:
        for source in _linking_to(store, other.id, space):
            if source.id not in group:
                _turn(store, source, other.id, first.id)
    store.delete([other.id for other in others], space)


def _linking_to(store: Store, target: str, namespace: Namespace) -> list[Passage]:
    """The passages of exactly this namespace that link to an id."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT DISTINCT source FROM links JOIN passages ON passages.rowid = links.source "
            "WHERE links.target = ? AND passages.namespace = ?",
            (target, records.encode_namespace(namespace)),
        ).fetchall()
    found = store.read_rows([row[0] for row in rows])
    return [found[rowid] for rowid in sorted(found)]


def _turn(store: Store, source: Passage, old: str, new: str) -> None:
    """Let a passage's links to one id lead to another; links that are there already stay."""
    known = {(link.target, link.kind) for link in source.links}
    turned = [
        Link(new, link.kind, link.weight)
        for link in source.links
        if link.target == old and (new, link.kind) not in known
    ]
    if turned:
        store.link(source.id, turned, namespace=source.namespace)
    store.unlink(source.id, old, namespace=source.namespace)
