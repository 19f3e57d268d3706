"""Texts cut into pieces of a size that an encoder reads whole, measured in its own tokens.

Blocks (paragraphs, tables, fences) are packed while they fit. One that does not fit is cut between
lines, then sentences, then words, and a word that is too long between characters; what is cut out
is a slice of the text, so that nothing is lost and nothing said twice but a table's header and a
fence's marks. Each part is counted a bounded number of times: the work is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Literal

TOKENS = 250
"""Tokens in a chunk at most, title and headings among them: long enough for a thought, short enough
for the window of a small encoder."""

CHARACTERS_A_TOKEN = 8
"""Characters of a chunk for each of its tokens at most: what bounds a long run of blanks, or a word
that a tokeniser takes for a single unknown one."""

_ESTIMATED = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
# What stands between two lines, sentences, words.
_LINES = re.compile(r"\n+")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_WORDS = re.compile(r"\s+")

Count = Callable[[Sequence[str]], list[int]]
"""How many tokens each text has."""

_Span = tuple[int, int, int]
"""Where a slice begins and ends, and its tokens."""


def estimated(texts: Sequence[str]) -> list[int]:
    """Tokens as most tokenisers of English make no more of: for encoders that do not count them."""
    return [sum(map(_estimate, _ESTIMATED.findall(text))) for text in texts]


def _estimate(run: str) -> int:
    if not run.isascii():
        return 1
    if run.isalpha():
        return -(-len(run) // 4) if len(run) <= 8 else -(-len(run) * 2 // 5)  # a compound
    return -(-len(run) // 2)


@dataclass(frozen=True, slots=True)
class Measure:
    """How large a chunk may be, and how that is measured."""

    count: Count = estimated
    limit: int = TOKENS
    """Tokens at most, at least 1."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a text that is best left whole."""

    text: str
    kind: Literal["text", "lines", "table", "fence"] = "text"
    links: tuple[tuple[int, Any], ...] = ()
    """Where something is linked to, by offset in the text, and what."""
    anchors: tuple[str, ...] = ()
    """Names by which others may link here."""


