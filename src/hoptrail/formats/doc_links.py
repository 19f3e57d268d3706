"""Where the links of documents lead: to the chunk under a heading, by path or by a note's name."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hoptrail.formats.markdown import Reference, slug
from hoptrail.formats.text_files import TEXT_SUFFIXES

_DEFAULTS = ("", ".md", "/README.md", "/index.md")
"""What an address may leave out."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A document as links see it."""

    path: str
    folder: str
    base: str
    """The id of its first chunk; the n-th has `#n` behind it."""
    anchors: Mapping[str, int]
    """The numbers of its chunks by anchor; empty where it has no chunk."""
    aliases: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Its path from the folder of all."""
        return _folded(posixpath.join(self.folder, self.path))


class LinkIndex:
    """The documents that links may lead to.

    Args:
        documents: Those at hand.
        first_ids: Those that a memory has besides, by name, each with the id of its first chunk.
    """

    def __init__(self, documents: Sequence[Linked], first_ids: Mapping[str, str]) -> None:
        self._documents = documents
        self._first_ids = first_ids
        self._by_place = {document.place: document for document in reversed(documents)}

    def targets(self, place: int, references: Iterable[Reference]) -> Iterator[str]:
        """The ids that references lead to; those that lead nowhere are left out.

        Args:
            place: Of the document that they stand in.
            references: In any order.
        """
        source = self._documents[place]
        for reference in references:
            if not reference.address:
                target = self._chunk(source, reference.anchor)
            elif reference.by_name:
                target = self._named(source, reference)
            else:
                target = self._addressed(source, reference)
            if target is not None:
                yield target

    def _addressed(self, source: Linked, reference: Reference) -> str | None:
        """The chunk at an address, from the source's folder or from the folder of all."""
        address = _folded(reference.address)
        if address.startswith("/"):
            start = _folded(source.folder)
        else:
            start = posixpath.dirname(source.place)
        path = posixpath.normpath(posixpath.join(start, address.lstrip("/")))
        for suffix in _DEFAULTS:
            if (document := self._by_place.get(path + suffix)) is not None:
                return self._chunk(document, reference.anchor)
            if (base := self._elsewhere.get(path + suffix)) is not None:
                return base
        return None

    def _named(self, source: Linked, reference: Reference) -> str | None:
        """The chunk of the note that a wikilink names: the nearest of those with that name."""
        name = _note(reference.address.strip("/"))
        notes = self._by_name.get(name) or self._by_alias.get(name)
        if notes:
            folder = posixpath.dirname(source.place)
            nearest = min(
                notes,
                key=lambda note: (
                    note.folder != source.folder,
                    posixpath.dirname(note.place) != folder,
                    note.path.count("/"),
                    note.path,
                ),
            )
            return self._chunk(nearest, reference.anchor)
        return self._names_elsewhere.get(name)

    def _chunk(self, document: Linked, anchor: str) -> str | None:
        """The chunk under the heading that an anchor names; the first where it names none."""
        if not document.anchors:
            return None
        anchors = document.anchors
        number = anchors.get(anchor.lower()) or anchors.get(slug(anchor)) if anchor else 1
        return document.base if (number or 1) == 1 else f"{document.base}#{number}"

    @cached_property
    def _elsewhere(self) -> dict[str, str]:
        return {_folded(name): base for name, base in self._first_ids.items()}

    @cached_property
    def _names_elsewhere(self) -> dict[str, str]:
        return {tail: base for name, base in self._first_ids.items() for tail in _tails(name)}

    @cached_property
    def _by_name(self) -> dict[str, list[Linked]]:
        names: dict[str, list[Linked]] = {}
        for document in self._documents:
            for tail in _tails(document.path):
                names.setdefault(tail, []).append(document)
        return names

    @cached_property
    def _by_alias(self) -> dict[str, list[Linked]]:
        names: dict[str, list[Linked]] = {}
        for document in self._documents:
            for alias in document.aliases:
                names.setdefault(_note(alias), []).append(document)
        return names


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _note(name: str) -> str:
    """A note's name as it is compared."""
    folded = " ".join(unicodedata.normalize("NFC", name).casefold().split())
    suffix = next((suffix for suffix in TEXT_SUFFIXES if folded.endswith(suffix)), "")
    return folded.removesuffix(suffix) or folded


def _tails(path: str) -> Iterator[str]:
    """The path's last part, its last two parts, and so on."""
    parts = path.strip("/").split("/")
    for start in range(len(parts)):
        yield _note("/".join(parts[start:]))
