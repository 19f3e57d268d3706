"""Text and Markdown documents cut into passages of a size that an encoder reads whole.

A document is cut at its headings, then between its blocks. What the author wrote as a sequence
stays one (`next` links), and what the author linked stays linked. A document is given whole: its
passages say how many they are, and a memory that takes them all lets go of what it had before.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from hoptrail.errors import InputError
from hoptrail.formats import front_matter, markdown
from hoptrail.formats.chunking import Block, Measure, cut, with_anchors
from hoptrail.formats.doc_links import Linked, LinkIndex
from hoptrail.formats.document_records import DocumentRecords
from hoptrail.formats.sequences import NEXT
from hoptrail.formats.text_files import MARKDOWN_SUFFIXES, longest
from hoptrail.types import Link, Passage
from hoptrail.values.numbers import shown

_BLANK = re.compile(r"\n[ \t]*\n\s*")
_NUMBERED = re.compile(r"#\d+$")
_HEADING_SHARE = 8
"""A heading or title of more than this part of a chunk stands in the text, not above it."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is to be cut."""

    path: str
    """Where it stands, with forward slashes: links go by it, and ids where nobody else has them."""
    text: str
    name: str
    """What it is, unique among all documents of a namespace."""
    folder: str = ""
    """The folder that its path is relative to, absolute; empty for none."""
    syntax: Literal["markdown", "plain"] | None = None
    """How the text is written; None is what its path says."""
    records: tuple[Passage, ...] = ()
    """Its passages, where it is made of records and not of a text; see `DocumentRecords`."""
    remarks: tuple[str, ...] = ()
    """What of the file was left out, a sentence each."""

    @property
    def is_markdown(self) -> bool:
        """Whether the text is Markdown."""
        if self.syntax is not None:
            return self.syntax == "markdown"
        return self.path.lower().endswith(MARKDOWN_SUFFIXES)

    @property
    def place(self) -> str:
        """Its path from the folder of all."""
        return posixpath.join(self.folder, self.path)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was not read."""

    path: str
    why: str


Owners = Callable[[Collection[str]], Mapping[str, str | None]]
"""The documents of those ids that a memory has; None for a passage that stands alone."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What was read of files: an iterable of passages, cut when it is iterated or written."""

    documents: tuple[Document, ...] = ()
    passages: tuple[Passage, ...] = ()
    """Of corpora: passages from the beginning."""
    skipped: tuple[Skipped, ...] = ()
    folders: tuple[str, ...] = ()
    """Folders that were read whole, absolute, each with a slash behind it."""
    read: tuple[str, ...] = ()
    """The files that were read, as they were given."""
    unread: tuple[str, ...] = ()
    """Documents, by name, that are there and could not be read; they are skipped, not gone."""
    measure: Measure | None = None
    """How large a chunk may be; by default as the memory's encoder has it."""

    def __iter__(self) -> Iterator[Passage]:
        yield from self.passages
        yield from self.cut(self.measure or Measure())

    def cut(
        self,
        measure: Measure,
        stored_ids: Mapping[str, str] | None = None,
        owners: Owners | None = None,
    ) -> Iterator[Passage]:
        """The passages of the documents.

        The first chunk of a document has its path as id, the n-th has `path#n`, from 2. Where
        another's passage has one of these ids, the folder's name goes before the path.

        Args:
            measure: How large a chunk may be.
            stored_ids: Of the documents that the memory has, by name: each keeps its first id.
            owners: Says whose an id is.
        """
        there = stored_ids or {}
        parts = [_Parts.of(document, measure) for document in self.documents]
        bases = first_ids(self.documents, there, owners or (lambda ids: {}))
        index = LinkIndex(
            [
                Linked(
                    one.document.path,
                    one.document.folder,
                    bases[one.document.name],
                    one.anchors,
                    one.front.aliases,
                )
                for one in parts
            ],
            there,
        )
        for place, one in enumerate(parts):
            document, base = one.document, bases[one.document.name]
            if document.records:
                yield from DocumentRecords(document.name, base, document.records).passages()
            else:
                yield from one.passages(place, base, index)

    def remarks(self) -> tuple[Skipped, ...]:
        """What was skipped, what was left out of files, and front matter that was read as text."""
        left_out = (
            Skipped(document.place, why) for document in self.documents for why in document.remarks
        )
        odd = (
            Skipped(document.place, complaint)
            for document in self.documents
            if document.is_markdown
            and (complaint := front_matter.read_front_matter(_lines(document.text)).complaint)
        )
        return (*self.skipped, *left_out, *odd)


