"""Text and Markdown documents cut into passages of a size that an encoder reads whole.

A document is cut at its headings, then at blank lines; paragraphs are packed while they fit, and
one that does not fit is cut between sentences. What the author wrote as a sequence stays one
(`next` links), and what the author linked stays linked.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

from hoptrail.sequences import NEXT
from hoptrail.types import Link, Passage

WORDS = 200
"""Words in a chunk at most."""
CHARACTERS = 2000
"""Characters in a chunk at most: what bounds text that is written without spaces."""

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?:<([^>\n]*)>|([^)\s]+))(?:\s+[\"'][^\"'\n]*[\"'])?\)")


@dataclass(frozen=True, slots=True)
class _Section:
    """What stands under one heading."""

    headings: tuple[str, ...]
    """The heading and those above it, outermost first; empty before the first one."""
    body: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A passage in the making."""

    id: str
    section: _Section
    body: str


def passages_of(documents: Mapping[str, str]) -> Iterator[Passage]:
    """The passages of documents, given as text by relative path with forward slashes.

    The first chunk of a document has its path as id, the n-th has `path#n`, from 2. A title is the
    document's first heading, or the file's name without its suffix.
    """
    chunks = {path: _chunks(path, text) for path, text in documents.items()}
    for path, parts in chunks.items():
        title = _title(path, parts)
        for place, part in enumerate(parts):
            following = parts[place + 1 : place + 2]
            yield Passage(
                id=part.id,
                text=_text_of(path, part, title),
                title=title,
                metadata=_metadata(path, part),
                links=(
                    *(Link(after.id, NEXT) for after in following),
                    *(Link(target) for target in _targets(path, part, chunks)),
                ),
            )


def _chunks(path: str, text: str) -> list[_Chunk]:
    """A document's chunks in its own order; none if it holds no text."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    sections = _sections(text) if _is_markdown(path) else [_Section((), text)]
    found = [(section, body) for section in sections for body in _packed(section.body)]
    if not found and text.strip():  # nothing but headings
        found = [(sections[0], body) for body in _packed(text)]
    return [
        _Chunk(path if number == 1 else f"{path}#{number}", section, body)
        for number, (section, body) in enumerate(found, start=1)
    ]


def _sections(text: str) -> list[_Section]:
    """Markdown cut at its headings; a `#` inside a code fence is not one."""
    sections: list[_Section] = []
    above: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        opened = _FENCE.match(line)
        if opened and fence in ("", opened[1]):
            fence = "" if fence else opened[1]
        heading = None if fence or opened else _HEADING.match(line)
        if heading is None:
            lines.append(line)
            continue
        sections.append(_Section(tuple(name for _, name in above), "\n".join(lines)))
        lines = []
        level = len(heading[1])
        above = [(depth, name) for depth, name in above if depth < level]
        above.append((level, _plain(heading[2])))
    sections.append(_Section(tuple(name for _, name in above), "\n".join(lines)))
    return sections


def _packed(body: str) -> Iterator[str]:
    """Paragraphs joined while they fit into a chunk."""
    paragraphs = [part.strip() for part in _BLANK.split(body.strip()) if part.strip()]
    pieces = (
        piece
        for paragraph in paragraphs
        for piece in ([paragraph] if _fits(paragraph) else _joined(_pieces(paragraph), " "))
    )
    return _joined(pieces, "\n\n")


def _pieces(paragraph: str) -> Iterator[str]:
    """A paragraph's sentences; one that is too long for a chunk is cut between words."""
    for sentence in filter(None, _SENTENCE.split(paragraph)):
        if _fits(sentence):
            yield sentence
            continue
        words = (
            word[start : start + CHARACTERS]
            for word in sentence.split()
            for start in range(0, len(word), CHARACTERS)
        )
        yield from _joined(words, " ")


def _joined(pieces: Iterable[str], by: str) -> Iterator[str]:
    """Pieces joined, in order, into the longest texts that fit."""
    held: list[str] = []
    words = characters = 0
    for piece in pieces:
        size, length = len(piece.split()), len(piece) + len(by)
        if held and (words + size > WORDS or characters + length > CHARACTERS):
            yield by.join(held)
            held, words, characters = [], 0, 0
        held.append(piece)
        words, characters = words + size, characters + length
    if held:
        yield by.join(held)


def _is_markdown(path: str) -> bool:
    return path.lower().endswith(".md")


def _fits(text: str) -> bool:
    return len(text) <= CHARACTERS and len(text.split()) <= WORDS


def _title(path: str, parts: list[_Chunk]) -> str:
    """The first heading that stands over text, outermost, or the file's stem."""
    first = next((part.section.headings[0] for part in parts if part.section.headings), "")
    return first or PurePosixPath(path).stem


def _text_of(path: str, part: _Chunk, title: str) -> str:
    """The chunk under the headings that its title does not say."""
    names = [name for name in part.section.headings if name and name != title]
    body = _plain(part.body) if _is_markdown(path) else part.body
    return f"{' > '.join(names)}\n\n{body}" if names else body


def _metadata(path: str, part: _Chunk) -> dict[str, str]:
    heading = " > ".join(filter(None, part.section.headings))
    return {"source": path, "heading": heading} if heading else {"source": path}


def _plain(markdown: str) -> str:
    """Markdown with the words of its links in place of them; a link without words stays."""
    return _LINK.sub(lambda link: link[2] or link[0], markdown)


def _targets(path: str, part: _Chunk, chunks: Mapping[str, list[_Chunk]]) -> list[str]:
    """The chunks of other documents, or of this one, that a chunk links to, each once."""
    if not _is_markdown(path):
        return []
    found: dict[str, None] = {}
    for link in _LINK.finditer(part.body):
        address, _, anchor = unquote(link[3] or link[4]).partition("#")
        folder = posixpath.dirname(path)
        there = posixpath.normpath(posixpath.join(folder, address)) if address else path
        target = None if link[1] else _place(chunks.get(there, []), anchor)
        if target is not None and target != part.id:
            found[target] = None
    return list(found)


def _place(parts: list[_Chunk], anchor: str) -> str | None:
    """The chunk under the heading that an anchor names; the first where it names none."""
    for part in parts:
        if anchor and part.section.headings and _slug(part.section.headings[-1]) == anchor.lower():
            return part.id
    return parts[0].id if parts else None


def _slug(heading: str) -> str:
    """A heading as GitHub writes it in an address."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
