"""A caller's batch: documents are cut for the memory's encoder and get ids that nobody else has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from hoptrail.api.inputs import Item, passages_from
from hoptrail.errors import InputError
from hoptrail.formats.chunking import TOKENS, Measure
from hoptrail.formats.documents import Sources, first_id
from hoptrail.types import Passage
from hoptrail.values.flags import flag

if TYPE_CHECKING:
    from hoptrail.memory.encoders.transformer import Encoder
    from hoptrail.memory.passages.whole_documents import Whole
    from hoptrail.memory.storage.namespaces import Scope
    from hoptrail.memory.store import Store


class Batch:
    """Passages to be written, checked at once; those of documents are cut when the store is there.

    Args:
        items: As `Memory.add` takes them, or what was read of files.
        place: Where it goes; None leaves each passage where it says.
        sync: What was read is all that its folders hold: their other documents go.

    Raises:
        InputError: Something is no passage, or `sync` goes with what is no folder.
    """

    def __init__(
        self, items: Item | Iterable[Item], place: Scope | None, *, sync: bool = False
    ) -> None:
        namespace = None if place is None else place.namespace
        self._sources = items if isinstance(items, Sources) else None
        self._namespace = namespace
        self._sync = sync = flag(sync, "sync")
        if sync and not (self._sources and self._sources.folders):
            raise InputError("sync takes what read_folder or read_source returned for a folder")
        plain = self._sources.passages if self._sources else items
        self._passages = list(passages_from(plain, namespace))

    def __bool__(self) -> bool:
        return bool(self._passages or (self._sources and self._sources.documents))

    def passages(self, store: Store, encoder: Encoder | None) -> list[Passage]:
        """The passages, documents cut for an encoder, under ids that nobody else has.

        A document that the store has keeps the id that it has there.

        Args:
            store: Where they go.
            encoder: Reads them; documents are cut to lengths that suit it.

        Returns:
            The passages, those of documents behind the others.

        Raises:
            InputError: A piece of a document is no passage.
        """
        from hoptrail.memory.passages import whole_documents

        sources = self._sources
        if sources is None or not sources.documents:
            return self._passages
        place = self._namespace or ()

        beside = {p.id: p.document for p in self._passages if p.namespace == place}

        def owners(ids: Collection[str]) -> Mapping[str, str | None]:
            with store.reading() as connection:
                there = whole_documents.owners(connection, place, ids)
            return there | {id_: beside[id_] for id_ in ids if id_ in beside}

        with store.reading() as connection:
            id_of_name = whole_documents.names(connection, place)
        names = {document.name for document in sources.documents}
        first_ids = {
            name: first_id(id_)
            for name, id_ in id_of_name.items()
            if name in names or not (self._sync and name.startswith(sources.folders))
        }
        cut = sources.cut(sources.measure or measure_of(encoder), first_ids, owners)
        return list(chain(self._passages, passages_from(cut, self._namespace)))

    def whole(self) -> Whole:
        """What is given whole: each document, and with `sync` each folder.

        Returns:
            Their names, each in its namespace.
        """
        from hoptrail.memory.passages.whole_documents import NOTHING, Whole

        if self._sources is None:
            return NOTHING
        place = self._namespace or ()
        return Whole(
            frozenset((place, document.name) for document in self._sources.documents),
            frozenset((place, folder) for folder in self._sources.folders if self._sync),
            frozenset((place, name) for name in self._sources.unread),
        )


def measure_of(encoder: object) -> Measure:
    """How large a chunk may be for an encoder, in its own tokens where it counts them.

    Args:
        encoder: Perhaps none.

    Returns:
        The measure that documents are cut by.
    """
    from hoptrail.memory.encoders.windows import count_tokens, counts_tokens, window_of

    if not counts_tokens(encoder):
        return Measure()
    window = window_of(encoder)
    limit = TOKENS if window is None else max(1, min(window, TOKENS))
    return Measure(lambda texts: count_tokens(encoder, texts), limit)
