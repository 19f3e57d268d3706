"""The passages of a memory: written, changed, deleted, read by id, and searched in one hop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from types import EllipsisType
from typing import TYPE_CHECKING, get_args

from hoptrail.api.batch import Batch
from hoptrail.api.inputs import Item, aligned, checked_scope, parse_scope, passages_from
from hoptrail.errors import DuplicateId, InputError
from hoptrail.types import AsOf, Duration, Hit, Link, Metadata, Passage, Time

if TYPE_CHECKING:
    from hoptrail.api.encoder_slot import EncoderSlot
    from hoptrail.memory.filters import FilterLike
    from hoptrail.memory.maintenance.near_duplicates import Distinct, DuplicateAction
    from hoptrail.memory.search.fusion import Fusion
    from hoptrail.memory.search.pipeline import Pipeline
    from hoptrail.memory.store import Mode, OnDuplicate, Progress, Store, Upserted


class Passages:
    """What a memory does with its passages; each write is one transaction.

    Args:
        store: Where they are.
        encoder: Makes the vectors of what is written, and of queries.
    """

    def __init__(self, store: Store, encoder: EncoderSlot) -> None:
        self._store = store
        self._encoder = encoder

    def add(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        on_duplicate: OnDuplicate = "error",
        ttl: Duration | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Write passages, all of them or none.

        Args:
            passages: Strings, dicts (`id`, `title`, `text`, `metadata`, `links`, `namespace`),
                LangChain documents or `Passage` objects, one or many, or what was read of files
                (`hoptrail.formats.jsonl`). What has no id gets the hash of its content.
            namespace: Where they go; by default each goes where it says.
            on_duplicate: What to do with an id that is taken: refuse them all ("error"),
                "replace" the old passage, or "skip" the new one.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            progress: Called with (texts encoded, texts in all).

        Returns:
            The ids that were written, in the order given.

        Raises:
            InputError: Something is no passage, or cannot be stored.
            DuplicateId: An id is taken; nothing was written.
            EncoderMissing: The memory was opened without an encoder.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            StoreError: The file is read-only, or the memory is closed.
        """
        place = None if namespace is None else parse_scope(namespace)
        batch = Batch(passages, place)
        if not batch:
            return []
        with self._encoder.for_passages() as encoder:
            pieces = batch.passages(self._store, encoder)
            ids = self._store.add(
                pieces, on_duplicate=on_duplicate, ttl=ttl, encoder=encoder, progress=progress
            )
        return aligned(pieces, ids) if on_duplicate == "error" else ids

    def upsert(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        ttl: Duration | None = None,
        sync: bool = False,
        progress: Progress | None = None,
    ) -> Upserted:
        """Make the memory hold these passages as given, with as little work as that takes.

        Passages that are the same in every field are not written, and only new contents are
        encoded: a corpus can be given again whenever some of it has changed. A document
        (`hoptrail.formats.read_source`, `hoptrail.formats.passages_of`) is replaced whole: what it
        no longer holds is deleted.

        Args:
            passages: As `add` takes them.
            namespace: Where they go; by default each goes where it says.
            sync: They were read of folders, and all other documents of these folders that the
                namespace has were renamed or deleted: they go.
            ttl: How long until those expire that have no `expires_at` of their own, in seconds or
                as a `timedelta`; None for never.
            progress: Called with (texts encoded, texts in all).

        Returns:
            The ids added, updated, left unchanged and deleted.

        Raises:
            InputError: Something is no passage, or cannot be stored; `sync` without a folder.
            DuplicateId: A document has the id of a passage that is not its own.
            EncoderMissing: The memory was opened without an encoder.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            StoreError: The file is read-only, or the memory is closed.
        """
        place = None if namespace is None else parse_scope(namespace)
        batch = Batch(passages, place, sync=sync)
        with self._encoder.for_passages() as encoder:
            pieces = batch.passages(self._store, encoder)
            while True:
                try:
                    return self._store.upsert(
                        pieces, ttl=ttl, whole=batch.whole(), encoder=encoder, progress=progress
                    )
                except DuplicateId:
                    before, pieces = pieces, batch.passages(self._store, encoder)
                    if pieces == before:  # else another process took an id meanwhile
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
        valid_from: Time | EllipsisType | None = ...,
        valid_until: Time | EllipsisType | None = ...,
        keep_history: bool = False,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Change what is given of a passage; a new content is encoded anew.

        Args:
            id: The passage's.
            text: Its new text; None leaves what is there, as for the others.
            title: Its new title, or None for none; `...` leaves what is there.
            metadata: Takes the place of all that is there.
            links: Take the place of all that are there but those that tell of its past.
            expires_at: Seconds since 1970, ISO 8601 text or a `datetime`, or None for never; `...`
                leaves what is there.
            valid_from: When what it says begins to hold, likewise, but with an offset from UTC.
            valid_until: When it ceases to, likewise.
            keep_history: Keep what it said until now, which `as_of` then finds: it was valid until
                now, or until `valid_from` where that is given. `history` shows it.
            namespace: Exactly the passage's.

        Returns:
            The passage as it now is.

        Raises:
            UnknownId: It is not there.
            InputError: A value cannot be stored, or what was said would end before it began.
            EncoderMissing: The content changes and the memory was opened without an encoder.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            StoreError: The file is read-only, or the memory is closed.
        """
        content_stays = text is None and isinstance(title, EllipsisType) and metadata is None
        with nullcontext() if content_stays else self._encoder.for_passages() as encoder:
            return self._store.update(
                id,
                text=text,
                title=title,
                metadata=metadata,
                links=links,
                expires_at=expires_at,
                valid_from=valid_from,
                valid_until=valid_until,
                keep_history=keep_history,
                namespace=parse_scope(namespace),
                encoder=encoder,
            )

    def supersede(
        self,
        old_id: str,
        new: Item,
        *,
        at: Time | None = None,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Let a passage take the place of another, which is not valid from then on.

        Nothing returns the old one any more, unless it is asked for with `as_of`; `history` shows
        both. A passage of the new one's content that is there already is taken as it is.

        Args:
            old_id: Of the passage that no longer holds.
            new: What holds instead: a string, a dict, a LangChain document or a `Passage`.
            at: Since when; by default the new one's `valid_from`, or now.
            namespace: Exactly the passages'.

        Returns:
            The new passage, with its id.

        Raises:
            UnknownId: The old passage is not there.
            DuplicateId: There is another passage under the new one's id.
            InputError: The old one was superseded already or begins later, or the new one cannot be
                stored.
            EncoderMissing: The memory was opened without an encoder.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            StoreError: The file is read-only, or the memory is closed.
        """
        place = parse_scope(namespace)
        several = list(passages_from(new, place.namespace))
        if len(several) != 1:
            raise InputError(f"one passage supersedes another, got {len(several)} of them")
        with self._encoder.for_passages() as encoder:
            return self._store.supersede(
                old_id, several[0], at=at, namespace=place, encoder=encoder
            )

    def delete(self, ids: str | Iterable[str], namespace: Sequence[str] = ()) -> int:
        """Delete passages with what they said before, all of them or none.

        Args:
            ids: One id, or several.
            namespace: Exactly the passages'.

        Returns:
            How many were deleted.

        Raises:
            UnknownId: One of them is not there; nothing is deleted.
            InputError: They are no ids.
            StoreError: The file is read-only, or the memory is closed.
        """
        return self._store.delete([ids] if isinstance(ids, str) else ids, parse_scope(namespace))

    def forget(self, filter: FilterLike | None, *, namespace: Sequence[str] = ()) -> int:
        """Delete every passage that fulfils a filter, valid now or not.

        Args:
            filter: Which; see `hoptrail.memory.filters`. None is all of them.
            namespace: Where: every namespace that begins with it.

        Returns:
            How many were deleted.

        Raises:
            InputError: It is no filter, or one without a condition.
            StoreError: The file is read-only, or the memory is closed.
        """
        return self._store.forget(filter, namespace=parse_scope(namespace))

    def link(
        self,
        source: str,
        target: str,
        kind: str = "link",
        weight: float = 1.0,
        *,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Join a passage to another, or give their link another weight.

        Args:
            source: Id of the passage that holds the link.
            target: Id of the passage that it leads to, in the same namespace.
            kind: `cites`, `next`, or a relation of your own.
            weight: Above 0.
            namespace: Exactly the source's.

        Returns:
            The source as it now is.

        Raises:
            UnknownId: The source is not there. The target may be written later.
            InputError: A value cannot be stored.
            StoreError: The file is read-only, or the memory is closed.
        """
        place = parse_scope(namespace)
        return self._store.link(source, Link(target, kind, weight), namespace=place)

    def unlink(
        self, source: str, target: str, kind: str | None = None, *, namespace: Sequence[str] = ()
    ) -> Passage:
        """Take a passage's links to another away.

        Args:
            source: Id of the passage that holds the links.
            target: Where they lead.
            kind: Only those of this kind; all by default.
            namespace: Exactly the passages'.

        Returns:
            The source as it now is.

        Raises:
            UnknownId: The source is not there. Links that are not there are no error.
            StoreError: The file is read-only, or the memory is closed.
        """
        return self._store.unlink(source, target, kind, namespace=parse_scope(namespace))

    def add_distinct(
        self,
        passages: Item | Iterable[Item],
        *,
        then: DuplicateAction = "skip",
        similarity_threshold: float | None = None,
        namespace: Sequence[str] | None = None,
    ) -> Distinct:
        """Write passages, looking for what their namespaces say already.

        Metadata, but for a `speaker`, tells no two passages apart.

        Args:
            passages: As `add` takes them, under ids that are not taken.
            then: Write a duplicate all the same ("report"), leave it out ("skip"), or let the
                first keep it in its history and take its links ("merge").
            similarity_threshold: Cosine from which passages with the same words are duplicates
                (0.97 by default); above 1, only the same text is one.
            namespace: Where they go; by default each goes where it says.

        Returns:
            The ids written, and the duplicates beside what they are duplicates of.

        Raises:
            InputError: Something is no passage, or cannot be stored.
            DuplicateId: An id is taken; nothing was written.
            EncoderMissing: The memory was opened without an encoder.
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
            StoreError: The file is read-only, or the memory is closed.
        """
        from hoptrail.memory.maintenance import near_duplicates

        place = None if namespace is None else parse_scope(namespace)
        batch = Batch(passages, place)
        bound = near_duplicates.NEAR if similarity_threshold is None else similarity_threshold
        with self._encoder.for_passages() as encoder:
            return near_duplicates.add_distinct(
                self._store,
                batch.passages(self._store, encoder),
                then=then,
                similarity_threshold=bound,
                encoder=encoder,
            )

    def get(self, id: str, namespace: Sequence[str] = (), *, as_of: AsOf | None = None) -> Passage:
        """The passage with this id in exactly this namespace.

        Args:
            id: The passage's.
            namespace: Exactly the passage's.
            as_of: What was valid at a time, such as "2026-01-31T12:00:00Z" or seconds since 1970,
                rather than now; "ever" for what was valid at any.

        Returns:
            The passage; it shares nothing with the memory.

        Raises:
            UnknownId: It is not there, or not valid then.
            InputError: `as_of` is no time.
        """
        return self._store.get(id, parse_scope(namespace, as_of))

    def count(
        self,
        namespace: Sequence[str] = (),
        *,
        filter: FilterLike | None = None,
        as_of: AsOf | None = None,
    ) -> int:
        """How many passages the namespaces that begin with this one hold, or a filter lets through.

        Args:
            namespace: Where to look: every namespace that begins with it.
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.
            as_of: What was valid at a time, such as "2026-01-31T12:00:00Z" or seconds since 1970,
                rather than now; "ever" for what was valid at any.

        Returns:
            How many there are.

        Raises:
            InputError: It is no filter, or no time.
        """
        return self._store.count(parse_scope(namespace, as_of), filter=filter)

    def search(
        self,
        query: str,
        k: int = 5,
        namespace: Sequence[str] = (),
        *,
        mode: Mode = "hybrid",
        filter: FilterLike | None = None,
        fusion: str | Fusion | None = None,
        pipeline: Pipeline | None = None,
        as_of: AsOf | None = None,
    ) -> list[Hit]:
        """The k passages that fit a query best, in one hop: no policy, no trail.

        Args:
            query: What to look for.
            k: How many, at least 1.
            namespace: Where to look: every namespace that begins with it.
            mode: By meaning ("dense"), by words ("sparse"), or both ("hybrid").
            filter: Only passages that fulfil it; see `hoptrail.memory.filters`.
            fusion: How words and meaning become one score, if not by the sum of z-scores:
                "reciprocal-rank", "min-rank", or a rule of `hoptrail.memory.search.fusion`.
            pipeline: Stages to search by in place of a mode; see `hoptrail.memory.search.pipeline`.
            as_of: What was valid at a time, such as "2026-01-31T12:00:00Z" or seconds since 1970,
                rather than now; "ever" for what was valid at any.

        Returns:
            The hits, best first; by words alone only those that share one with the query.

        Raises:
            InputError: An empty query, a `k` below 1, an unknown mode, or one that a fusion or a
                pipeline does not go with.
            EncoderMissing: The memory was opened without an encoder, holds passages, and the mode
                is not "sparse".
            EncoderMismatch: The memory's encoder is not the one that made the vectors.
            MissingExtra: The default encoder is meant and the `minilm` extra is not installed.
        """
        from hoptrail.memory import searching
        from hoptrail.memory.filters import Filter
        from hoptrail.values.strings import check_choice

        scope = checked_scope([query], k, namespace, "query", as_of)
        check_choice(mode, get_args(searching.Mode), "mode")
        # Refused also where there is nothing yet that it could leave out.
        conditions = Filter.parse_optional(filter)
        if not self._store.holds_any(scope):
            return []
        if mode != "sparse":
            self._encoder.for_queries()
        return self._store.search(
            query,
            k,
            namespace=scope,
            mode=mode,
            filter=conditions,
            fusion=fusion,
            pipeline=pipeline,
        )
