"""The care of a memory's file: checked, mended, backed up, carried elsewhere and erased."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hoptrail.api.inputs import checked_path, parse_scope
from hoptrail.errors import StoreError
from hoptrail.values.flags import flag

if TYPE_CHECKING:
    from hoptrail.api.encoder_slot import EncoderSlot
    from hoptrail.api.graph_slot import GraphSlot
    from hoptrail.graph.audit import Audit
    from hoptrail.memory.maintenance.checks import Problem, Purged
    from hoptrail.memory.maintenance.export import Imported
    from hoptrail.memory.maintenance.merging import Pruned
    from hoptrail.memory.passages.usage import History
    from hoptrail.memory.store import OnDuplicate, Progress, Store


logger = logging.getLogger(__name__)

SECONDS = 60.0
"""Between two tries to purge files that others are using."""


class Maintenance:
    """What a memory does with its file as a whole, the graph in it included.

    Args:
        store: Of the file.
        graph: Over its passages.
        encoder: Makes vectors where a repair or an import lacks some.
    """

    def __init__(self, store: Store, graph: GraphSlot, encoder: EncoderSlot) -> None:
        self._store = store
        self._graph = graph
        self._encoder = encoder
        self._next_try = 0.0  # when files may be purged again that could not be

    def verify(self) -> list[Problem]:
        """Look for everything that is wrong with the file and with what is derived from it.

        Returns:
            The problems; none if all is sound.

        Raises:
            StoreUnavailable: The file cannot even be read.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        problems = checks.verify(self._store)
        if any(problem.what == "file" or not problem.derived for problem in problems):
            return (
                problems  # of a damaged file no copy can be made, whose graph could be built anew
            )
        return problems + graph_upkeep.verify_graph(self._store)

    def repair(self) -> list[str]:
        """Make anew what is derived and wrong.

        Of a memory on a server that is all of the worker's replica: where it is not what the server
        holds, it is given up, and made anew by whoever opens the memory next.

        Returns:
            What was done, a sentence each.

        Raises:
            StoreUnavailable: The passages themselves are damaged: restore a backup.
            EncoderMissing: Vectors must be made and the memory was opened without an encoder.
            MissingExtra: Vectors must be made and the `minilm` extra is not installed.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        database = self._store.database
        if database.is_shared:
            if not self.verify():
                return []
            database.give_up()
            return [f"the replica {database.path} is made anew when {database.name} is opened next"]
        done = graph_upkeep.drop_if_unreadable(self._store)
        wrong = {problem.what for problem in checks.verify(self._store)}
        encodes = wrong & {"vector", "file"}
        with self._encoder.for_passages() if encodes else nullcontext() as encoder:
            done += checks.repair(self._store, encoder)
        return done + graph_upkeep.repair_graph(self._store)

    def purge(self, *, whole_cache: bool = False) -> Purged:
        """Erase the bytes of what was deleted, from the store, its indexes and the vector cache.

        A memory on a server is purged there, by the role that made its tables; other hosts purge
        their files when they next use it.

        Args:
            whole_cache: Leave in the vector cache nothing but what this memory holds: for texts
                that were deleted before memories kept record of it, and for rewritten queries of
                training. What other memories had there is encoded again when they need it.

        Returns:
            What was erased, and from how much.

        Raises:
            StoreError: Another process is in the way, or the role may not purge its server; what
                could not be erased can be next time.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        erases = flag(whole_cache, "whole_cache")
        self._store.sweep()
        if graph_upkeep.has_graph(self._store):
            self._graph.get().sync()  # so that names of what is gone are gone too
        return checks.purge(self._store, whole_cache=erases)

    def follow_purge(self) -> None:
        """Purge this host's files of a memory on a server that was purged by another host.

        What is in the way, a process that reads them for instance, is tried again `SECONDS` later.
        """
        from hoptrail.graph import maintenance as graph_upkeep
        from hoptrail.memory.maintenance import checks

        if self._store.database.busy is not None or time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + SECONDS
        try:
            if graph_upkeep.has_graph(self._store):
                self._graph.get().sync()
            checks.follow_purge(self._store)
        except StoreError as error:
            logger.warning("what a purge of %s left here: %s", self._store.name, error)

    def backup(self, path: str | Path) -> Path:
        """Copy the store, while others use it, to a new file of one state.

        Args:
            path: A file that is not there yet.

        Returns:
            The file's absolute path.

        Raises:
            StoreUnavailable: There is a file already, or it cannot be written.
        """
        from hoptrail.memory.maintenance import checks

        return checks.backup(self._store, checked_path(path))

    def export(
        self, path: str | Path, *, namespace: Sequence[str] = (), vectors: bool = False
    ) -> int:
        """Write passages to a file of JSON lines, without loss, whether they are valid now or not.

        Args:
            path: The file; one that is there is replaced when the new one is whole.
            namespace: Which: every namespace that begins with it.
            vectors: Carry the vectors too, so that nothing is encoded on import.

        Returns:
            How many passages were written.

        Raises:
            FormatError: The file cannot be written.
        """
        from hoptrail.memory.maintenance import export

        return export.export(
            self._store, checked_path(path), namespace=parse_scope(namespace), vectors=vectors
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

        Returns:
            The ids written, and how many passages had to be encoded.

        Raises:
            FormatError: A line cannot be read; the message names it.
            DuplicateId: An id is taken and `on_duplicate` is "error".
            EncoderMissing: Vectors must be made and the memory was opened without an encoder.
            EncoderMismatch: The memory's vectors are another encoder's.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
        """
        from hoptrail.memory.maintenance import export

        file = checked_path(path)
        with self._encoder.for_passages() as encoder:
            return export.import_file(
                self._store, file, on_duplicate=on_duplicate, encoder=encoder, progress=progress
            )

    def history(self, id: str, namespace: Sequence[str] = ()) -> History:
        """Where a passage comes from, when it was written, how often and when it was recalled.

        Its `chain` shows what it took the place of, what took its place, and what each said before.

        Args:
            id: The passage's, whether it is valid now or not.
            namespace: Exactly the passage's.

        Returns:
            The passage's history.

        Raises:
            UnknownId: It is not there.
        """
        from hoptrail.memory.passages import usage

        return usage.history(self._store, id, parse_scope(namespace))

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

        Returns:
            The passages in question, kind by kind; nothing is changed.

        Raises:
            InputError: A bound is not above 0.
        """
        from hoptrail.graph.audit import audit
        from hoptrail.memory.maintenance import near_duplicates

        return audit(
            self._graph.get(),
            namespace=parse_scope(namespace),
            similarity_threshold=near_duplicates.NEAR
            if similarity_threshold is None
            else similarity_threshold,
            stale_days=stale_days,
        )

    def merge_duplicates(
        self,
        *,
        namespace: Sequence[str] = (),
        similarity_threshold: float | None = None,
        dry_run: bool = True,
    ) -> Pruned:
        """Merge what says the same into what was written first.

        The history of what stays tells what went into it, links are joined, and links to it are
        turned.

        Args:
            namespace: Where: every namespace that begins with it; never across two of them.
            similarity_threshold: Cosine from which passages with the same words are merged (0.97
                by default); above 1, only the same text is.
            dry_run: Change nothing.

        Returns:
            What was merged into what, or would be.

        Raises:
            InputError: `similarity_threshold` is not above 0.
        """
        from hoptrail.memory.maintenance import merging, near_duplicates

        return merging.merge_duplicates(
            self._store,
            namespace=parse_scope(namespace),
            similarity_threshold=near_duplicates.NEAR
            if similarity_threshold is None
            else similarity_threshold,
            dry_run=dry_run,
        )
