"""What a memory does with passages once it holds them: changes, joins, forgets and erases them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING

from hoptrail.api.inputs import Item, checked_namespace, checked_path
from hoptrail.api.placing import Batch
from hoptrail.errors import DuplicateId
from hoptrail.types import Duration, Link, Metadata, Passage, Time
from hoptrail.values.flags import flag

if TYPE_CHECKING:
    from hoptrail.graph.audit import Audit
    from hoptrail.memory.encoders.query_cache import CacheInfo
    from hoptrail.memory.filters import FilterLike
    from hoptrail.memory.maintenance.checks import Problem, Purged
    from hoptrail.memory.maintenance.export import Imported
    from hoptrail.memory.maintenance.merging import Pruned
    from hoptrail.memory.maintenance.near_duplicates import Distinct, DuplicateAction
    from hoptrail.memory.passages.usage import History
    from hoptrail.memory.store import OnDuplicate, Progress, Store, Upserted


class Keeping(ABC):
    """The part of `Memory` that keeps its passages; each call is one transaction."""

    _store: Store

    @abstractmethod
    def _cached_writes(self) -> AbstractContextManager[Store]:
        """The store, able to encode what is written."""

    def upsert(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        ttl: Duration | None = None,
        sync: bool = False,
        progress: Progress | None = None,
    ) -> Upserted:
        """Make the memory hold these passages as given: the ids added, updated and left unchanged.

        Passages that are the same in every field are not written, and only new contents are
        encoded: a corpus can be given again whenever some of it has changed. A document
        (`hoptrail.formats.jsonl.read_source`, `hoptrail.formats.documents.passages_of`) is
        replaced whole: what
        it no longer holds is deleted.

        Args:
            passages: As `add` takes them.
            namespace: Where they go; by default each goes where it says.
            sync: They were read of folders, and all other documents of these folders that the
                namespace has were renamed or deleted: they go.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: Something is no passage, or cannot be stored; `sync` without a folder.
            DuplicateId: A document has the id of a passage that is not its own.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
        """
        place = None if namespace is None else checked_namespace(namespace)
        batch = Batch(passages, place, sync=sync)
        with self._cached_writes() as store:
            given = batch.passages(store)
            while True:
                try:
                    return store.upsert(given, ttl=ttl, whole=batch.whole(), progress=progress)
                except DuplicateId:
                    before, given = given, batch.passages(store)
                    if given == before:  # else another process took an id meanwhile
                        raise

    def update(
        self,
        id: str,
        *,
        text: str | None = None,
        title: str | EllipsisType | None = ...,
        metadata: Metadata | None = None,
        links: Sequence[Link] | None = None,
        expires_at: Time | EllipsisType | None = ...,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Change what is given of a passage; the passage as it now is.

        Args:
            id: The passage's.
            text: Its new text; None leaves what is there, as for the others.
            title: Its new title, or None for none; `...` leaves what is there.
            metadata: Takes the place of all that is there.
            links: Take the place of all that are there.
            expires_at: Seconds since 1970, ISO 8601 text or a `datetime`, or None for never; `...`
                leaves what is there.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: It is not there.
            InputError: A value cannot be stored.
        """
        content_stays = text is None and isinstance(title, EllipsisType) and metadata is None
        with nullcontext(self._store) if content_stays else self._cached_writes() as store:
            return store.update(
                id,
                text=text,
                title=title,
                metadata=metadata,
                links=links,
                expires_at=expires_at,
                namespace=checked_namespace(namespace),
            )

    def delete(self, ids: str | Iterable[str], namespace: Sequence[str] = ()) -> int:
        """Delete passages, all of them or none; how many.

        Args:
            ids: One id, or several.
            namespace: Exactly the passages'.

        Raises:
            UnknownId: One of them is not there; nothing is deleted.
            InputError: They are no ids.
        """
        return self._store.delete(
            [ids] if isinstance(ids, str) else ids, checked_namespace(namespace)
        )

    def forget(self, filter: FilterLike | None, *, namespace: Sequence[str] = ()) -> int:
        """Delete every passage that fulfils a filter; how many.

        Args:
            filter: Which; see `hoptrail.memory.filters`. None is all of them.
            namespace: Where: every namespace that begins with it.

        Raises:
            InputError: It is no filter, or one without a condition.
        """
        return self._store.forget(filter, namespace=checked_namespace(namespace))

    def link(
        self,
        source: str,
        target: str,
        kind: str = "link",
        weight: float = 1.0,
        *,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Join a passage to another, or give their link another weight; the source as it now is.

        Args:
            source: Id of the passage that holds the link.
            target: Id of the passage that it leads to, in the same namespace.
            kind: `cites`, `next`, or a relation of your own.
            weight: Above 0.
            namespace: Exactly the source's.

        Raises:
            UnknownId: The source is not there. The target may be written later.
            InputError: A value cannot be stored.
        """
        place = checked_namespace(namespace)
        return self._store.link(source, Link(target, kind, weight), namespace=place)

    def unlink(
        self, source: str, target: str, kind: str | None = None, *, namespace: Sequence[str] = ()
    ) -> Passage:
        """Take a passage's links to another away; the source as it now is.

        Args:
            source: Id of the passage that holds the links.
            target: Where they lead.
            kind: Only those of this kind; all by default.
            namespace: Exactly the passages'.

        Raises:
            UnknownId: The source is not there. Links that are not there are no error.
        """
        return self._store.unlink(source, target, kind, namespace=checked_namespace(namespace))

    def add_distinct(
        self,
        passages: Item | Iterable[Item],
        *,
        then: DuplicateAction = "skip",
        similarity_threshold: float | None = None,
        namespace: Sequence[str] | None = None,
    ) -> Distinct:
        """Write passages, looking for what their namespaces say already; what was done.

        Metadata, but for a `speaker`, tells no two passages apart.

        Args:
            passages: As `add` takes them, under ids that are not taken.
            then: Write a duplicate all the same ("report"), leave it out ("skip"), or let the
                first keep it in its history and take its links ("merge").
            similarity_threshold: Cosine from which passages with the same words are duplicates
                (0.97 by default); above 1, only the same text is one.
            namespace: Where they go; by default each goes where it says.

        Raises:
            InputError: Something is no passage, or cannot be stored.
            DuplicateId: An id is taken; nothing was written.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
        """
        from hoptrail.memory.maintenance import near_duplicates

        place = None if namespace is None else checked_namespace(namespace)
        batch = Batch(passages, place)
        bound = near_duplicates.NEAR if similarity_threshold is None else similarity_threshold
        with self._cached_writes() as store:
            return near_duplicates.add_distinct(
                store, batch.passages(store), then=then, similarity_threshold=bound
            )

    def audit(
        self,
        *,
        namespace: Sequence[str] = (),
        similarity_threshold: float | None = None,
        stale_days: float = 365.0,
    ) -> Audit:
        """What nobody may miss: duplicates, orphans, passages out of use, links to nowhere.

        Args:
            namespace: Where to look: every namespace that begins with it.
            similarity_threshold: Cosine from which passages with the same words are duplicates
                (0.97 by default).
            stale_days: Days after which a passage that nobody wrote or recalled is stale.

        Raises:
            InputError: A bound is not above 0.
        """
        from hoptrail.graph.audit import audit
        from hoptrail.graph.graph import Graph
        from hoptrail.memory.maintenance import near_duplicates

        return audit(
            Graph(self._store),
            namespace=checked_namespace(namespace),
            similarity_threshold=near_duplicates.NEAR
            if similarity_threshold is None
            else similarity_threshold,
            stale_days=stale_days,
        )

    def history(self, id: str, namespace: Sequence[str] = ()) -> History:
        """Where a passage comes from, when it was written, how often and when it was recalled.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: It is not there.
        """
        from hoptrail.memory.passages import usage

        return usage.history(self._store, id, checked_namespace(namespace))

    def cache_info(self) -> CacheInfo:
        """How often vectors of queries, and passages, were found in memory since it was opened."""
        return self._store.cache_info()

    def merge_duplicates(
        self,
        *,
        namespace: Sequence[str] = (),
        similarity_threshold: float | None = None,
        dry_run: bool = True,
    ) -> Pruned:
        """Merge what says the same into what was written first; what was done, or would be.

        The history of what stays tells what went into it, links are joined, and links to it are
        turned.

        Args:
            namespace: Where: every namespace that begins with it; never across two of them.
            similarity_threshold: Cosine from which passages with the same words are merged (0.97
                by default); above 1, only the same text is.
            dry_run: Change nothing.

        Raises:
            InputError: `similarity_threshold` is not above 0.
        """
        from hoptrail.memory.maintenance import merging, near_duplicates

        return merging.merge_duplicates(
            self._store,
            namespace=checked_namespace(namespace),
            similarity_threshold=near_duplicates.NEAR
            if similarity_threshold is None
            else similarity_threshold,
            dry_run=dry_run,
        )

    # The file

    def purge(self, *, whole_cache: bool = False) -> Purged:
        """Erase the bytes of what was deleted, from the store, its indexes and the vector cache.

        Args:
            whole_cache: Leave in the vector cache nothing but what this memory holds: for texts
                that were deleted before memories kept record of it, and for rewritten queries of
                training. What other memories had there is encoded again when they need it.

        Raises:
            StoreError: Another process is in the way; what could not be erased can be next time.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.graph.graph import Graph
        from hoptrail.memory.maintenance import checks

        erases = flag(whole_cache, "whole_cache")
        self._store.sweep()
        if graph_upkeep.has_graph(self._store):
            Graph(self._store).sync()  # so that names of what is gone are gone too
        return checks.purge(self._store, whole_cache=erases)

    def verify(self) -> list[Problem]:
        """Everything that is wrong with the file and with what is derived from it."""
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        problems = checks.verify(self._store)
        if any(problem.what == "file" or not problem.derived for problem in problems):
            return (
                problems  # of a damaged file no copy can be made, whose graph could be built anew
            )
        return problems + graph_upkeep.verify(self._store)

    def repair(self) -> list[str]:
        """Make anew what is derived and wrong; what was done.

        Raises:
            StoreUnavailable: The passages themselves are damaged: restore a backup.
            MissingExtra: Vectors must be made and there is no encoder.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        done = graph_upkeep.drop_if_unreadable(self._store)
        wrong = {problem.what for problem in checks.verify(self._store)}
        encodes = wrong & {"vector", "file"}
        with self._cached_writes() if encodes else nullcontext(self._store) as store:
            done += checks.repair(store)
        return done + graph_upkeep.repair(self._store)

    def backup(self, path: str | Path) -> Path:
        """Copy the store, while others use it, to a new file of one state; its path.

        Args:
            path: A file that is not there yet.

        Raises:
            StoreUnavailable: There is a file already, or it cannot be written.
        """
        from hoptrail.memory.maintenance import checks

        return checks.backup(self._store, checked_path(path))

    def export(
        self, path: str | Path, *, namespace: Sequence[str] = (), vectors: bool = False
    ) -> int:
        """Write passages to a file of JSON lines, without loss; how many.

        Args:
            path: The file; one that is there is replaced when the new one is whole.
            namespace: Which: every namespace that begins with it.
            vectors: Carry the vectors too, so that nothing is encoded on import.

        Raises:
            FormatError: The file cannot be written.
        """
        from hoptrail.memory.maintenance import export

        return export.export(
            self._store, checked_path(path), namespace=checked_namespace(namespace), vectors=vectors
        )

    def import_file(
        self,
        path: str | Path,
        *,
        on_duplicate: OnDuplicate = "error",
        progress: Progress | None = None,
    ) -> Imported:
        """Write the passages of an exported file, all of them or none, with their times.

        Args:
            path: As `export` wrote it.
            on_duplicate: What to do with an id that is taken: refuse them all ("error"), "replace"
                the old passage, or "skip" the new one.
            progress: Called with (texts encoded, texts in all).

        Raises:
            FormatError: A line cannot be read; the message names it.
            DuplicateId: An id is taken and `on_duplicate` is "error".
            MissingExtra: Vectors must be made and there is no encoder.
        """
        from hoptrail.memory.maintenance import export

        file = checked_path(path)
        with self._cached_writes() as store:
            return export.import_file(store, file, on_duplicate=on_duplicate, progress=progress)