def passages_of(documents: Mapping[str, str], *, measure: Measure | None = None) -> Sources:
    """The passages of documents, given as text by relative path with forward slashes.

    A title is the document's first heading of level 1, the title of its front matter, its first
    heading of another level, or the file's name without its suffix. Front matter is metadata.

    Args:
        documents: Texts, by path, which is also what each document is known by. What ends in .md
            or .markdown is Markdown.
        measure: How large a chunk may be; by default as the memory's encoder has it.

    Raises:
        InputError: Something is no string, or a text is too long.
    """
    if not isinstance(documents, Mapping):
        raise InputError(
            f"documents are given as a mapping from paths to texts, got {shown(documents)}"
        )
    for path, text in documents.items():
        _check(path, text)
    files = tuple(Document(path, text, path) for path, text in documents.items())
    return Sources(files, measure=measure)


def _check(path: object, text: object) -> None:
    if not isinstance(path, str) or not path.strip():
        raise InputError(f"a document's path must be a string that is not empty, got {shown(path)}")
    if not isinstance(text, str):
        raise InputError(f"the text of document {path!r} must be a string, got {shown(text)}")
    most = longest(path)
    if len(text) > most:
        raise InputError(
            f"document {path!r} has {len(text):,} characters, and {most:,} is the most: divide it"
        )
    try:
        f"{path}{text}".encode()
    except UnicodeEncodeError as error:
        raise InputError(f"document {path!r} is not valid Unicode: {error.reason}") from error


def first_id(id_: str) -> str:
    """The id of the first chunk of a document, of any chunk's."""
    return _NUMBERED.sub("", id_)


def first_ids(
    documents: Iterable[Document], stored_ids: Mapping[str, str], owners: Owners
) -> dict[str, str]:
    """The id of each document's first chunk, by name; those of one folder are made alike."""
    bases: dict[str, str] = {}
    folders: dict[str, list[Document]] = {}
    for document in documents:
        if document.name in stored_ids:
            bases[document.name] = stored_ids[document.name]
        else:
            folders.setdefault(document.folder, []).append(document)
    used = set(bases.values())
    for folder, new in folders.items():
        paths = _paths(new)
        ids: dict[str, str] = {}
        for prefix in _prefixes(folder):
            ids = {name: prefix(path, name) for name, path in paths.items()}
            if used.isdisjoint(ids.values()) and not owners(list(ids.values())):
                break
        bases |= ids
        used |= set(ids.values())
    return bases


def _paths(documents: Iterable[Document]) -> dict[str, str]:
    """The paths of a folder's documents by name, all different, none like another's later chunk."""
    paths: dict[str, str] = {}
    used: set[str] = set()
    for document in documents:
        path = unicodedata.normalize("NFC", document.path)
        if number := _NUMBERED.search(path):
            path = f"{path[: number.start()]}%23{path[number.start() + 1 :]}"
        path = f"{path}~{_digest(document.name)}" if path in used else path
        used.add(path)
        paths[document.name] = path
    return paths


