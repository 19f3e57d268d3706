"""The part of a store that writes: each call is one transaction, all of it or nothing.

What has expired is deleted by whoever writes next, in the same transaction and before anything
else: no writer ever meets a passage that no reader can see.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from hoptrail.errors import InputError, StoreUnavailable
from hoptrail.memory.encoders.transformer import Encoder, Vectors, require
from hoptrail.memory.encoders.vectors import check_known
from hoptrail.memory.encoders.windows import encode_in_chunks, main_vectors
from hoptrail.memory.filters import Filter, FilterLike
from hoptrail.memory.guarded import guarded
from hoptrail.memory.passages import batches, settling, versions, whole_documents
from hoptrail.memory.passages.batches import Key, OnDuplicate, Row, Upserted
from hoptrail.memory.passages.provenance import Merged
from hoptrail.memory.passages.reads import PassageReads, find, list_of_ids
from hoptrail.memory.passages.settling import Elsewhere
from hoptrail.memory.passages.usage import Counts
from hoptrail.memory.passages.whole_documents import NOTHING, Whole
from hoptrail.memory.storage import records, store_info
from hoptrail.memory.storage.namespaces import Scope, ScopeLike
from hoptrail.types import Duration, Link, Passage
from hoptrail.values.flags import check_function
from hoptrail.values.progress import Progress
from hoptrail.values.strings import check_choice, check_string


class Writer(PassageReads):
    """What can be done to a store's passages."""

    path: Path
    encoder: Encoder | None

    def add(
        self,
        passages: Iterable[Passage],
        *,
        on_duplicate: OnDuplicate = "error",
        ttl: Duration | None = None,
        encoder: Encoder | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages, all of them or none; the ids written, in the order given.

        Args:
            passages: What to write. Their `written_at` is set to now.
            on_duplicate: What to do with an id that its namespace has, or that is given twice:
                refuse the whole batch, let the later replace the earlier, or skip the later.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            encoder: What makes the vectors, such as one with a cache before it; the store's own by
                default, whose fingerprint it must have.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: A passage cannot be stored, or has expired already.
            DuplicateId: An id is taken and `on_duplicate` is "error".
            EncoderMissing: There is no encoder.
            EncoderMismatch: The store's vectors are another encoder's.
        """
        check_choice(on_duplicate, get_args(OnDuplicate), "on_duplicate")
        encoder = require(self._encoder_of_write(encoder), "adding passages")
        check_function(progress, "progress")
        batch = batches.collect(passages, on_duplicate, self._clock(), ttl)
        return self._add(batch, on_duplicate, {}, encoder, progress)

    def restore(
        self,
        passages: Iterable[Passage],
        vectors: Mapping[Key, Vectors],
        *,
        counts: Mapping[Key, Counts] | None = None,
        merged: Mapping[Key, Sequence[Merged]] | None = None,
        rekey: bool = False,
        made_by: str | None = None,
        on_duplicate: OnDuplicate = "error",
        encoder: Encoder | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages as another store had them, with their `written_at`; as `add` else.

        Args:
            passages: What to write.
            vectors: Those that are known, `(m, d)` each; the others are made.
            counts: What the other store has counted of them, where that is known.
            merged: What was merged into them there.
            rekey: Take ids that were made of contents as `add` does; else they are names like any.
            made_by: The encoder that made them, as the other store describes it.
            on_duplicate: As for `add`.
            encoder: As for `add`.
            progress: Called with (texts encoded, texts in all).

        Raises:
            EncoderMismatch: The store's vectors were made by another encoder.
            InputError: A vector is not finite, not of length 1, or of another width.
        """
        check_choice(on_duplicate, get_args(OnDuplicate), "on_duplicate")
        batch = batches.collect(passages, on_duplicate, self._clock(), None)
        check_known(vectors, store_info.width(made_by or ""))
        old = Elsewhere(counts or {}, merged or {})
        encoder = self._encoder_of_write(encoder)
        return self._add(
            batch, on_duplicate, vectors, encoder, progress, made_by=made_by, old=old, rekey=rekey
        )

    def _add(
        self,
        batch: dict[Key, Passage],
        on_duplicate: OnDuplicate,
        ready: Mapping[Key, Vectors],
        encoder: Encoder | None,
        progress: Progress | None,
        *,
        made_by: str | None = None,
        old: Elsewhere | None = None,
        rekey: bool = True,
    ) -> list[str]:
        """Write a checked batch; with `old`, of another store, as it was there."""
        vectors = {batch[key].content: ready[key] for key in batch if key in ready}
        while True:
            with self._db.reading() as connection:
                now = self._clock()
                settled = settling.settle(connection, batch, on_duplicate, now, rekey=rekey)
            contents = (p.content for p in settled.writing.values())
            if new := [text for text in contents if text not in vectors]:
                # Encoded before the transaction opens: other writers wait for milliseconds, not
                # minutes.
                vectors.update(zip(new, self._encode(encoder, new, progress), strict=True))
            with self._write() as (connection, now):
                settled = settling.settle(connection, batch, on_duplicate, now, rekey=rekey)
                if any(p.content not in vectors for p in settled.writing.values()):
                    continue  # someone deleted one while we encoded
                if encoder is not None:
                    store_info.claim_encoder(connection, encoder, self._db.name)
                if made_by is not None and ready:
                    store_info.claim(connection, made_by, self._db.name)
                settling.put_settled(connection, settled.writing, vectors, now, old)
                return settled.ids

    def upsert(
        self,
        passages: Iterable[Passage],
        *,
        ttl: Duration | None = None,
        whole: Whole = NOTHING,
        encoder: Encoder | None = None,
        progress: Progress | None = None,
    ) -> Upserted:
        """Make the store hold these passages as given, with as little work as that takes.

        A new passage is added, one that differs is written over, and one that is the same in every
        field is left alone: `written_at` tells when a passage last changed. Only contents that the
        store does not hold are encoded. Of an id given twice the later counts. Where all parts of a
        document are given (`Passage.parts`), those that it no longer has are deleted.

        Args:
            passages: What the store should hold.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            whole: Documents that hold nothing any more, and folders that are given whole.
            encoder: As for `add`.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: A passage cannot be stored, or has expired already.
            DuplicateId: A document has the id of a passage that is not its own.
            EncoderMissing: A content is new and the store has no encoder.
        """
        check_function(progress, "progress")
        checked = batches.collect(passages, "replace", self._clock(), ttl)
        vectors: dict[str, Vectors] = {}
        encoder = self._encoder_of_write(encoder)
        while True:
            with self._db.reading() as connection:
                batch = settling.renamed(connection, checked, self._clock())
                existing = batches.existing_rows(connection, batch, self._clock())
            whole_documents.check_owners(batch, existing)
            if new := batches.new_contents(batch, existing, vectors):
                new_vectors = self._encode(encoder, new, progress)
                vectors.update(zip(new, new_vectors, strict=True))
            with self._write() as (connection, now):
                batch = settling.renamed(connection, checked, now)
                existing = batches.existing_rows(connection, batch, now)
                if batches.new_contents(batch, existing, vectors):
                    continue  # someone wrote over one while we encoded
                if vectors and encoder is not None:
                    store_info.claim_encoder(connection, encoder, self._db.name)
                whole_documents.check_owners(batch, existing)
                stale = whole_documents.stale(connection, batch, whole)
                batches.delete_rows(connection, list(stale))
                whole_batch = versions.carried(
                    connection, batches.owned(batch, existing), existing, ended=True
                )
                done = self._upsert(connection, now, whole_batch, existing, vectors)
                return replace(done, deleted=tuple(stale.values()))

    def _upsert(
        self,
        connection: sqlite3.Connection,
        now: float,
        batch: Mapping[Key, Passage],
        existing: Mapping[Key, Row],
        vectors: Mapping[str, Vectors],
    ) -> Upserted:
        changed = {
            key: passage
            for key, passage in batch.items()
            if key not in existing or not batches.same(existing[key][1], passage)
        }
        version = store_info.bump(connection, len(changed))
        for i, (key, passage) in enumerate(changed.items()):
            rowid, old = existing.get(key, (None, None))
            rowid = batches.put_passage(connection, passage, rowid, version + i, now)
            if old is None or old.content != passage.content:
                records.put_vector(connection, rowid, vectors[passage.content])
        return Upserted(
            added=tuple(p.id for key, p in changed.items() if key not in existing),
            updated=tuple(p.id for key, p in changed.items() if key in existing),
            unchanged=tuple(p.id for key, p in batch.items() if key not in changed),
        )

    def delete(self, ids: Iterable[str], namespace: ScopeLike = ()) -> int:
        """Delete passages with what they said before, all of them or none; how many.

        It does not matter whether they are valid now. Links that lead to them from elsewhere
        stay: they lead somewhere again if the id returns.

        Args:
            ids: Of passages.
            namespace: Exactly the passages'.

        Raises:
            UnknownId: One of them is not there; nothing is deleted.
        """
        id_list, place = list_of_ids(ids), Scope.parse(namespace)
        with self._write() as (connection, now):
            rowid_of = find(connection, id_list, place, now)
            return batches.delete_rows(connection, list(rowid_of.values()))

    def forget(self, filter: FilterLike | None, *, namespace: ScopeLike = ()) -> int:
        """Delete every passage of the scope that fulfils a filter, valid now or not; how many.

        Args:
            filter: Which; see `hoptrail.memory.filters`. None is all of them.
            namespace: The scope: every namespace that begins with it.

        Raises:
            InputError: It is no filter, or one without a condition.
        """
        conditions, scope = Filter.parse_optional(filter), Scope.parse(namespace)
        if conditions is not None and not conditions.json:
            raise InputError("a filter without a condition would forget all: say so with None")
        with self._write() as (connection, _):
            rows = connection.execute(
                "SELECT rowid FROM passages WHERE namespace >= ? AND namespace < ? ORDER BY rowid",
                scope.bounds,
            )
            rowids = [row[0] for row in rows]
            if conditions is not None:
                rowids = batches.matching(connection, rowids, conditions)
            return batches.delete_rows(connection, rowids)

    def sweep(self, *, wait: bool = True) -> int:
        """Delete what has expired; how much that was. Reading and writing do it by themselves.

        Args:
            wait: For other writers; else fail at once if there is one.

        Raises:
            StoreUnavailable: The file cannot be written, or another writer was not waited for.
        """
        with self._db.reading() as connection:
            if not records.expired_rowids(connection, self._clock()):
                return 0
        with self._db.writing(wait=wait) as connection:
            expired = records.expired_rowids(connection, self._clock())
            return batches.delete_rows(connection, expired)

    def link(
        self, source: str, links: Link | Iterable[Link], *, namespace: ScopeLike = ()
    ) -> Passage:
        """Add links to a passage; it as it now is. `written_at` stays: its text is no newer.

        A link of a target and kind that are there already gives that one its weight.

        Args:
            source: Id of the passage that holds the links.
            links: One or several.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: The source is not there. The target may be written later.
            InputError: A link cannot be stored.
        """
        new = (links,) if isinstance(links, Link) else records.tuple_of_links(links)
        records.check_links(new)
        return self.relink(source, namespace, lambda old: batches.merged_links(old, new))

    def unlink(
        self, source: str, target: str, kind: str | None = None, *, namespace: ScopeLike = ()
    ) -> Passage:
        """Take a passage's links to another away; it as it now is.

        Args:
            source: Id of the passage that holds the links.
            target: Where they lead.
            kind: Only those of this kind; all by default.
            namespace: Exactly the passage's.

        Raises:
            UnknownId: The source is not there. Links that are not there are no error.
        """
        check_string(target, "a link's target")
        check_string("any" if kind is None else kind, "a link's kind")

        def without(old: tuple[Link, ...]) -> tuple[Link, ...]:
            return tuple(
                link for link in old if link.target != target or kind not in (None, link.kind)
            )

        return self.relink(source, namespace, without)

    def relink(
        self,
        source: str,
        namespace: ScopeLike,
        change: Callable[[tuple[Link, ...]], tuple[Link, ...]],
    ) -> Passage:
        """Change a passage's links in one go; it as it now is. `written_at` stays.

        Args:
            source: Id of the passage that holds the links.
            namespace: Exactly the passage's.
            change: Gives the new links, of those that it has.
        """
        id_list, place = list_of_ids([source]), Scope.parse(namespace)
        with self._write() as (connection, now):
            rowid = find(connection, id_list, place, now)[source]
            old = batches.one(connection, rowid, source)
            new = replace(old, links=change(old.links))
            if new != old:
                version = store_info.bump(connection, 1)
                records.overwrite(connection, rowid, new, version, old.written_at)
            return new

    def encode(self, texts: Sequence[str], *, progress: Progress | None = None) -> Vectors:
        """The vectors of passages' contents as wholes, `(n, d)`, by the store's encoder.

        Args:
            texts: n contents.
            progress: Called with (texts encoded, texts in all).
        """
        encoder = require(self.encoder, "encoding passages")
        return main_vectors(self._encode(encoder, texts, progress), encoder.dim)

    def encode_passages(
        self,
        texts: Sequence[str],
        *,
        encoder: Encoder | None = None,
        progress: Progress | None = None,
    ) -> list[Vectors]:
        """All vectors of each content, `(m, d)`: what is stored of it. See `windows`.

        Args:
            texts: Contents of passages.
            encoder: As for `add`.
            progress: Called with (texts encoded, texts in all).

        Raises:
            EncoderMissing: There is no encoder.
        """
        return self._encode(self._encoder_of_write(encoder), texts, progress)

    def _encoder_of_write(self, encoder: Encoder | None) -> Encoder | None:
        """The encoder of one write, the same to its end whoever changes the store's meanwhile."""
        return self.encoder if encoder is None else encoder

    def _encode(
        self, encoder: Encoder | None, texts: Sequence[str], progress: Progress | None = None
    ) -> list[Vectors]:
        encoder = require(encoder, "encoding passages")
        return encode_in_chunks(encoder, texts, progress)

    @guarded
    def _write(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """A transaction that begins without what has expired by its time; and that time."""
        now = self._clock()
        try:
            with self._db.writing() as connection:
                batches.delete_rows(connection, records.expired_rowids(connection, now))
                yield connection, now
        except sqlite3.IntegrityError as error:  # no statement here makes one of sound rows
            raise StoreUnavailable(
                f"the store {self._db.name} could not be written: its rows contradict each other "
                f"({error}), hoptrail store repair mends what can be"
            ) from error
