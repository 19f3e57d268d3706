"""What a memory does with passages once it holds them: changes, joins, forgets and erases them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import EllipsisType
from typing import TYPE_CHECKING

from hoptrail.intake import Item, checked_namespace, passages_from
from hoptrail.types import Filter, Link, Metadata, Passage

if TYPE_CHECKING:
    from hoptrail.memory.store import Progress, Store, Upserted


class Keeping:
    """The part of `Memory` that keeps its passages; each call is one transaction."""

    _store: Store

    def _cached_writes(self) -> AbstractContextManager[Store]:
        """The store, able to encode what is written."""
        raise NotImplementedError

    def upsert(
        self,
        passages: Item | Iterable[Item],
        *,
        namespace: Sequence[str] | None = None,
        ttl: float | None = None,
        progress: Progress | None = None,
    ) -> Upserted:
        """Make the memory hold these passages as given: the ids added, updated and left unchanged.

        Passages that are the same in every field are not written, and only new contents are
        encoded: a corpus can be given again whenever some of it has changed.

        Args:
            passages: As `add` takes them.
            namespace: Where they go; by default each goes where it says.
            ttl: Seconds until those expire that have no `expires_at` of their own; None for never.
            progress: Called with (texts encoded, texts in all).

        Raises:
            InputError: Something is no passage, or cannot be stored.
            MissingExtra: There is no encoder: the `minilm` extra is not installed.
        """
        place = None if namespace is None else checked_namespace(namespace)
        batch = list(passages_from(passages, place))
        with self._cached_writes() as store:
            return store.upsert(batch, ttl=ttl, progress=progress)

    def update(
        self,
        id: str,
        *,
        text: str | None = None,
        title: str | EllipsisType | None = ...,
        metadata: Metadata | None = None,
        links: Sequence[Link] | None = None,
        expires_at: float | EllipsisType | None = ...,
        namespace: Sequence[str] = (),
    ) -> Passage:
        """Change what is given of a passage; the passage as it now is.

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

        Raises:
            UnknownId: One of them is not there; nothing is deleted.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        return self._store.delete(wanted, checked_namespace(namespace))

    def forget(self, filter: Filter | None, *, namespace: Sequence[str] = ()) -> int:
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