def _prefixes(folder: str) -> list[Callable[[str, str], str]]:
    """Ways to make an id of a path and a name, from the simplest to one that nobody else has."""
    last = PurePosixPath(folder).name or "root"
    if not folder:
        return [lambda path, _: path, lambda path, name: f"{path}~{_digest(name)}"]
    return [
        lambda path, _: path,
        lambda path, _: f"{last}/{path}",
        lambda path, _: f"{last}-{_digest(folder)}/{path}",
    ]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A document, cut."""

    document: Document
    front: front_matter.FrontMatter
    title: str
    chunks: tuple[tuple[tuple[str, ...], Block], ...]
    """Each under its headings, outermost first."""

    @classmethod
    def of(cls, document: Document, measure: Measure) -> _Parts:
        """The parts of a document in its own order; none if it holds no text."""
        lines = _lines(document.text)
        items: list[Block | markdown.Heading]
        if document.is_markdown:
            front = front_matter.read_front_matter(lines)
            items = list(markdown.parse_blocks(lines[front.lines :]))
            if front.complaint:
                items.insert(0, Block("\n".join(lines[: front.lines]), "lines"))
        else:
            front = front_matter.FrontMatter()
            items = [Block(text) for text in _BLANK.split("\n".join(lines)) if text.strip()]
        most = max(1, measure.limit // _HEADING_SHARE)
        sections = _sections(items, most, measure)
        title = _title(document, front, items, most, measure)
        said = [title, *("\n".join(names) for names, _ in sections)]
        sizes = measure.count([f"{text}. \n\n" for text in said])
        chunks = (
            (names, chunk)
            for (names, blocks), size in zip(sections, sizes[1:], strict=True)
            for chunk in cut(blocks, measure.limit - sizes[0] - size - len(names), measure.count)
        )
        return cls(document, front, title, tuple(chunks))

    @property
    def anchors(self) -> dict[str, int]:
        """The number of the chunk, from 1, that each anchor names."""
        return {
            anchor: number
            for number in range(len(self.chunks), 0, -1)
            for anchor in self.chunks[number - 1][1].anchors
        } or ({"": 1} if self.chunks or self.document.records else {})

    def passages(self, place: int, base: str, index: LinkIndex) -> Iterator[Passage]:
        """The document's passages.

        Args:
            place: Its place among those of the index.
            base: The id of the first.
            index: Says where links lead.
        """
        ids = [base if number == 1 else f"{base}#{number}" for number in self._numbers]
        for number, (names, block) in enumerate(self.chunks):
            targets = dict.fromkeys(index.targets(place, (link for _, link in block.links)))
            yield Passage(
                id=ids[number],
                text=_text(names, block.text.strip("\n"), self.title),
                title=self.title,
                metadata=_metadata(base, names, self.front.values),
                links=(
                    *(Link(following, NEXT) for following in ids[number + 1 : number + 2]),
                    *(Link(target) for target in targets if target != ids[number]),
                ),
                document=self.document.name,
                parts=len(ids),
            )

    @property
    def _numbers(self) -> range:
        return range(1, len(self.chunks) + 1)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _sections(
    items: Sequence[Block | markdown.Heading], most: int, measure: Measure
) -> list[tuple[tuple[str, ...], list[Block]]]:
    """Blocks under their headings; a heading over nothing, or of more tokens, is a block itself."""
    headings = [item for item in items if isinstance(item, markdown.Heading)]
    sizes = iter(measure.count([heading.name for heading in headings]))
    sections: list[tuple[tuple[str, ...], list[Block]]] = []
    above: list[tuple[int, str]] = []
    anchors: list[str] = []
    links: list[Any] = []
    begins = True  # a section of its own

    def put(block: Block) -> None:
        nonlocal begins
        names = tuple(name for _, name in above)
        if begins or sections[-1][0] != names:
            sections.append((names, []))
            begins = False
        sections[-1][1].append(with_anchors(block, anchors, links))
        anchors.clear()
        links.clear()

    for item, after in zip(items, [*items[1:], None], strict=False):
        if isinstance(item, Block):
            put(item)
            continue
        above = [(level, name) for level, name in above if level < item.level]
        bare = after is None or (isinstance(after, markdown.Heading) and after.level <= item.level)
        long = next(sizes) > most or len(item.name) > most * 8
        begins = begins or not bare
        if item.name and (bare or long):
            put(item.block)
        else:
            anchors += item.block.anchors
            links += (link for _, link in item.block.links)
        if item.name and not long:
            above.append((item.level, item.name))
    return sections


def _title(
    document: Document,
    front: front_matter.FrontMatter,
    items: Sequence[Block | markdown.Heading],
    most: int,
    measure: Measure,
) -> str:
    """What the document is called, in no more tokens."""
    headings = [item for item in items if isinstance(item, markdown.Heading) and item.name]
    top = [heading for heading in headings if heading.level == 1]
    names = [*(h.name for h in top[:1]), front.title, *(h.name for h in headings[:1])]
    whole = next(filter(None, names), "") or PurePosixPath(document.path).stem
    parts = cut([Block(whole)], most, measure.count)
    return " ".join(parts[0].text.split()) if parts else whole


def _text(names: tuple[str, ...], body: str, title: str) -> str:
    """A chunk under the headings that its title does not say."""
    above = " > ".join(name for name in names if name != title)
    return f"{above}\n\n{body}" if above else body


def _metadata(base: str, names: tuple[str, ...], front: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a chunk; the author's own values stand before ours."""
    own = {"source": base, "heading": " > ".join(names)} if names else {"source": base}
    return {**own, **front}
