"""A Markdown document as headings and blocks, by a parser that follows CommonMark.

The text of a block stays as the author wrote it, but for the words of a link in place of the link.
Where the links lead stays with the block, at their place in it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from hoptrail.formats.chunking import Block

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

WIKILINK = 1_000
"""Characters between the brackets of a wikilink at most."""

_KINDS: dict[str, Literal["text", "lines", "table", "fence"]] = {
    "paragraph_open": "text",
    "table_open": "table",
    "fence": "fence",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a link leads."""

    address: str
    """A path, percent signs decoded, or a note's name; empty for the document itself."""
    anchor: str = ""
    """The heading in it; empty for its beginning."""
    by_name: bool = False
    """A wikilink: the address is a name or the end of a path."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading outside of any list or quote."""

    level: int
    name: str
    """Its words, without marks."""
    block: Block
    """As it is written, with its links; its anchor leads to it."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A link in the text of an inline token."""

    reference: Reference | None
    start: int
    words: tuple[int, int]
    """Where the words begin and end that stay of it."""
    end: int


def parse_blocks(lines: Sequence[str]) -> Iterator[Heading | Block]:
    """The headings and the other blocks of a document's lines, in their order."""
    parser = _parser()
    env: dict[str, Any] = {}
    anchors: dict[str, int] = {}
    end = 0
    for token, inlines in _blocks(parser.parse("\n".join(lines), env)):
        start, stop = token.map or (end, end)
        yield from _between(lines[end:start])
        end = max(end, stop)
        if token.type == "hr":
            continue
        text, links, name = _worded(lines[start:stop], start, inlines, parser, env)
        if token.type == "heading_open":
            block = Block(text.strip(), "text", links, (_anchor(name, anchors),))
            yield Heading(int(token.tag[1]), name, block)
        elif text.strip():
            yield Block(text, _KINDS.get(token.type, "lines"), links)
    yield from _between(lines[end:])


def slug(heading: str) -> str:
    """A heading as GitHub writes it in an address."""
    letters = (
        char
        for char in unicodedata.normalize("NFC", heading).lower()
        if char in "-_ " or char.isalnum() or unicodedata.category(char)[0] == "M"
    )
    return "".join(letters).strip().replace(" ", "-")


def _anchor(name: str, anchors: dict[str, int]) -> str:
    """A heading's anchor; one that was there before gets a number."""
    own = slug(name)
    count = anchors[own] = anchors.get(own, -1) + 1
    return f"{own}-{count}" if count else own


def _between(lines: Sequence[str]) -> Iterator[Block]:
    """What the parser makes no block of: definitions of links."""
    text = "\n".join(lines).strip("\n")
    if text.strip():
        yield Block(text, "lines")


def _blocks(tokens: Sequence[Token]) -> Iterator[tuple[Token, list[Token]]]:
    """Each outermost block with the inline tokens in it."""
    inlines: list[Token] = []
    opening: Token | None = None
    for token in tokens:
        if token.level == 0 and token.nesting == 1:
            opening, inlines = token, []
        elif token.level == 0 and token.nesting == 0:
            yield token, []
        elif token.type == "inline":
            inlines.append(token)
        if token.level == 0 and token.nesting == -1 and opening is not None:
            yield opening, inlines
            opening = None


def _worded(
    written: Sequence[str], first: int, inlines: Sequence[Token], parser: MarkdownIt, env: Any
) -> tuple[str, tuple[tuple[int, Reference], ...], str]:
    """A block's text with words in place of links, its links by offset, and what it says.

    Args:
        written: Its lines.
        first: The number of the first one in the document.
        inlines: The inline tokens in it.
        parser: The parser, of blocks and of what is in them.
        env: What the parser knows of the document.
    """
    lines = list(written)
    cursors: dict[int, int] = {}  # of a table's row, where its next cell may begin
    places: list[tuple[int, int, Reference]] = []
    names: list[str] = []
    for token in inlines:
        row = token.map[0] - first if token.map else 0
        spans: list[_Span] = []
        env["spans"], env["nested"] = spans, 0
        children: list[Token] = []
        parser.inline.parse(token.content, parser, env, children)
        names.append(_said(children))
        if spans:
            places += _put(lines, row, token.content, spans, cursors)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    links = tuple((starts[row] + column, reference) for row, column, reference in places)
    return "\n".join(lines).strip("\n"), links, " ".join(" ".join(names).split())


