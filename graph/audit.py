"""What a memory holds that nobody may miss: duplicates, orphans, stale passages, broken links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoptrail.graph.graph import Graph
from hoptrail.memory.maintenance import near_duplicates
from hoptrail.memory.maintenance.near_duplicates import Duplicate
from hoptrail.memory.passages import usage
from hoptrail.memory.storage.namespaces import Scope, ScopeLike, decode_namespace
from hoptrail.memory.store import Store
from hoptrail.types import Namespace
from hoptrail.values.numbers import above_zero

DAY = 86_400.0

Key = tuple[Namespace, str]
"""A passage, by namespace and id."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in a scope; it is only read."""

    passages: int
    duplicates: tuple[Duplicate, ...]
    orphans: tuple[Key, ...]
    """No link or mention leads to or from them, and no entity joins them to another."""
    stale: tuple[Key, ...]
    """Neither written nor recalled for as long as was asked for."""
    never_recalled: tuple[Key, ...]
    """No search and no recall has returned them since that is counted."""
    dangling: tuple[tuple[Namespace, str, str], ...]
    """Links to ids that are not there: namespace, source and target."""
    expiring: int
    """Passages that have a time to go."""


def audit(
    graph: Graph,
    *,
    namespace: ScopeLike = (),
    similarity_threshold: float = near_duplicates.NEAR,
    stale_days: float = 365.0,
) -> Audit:
    """Look through a scope.

    Args:
        graph: Of the store.
        namespace: The scope.
        similarity_threshold: Cosine from which two passages are near duplicates.
        stale_days: Days after which a passage that nobody wrote or recalled is stale, above 0.

    Raises:
        InputError: A bound is not above 0.
    """
    days, scope = above_zero(stale_days, "stale_days"), Scope.parse(namespace)
    store = graph.store
    doubled = near_duplicates.duplicates(
        store, namespace=scope, similarity_threshold=similarity_threshold
    )
    before = store.clock() - days * DAY
    histories = list(usage.histories(store, scope))
    return Audit(
        passages=len(histories),
        duplicates=tuple(doubled),
        orphans=tuple(_orphans(graph, scope)),
        stale=tuple((h.namespace, h.id) for h in histories if h.used_at < before),
        never_recalled=tuple((h.namespace, h.id) for h in histories if not h.counts.recalls),
        dangling=tuple(_dangling(store, scope)),
        expiring=store.count(scope, filter={"$expires_at": {"$exists": True}}),
    )


def _orphans(graph: Graph, scope: Scope) -> list[Key]:
    """Passages that no edge of the graph touches."""
    graph.sync()
    with graph.store.pinned(scope) as view, view.lock:
        seen = graph.view(view)
        alone = [
            slot
            for slot in np.flatnonzero(view.alive).tolist()
            if not (
                seen.out_mentions(slot)
                or seen.in_mentions(slot)
                or seen.links(slot)
                or seen.back_links(slot)
                or any(seen.entity_df(name) > 1 for name in seen.entities(slot))
            )
        ]
        return sorted((p.namespace, p.id) for p in view.passages(alone))


def _dangling(store: Store, scope: Scope) -> list[tuple[Namespace, str, str]]:
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT p.namespace, p.id, l.target FROM passages AS p "
            "JOIN links AS l ON l.source = p.rowid "
            "LEFT JOIN passages AS t ON t.namespace = p.namespace AND t.id = l.target "
            "WHERE t.rowid IS NULL AND p.namespace >= ? AND p.namespace < ? "
            "ORDER BY p.namespace, p.id, l.position",
            scope.bounds,
        ).fetchall()
    return [(decode_namespace(space), source, target) for space, source, target in rows]