def cut(blocks: Sequence[Block], budget: int, count: Count) -> list[Block]:
    """The blocks, in their order, joined and cut into the largest that have the budget's tokens."""
    budget = max(budget, 1)
    cuts = list(_packed(_units(blocks, budget, count)))
    smaller = budget
    while True:  # what was counted in parts may have more tokens as a whole
        sizes = count([block.text for block in cuts])
        if smaller == 1 or all(size <= budget for size in sizes):
            return cuts
        smaller = max(1, smaller * 3 // 4)
        cuts = [
            part
            for block, size in zip(cuts, sizes, strict=True)
            for part in ([block] if size <= budget else _split(block, smaller, count))
        ]


def _units(blocks: Sequence[Block], budget: int, count: Count) -> Iterator[tuple[Block, int, int]]:
    """Blocks that fit, each with its tokens and the budget."""
    sizes = count([block.text for block in blocks])
    for block, size in zip(blocks, sizes, strict=True):
        if _fits(size, len(block.text), budget):
            yield block, size, budget
            continue
        parts = _split(block, budget, count)
        yield from (
            (part, tokens, budget)
            for part, tokens in zip(parts, count([part.text for part in parts]), strict=True)
        )


def _packed(units: Iterable[tuple[Block, int, int]]) -> Iterator[Block]:
    """Blocks joined while they fit."""
    row: list[Block] = []
    tokens = characters = 0
    for block, size, budget in units:
        if row and not _fits(tokens + size, characters + 2 + len(block.text), budget):
            yield joined(row)
            row, tokens, characters = [], 0, 0
        row.append(block)
        tokens, characters = tokens + size, characters + 2 + len(block.text)
    if row:
        yield joined(row)


def joined(blocks: Sequence[Block]) -> Block:
    """One block of several, a blank line between each two."""
    if len(blocks) == 1:
        return blocks[0]
    links: list[tuple[int, Any]] = []
    start = 0
    for block in blocks:
        links += ((start + offset, link) for offset, link in block.links)
        start += len(block.text) + 2
    return Block(
        "\n\n".join(block.text for block in blocks),
        "lines",
        tuple(links),
        tuple(anchor for block in blocks for anchor in block.anchors),
    )


def _fits(tokens: int, characters: int, budget: int) -> bool:
    return tokens <= budget and characters <= budget * CHARACTERS_A_TOKEN


def _split(block: Block, budget: int, count: Count) -> list[Block]:
    """A block that is too large, cut."""
    opening, inner, closing = _wrapping(block)
    around = count([opening + closing])[0]
    if around > budget // 2 or len(opening + closing) > budget * CHARACTERS_A_TOKEN // 2:
        opening, inner, closing, around = "", (0, len(block.text)), "", 0
    breaks = [_SENTENCES, _WORDS] if block.kind == "text" else [_LINES, _SENTENCES, _WORDS]
    room = budget - around
    parts = []
    spans = list(_runs(_leaves(block.text, inner, breaks, room, count), room))
    for place, (start, end, _) in enumerate(spans):
        low = 0 if place == 0 else start
        high = spans[place + 1][0] if place + 1 < len(spans) else len(block.text) + 1
        links = tuple(
            (max(0, offset - start) + len(opening), link)
            for offset, link in block.links
            if low <= offset < high
        )
        text = f"{opening}{block.text[start:end]}{closing}"
        parts.append(Block(text, block.kind, links, () if place else block.anchors))
    return parts


def _wrapping(block: Block) -> tuple[str, tuple[int, int], str]:
    """What each part of a table or a fence begins and ends with, and where the rest stands."""
    whole = "", (0, len(block.text)), ""
    lines = block.text.split("\n")
    if block.kind == "table" and len(lines) > 2:
        header = f"{lines[0]}\n{lines[1]}\n"
        return header, (len(header), len(block.text)), ""
    if block.kind == "fence" and len(lines) > 2:
        opening = f"{lines[0]}\n"
        mark = lines[0].strip()[:3]
        if not lines[-1].strip().startswith(mark):  # nobody closed it
            return opening, (len(opening), len(block.text)), ""
        closing = f"\n{lines[-1]}"
        return opening, (len(opening), len(block.text) - len(closing)), closing
    return whole


def _leaves(
    text: str, within: tuple[int, int], breaks: Sequence[re.Pattern[str]], budget: int, count: Count
) -> list[_Span]:
    """Slices that fit, as large as what they are cut at allows."""
    spans = _counted(text, [within], count)
    for between in breaks:
        spans = _finer(spans, budget, text, count, partial(_cuts, text, between))
    while any(_too_large(span, budget) for span in spans):
        spans = _finer(spans, budget, text, count, partial(_characters, text, budget))
    return spans


def _too_large(span: _Span, budget: int) -> bool:
    """Whether a slice does not fit and could be cut."""
    return span[1] - span[0] > 1 and not _fits(span[2], span[1] - span[0], budget)


def _finer(
    spans: Sequence[_Span],
    budget: int,
    text: str,
    count: Count,
    cuts: Callable[[_Span], Iterable[tuple[int, int]]],
) -> list[_Span]:
    """The slices, those that do not fit cut once."""
    new: list[tuple[int, int]] = []
    places: dict[int, slice] = {}
    for place, span in enumerate(spans):
        if _too_large(span, budget):
            before = len(new)
            new += cuts(span)
            places[place] = slice(before, len(new))
    counted = _counted(text, new, count)
    return [
        part
        for place, span in enumerate(spans)
        for part in (counted[places[place]] if place in places else [span])
    ]


def _counted(text: str, spans: Sequence[tuple[int, int]], count: Count) -> list[_Span]:
    sizes = count([text[start:end] for start, end in spans])
    return [(start, end, size) for (start, end), size in zip(spans, sizes, strict=True)]


def _cuts(text: str, between: re.Pattern[str], span: _Span) -> Iterator[tuple[int, int]]:
    """A slice cut wherever a pattern finds a break, without blanks at the ends."""
    start = span[0]
    for stop, after in chain(
        (match.span() for match in between.finditer(text, span[0], span[1])), [(span[1], span[1])]
    ):
        part = text[start:stop]
        if part.strip():
            indented = 0 if between is _LINES else len(part) - len(part.lstrip())
            yield start + indented, start + len(part.rstrip())
        start = after


def _characters(text: str, budget: int, span: _Span) -> Iterator[tuple[int, int]]:
    """A word that is too long, in parts that should fit."""
    start, end, tokens = span
    length = end - start
    width = min(length // 2 + length % 2, length * budget // max(tokens, 1))
    width = max(1, min(width, budget * CHARACTERS_A_TOKEN))
    while start < end:
        stop = min(start + width, end)
        least = max(start + 1, stop - 16)
        while stop < end and stop > least and unicodedata.category(text[stop])[0] == "M":
            stop -= 1  # a mark stays with its letter
        yield start, stop
        start = stop


def _runs(spans: Iterable[_Span], budget: int) -> Iterator[_Span]:
    """Slices that follow each other, as one while they fit."""
    run: _Span | None = None
    for start, end, tokens in spans:
        if run is not None and _fits(run[2] + tokens, end - run[0], budget):
            run = run[0], end, run[2] + tokens
            continue
        if run is not None:
            yield run
        run = start, end, tokens
    if run is not None:
        yield run


def with_anchors(block: Block, anchors: Sequence[str], links: Sequence[Any]) -> Block:
    """A block that is also reached by these names, and links to these from its beginning."""
    return replace(
        block,
        anchors=(*anchors, *block.anchors),
        links=(*((0, link) for link in links), *block.links),
    )