def _put(
    lines: list[str], row: int, content: str, spans: list[_Span], cursors: dict[int, int]
) -> list[tuple[int, int, Reference]]:
    """Put words in place of links in these lines; the row and column of each that leads on."""
    plain, shift = _kept(content, spans)
    old, new = content.split("\n"), plain.split("\n")
    columns = {}
    for number, (before, after) in enumerate(zip(old, new, strict=False)):
        place = row + number
        if len(old) != len(new) or place >= len(lines):
            break
        column = lines[place].find(before, cursors.get(place, 0))
        if column >= 0:
            lines[place] = lines[place][:column] + after + lines[place][column + len(before) :]
            cursors[place] = column + len(after)
            columns[number] = column
    starts = [0]
    for line in new:
        starts.append(starts[-1] + len(line) + 1)
    places = []
    for span in spans:
        if span.reference is not None:
            offset = shift(span.start)
            number = bisect_right(starts, offset) - 1
            column = offset - starts[number] + columns[number] if number in columns else 0
            at = min(row + number if columns else row, len(lines) - 1)
            places.append((at, column, span.reference))
    return places


def _kept(content: str, spans: Sequence[_Span]) -> tuple[str, Callable[[int], int]]:
    """A text without what stands around the words of links, and where each place of it has gone."""
    gaps = sorted(
        gap
        for span in spans
        if span.words[1] > span.words[0]
        for gap in ((span.start, span.words[0]), (span.words[1], span.end))
    )
    parts, end, less = [], 0, 0
    starts, shifts = [-1], [0]
    for start, stop in gaps:
        parts.append(content[end:start])
        end = max(end, stop)
        less += stop - start
        starts.append(start)
        shifts.append(less)
    parts.append(content[end:])

    def moved(place: int) -> int:
        """Where a place outside of the gaps stands now; of a gap, where it was."""
        return place - shifts[bisect_right(starts, place - 1) - 1]

    return "".join(parts), moved


def _said(tokens: Sequence[Token]) -> str:
    """The words of inline tokens, without marks."""
    words = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            words.append(" ")
        elif token.type in ("text", "text_special", "code_inline", "image"):
            words.append(token.content)
    return "".join(words)


@cache
def _parser() -> MarkdownIt:
    """CommonMark, tables and wikilinks; what is inside of blocks is parsed block by block."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import image, link

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    parser.inline.ruler.before("link", "wikilink", _wikilink)
    parser.inline.ruler.at("link", _recording(link, "link_open", "href"))
    parser.inline.ruler.at("image", _recording(image, "image", "src"))
    return parser


def _recording(
    rule: Callable[[StateInline, bool], bool], kind: str, attribute: str
) -> Callable[[StateInline, bool], bool]:
    """A rule of the parser that also notes where what it finds begins, ends and leads."""
    opening = 2 if kind == "image" else 1

    def run(state: StateInline, silent: bool) -> bool:
        start, before = state.pos, len(state.tokens)
        if silent:
            return rule(state, silent)
        state.env["nested"] += kind == "image"  # an image's words are parsed as a text of their own
        done = rule(state, silent)
        state.env["nested"] -= kind == "image"
        if done and not state.env["nested"]:
            end = state.pos
            stop = state.md.helpers.parseLinkLabel(state, start + opening - 1, kind != "image")
            token = next(token for token in state.tokens[before:] if token.type == kind)
            reference = _reference(str(token.attrs.get(attribute, "")))
            state.env["spans"].append(_Span(reference, start, (start + opening, stop), end))
        return done

    return run


def _reference(address: str) -> Reference | None:
    """Where an address leads; None if that is out of the documents."""
    from urllib.parse import unquote

    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", address):
        return None
    path, _, anchor = address.partition("#")
    return Reference(unquote(path.partition("?")[0]), unquote(anchor))


def _wikilink(state: StateInline, silent: bool) -> bool:
    """`[[Name]]`, `[[Name#Heading|shown]]` and `![[Name]]`."""
    text, start = state.src, state.pos
    opening = start + (text[start] == "!")
    if not text.startswith("[[", opening):
        return False
    stop = text.find("]]", opening + 2, min(opening + 2 + WIKILINK, state.posMax))
    inner = text[opening + 2 : stop] if stop >= 0 else ""
    target, _, label = inner.partition("|")
    target = target.removesuffix("\\")  # as it is written in tables
    if "[" in inner or "\n" in inner or not any(char.isalpha() or char == "#" for char in target):
        return False
    if target != target.strip() or target.upper() in state.env.get("references", {}):
        return False  # a test in a shell; a link in brackets
    words = (stop - len(label), stop) if label.strip() else (opening + 2, opening + 2 + len(target))
    if not silent:
        name, _, anchor = target.partition("#")
        reference = Reference(name, anchor.rpartition("#")[2], by_name=True)
        if not state.env["nested"]:
            state.env["spans"].append(_Span(reference, start, words, stop + 2))
        state.push("text", "", 0).content = text[words[0] : words[1]]
    state.pos = stop + 2
    return True
