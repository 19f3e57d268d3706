"""Bibliographies in BibTeX: an entry is a passage, what it cites a link.

BibTeX itself has no field for citations. What programs write is taken: `cites`, `references` and
`citations`, and `crossref`, `xref` and biblatex's `related`, each with keys of the same file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.formats.readers.registry import FileContent
from hoptrail.formats.text_files import read_text
from hoptrail.types import Link, Passage

LINKS = {
    "cites": "cites",
    "references": "cites",
    "citations": "cites",
    "crossref": "part_of",
    "xref": "part_of",
    "related": "related",
}
"""Fields with keys of other entries, and the kind of link that each stands for."""
_ABOUT = ("abstract", "note", "annote")
"""Fields with what an entry says of itself, in their order."""
_MARKS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304"}
_MARKS |= {".": "\u0307", "c": "\u0327", "v": "\u030c", "u": "\u0306", "H": "\u030b", "k": "\u0328"}
_MARKS |= {"r": "\u030a"}
_LETTERS = {"ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ"}
_LETTERS |= {"OE": "Œ", "aa": "å", "AA": "Å", "i": "ı", "j": "ȷ"}
_ACCENT = re.compile(r"""\\(?:([`'^"~=.])\s*|([cvuHkr])(?:\s+|(?=\{)))\{?(\\[ij]\b|\w)\}?""")
_LETTER = re.compile(r"\\(ss|ae|AE|oe|OE|aa|AA|[oOlLij])(?![a-zA-Z])\s*(?:\{\})?")


@dataclass(slots=True)
class BibEntry:
    """An entry as it is written, with its fields' names in lower case."""

    kind: str
    key: str
    line: int
    fields: dict[str, str] = field(default_factory=dict)


def read_bibliography(path: Path) -> FileContent:
    """The entries of a file of BibTeX.

    The text is the abstract or a note, or else what the reference says; all fields are metadata,
    and the key as `key`.

    Raises:
        FormatError: It cannot be read, an entry is not BibTeX, or two have one key; the line is
            named.
    """
    entries = list(_entries(read_text(path), str(path)))
    lines: dict[str, int] = {}
    for entry in entries:
        if entry.key in lines:
            raise FormatError(
                f"{path}, line {entry.line}: the key {entry.key!r} is that of line "
                f"{lines[entry.key]} too"
            )
        lines[entry.key] = entry.line
    folded = {key.lower(): key for key in lines}
    records = tuple(_record(entry, folded) for entry in entries)
    return FileContent(records=records)


def _record(entry: BibEntry, keys: dict[str, str]) -> Passage:
    values = {name: plain_text(value) for name, value in entry.fields.items()}
    title = values.get("title") or None
    links = []
    for name, kind in LINKS.items():
        for word in re.split(r"[\s,;]+", entry.fields.get(name, "")):
            target = keys.get(word.lower())
            if target is not None and target != entry.key:
                links.append(Link(target, kind))
    text = next((values[name] for name in _ABOUT if values.get(name)), "") or _reference(values)
    metadata = {"key": entry.key, "type": entry.kind, **{k: v for k, v in values.items() if v}}
    return Passage(entry.key, text or entry.key, title, metadata, (), tuple(dict.fromkeys(links)))


def _reference(values: dict[str, str]) -> str:
    """What a reference says in one line."""
    where = values.get("journal") or values.get("journaltitle") or values.get("booktitle", "")
    year = values.get("year") or values.get("date", "")
    parts = (values.get("author", ""), values.get("title", ""), where, year)
    return ". ".join(part for part in parts if part)


def plain_text(value: str) -> str:
    r"""A field's value without TeX's braces, accents as letters: `G{\"o}del` is Gödel.

    Args:
        value: As it is written.
    """

    def accented(match: re.Match[str]) -> str:
        letter = match[3].removeprefix("\\")
        return unicodedata.normalize("NFC", letter + _MARKS[match[1] or match[2]])

    text = _ACCENT.sub(accented, value)
    text = _LETTER.sub(lambda match: _LETTERS[match[1]], text)
    text = re.sub(r"\\([&%$#_{}])", r"\1", text).replace("~", " ").replace("---", "—")
    text = text.replace("--", "–")
    return " ".join(re.sub(r"[{}]", "", text).split())


def _entries(text: str, where: str) -> Iterator[BibEntry]:
    """The entries of a text; what stands between them is comment, as BibTeX has it."""
    strings: dict[str, str] = {}
    at = 0
    while (start := text.find("@", at)) >= 0:
        line = text.count("\n", 0, start) + 1
        head = re.compile(r"@\s*(\w+)\s*([{(])").match(text, start)
        if head is None:
            at = start + 1
            continue
        kind = head[1].lower()
        end = _closing(text, head.end() - 1, f"{where}, line {line}")
        body = text[head.end() : end]
        at = end + 1
        if kind in ("comment", "preamble"):
            continue
        if kind == "string":
            strings |= dict(_fields(body, strings, f"{where}, line {line}"))
            continue
        key, _, rest = body.partition(",")
        if not key.strip() or "=" in key:
            raise FormatError(f"{where}, line {line}: an entry begins with its key")
        fields = dict(_fields(rest, strings, f"{where}, line {line} ({key.strip()})"))
        yield BibEntry(kind, key.strip(), line, fields)


def _closing(text: str, start: int, where: str) -> int:
    """Where the brace or parenthesis that opens at `start` is closed."""
    closing = "}" if text[start] == "{" else ")"
    depth = 0
    for match in re.compile(r"\\.|[{}()]", re.DOTALL).finditer(text, start + 1):
        sign = match[0]
        if sign == closing and depth == 0:
            return match.start()
        depth += (sign == "{") - (sign == "}")
    raise FormatError(f"{where}: this entry is not closed")


def _fields(body: str, strings: dict[str, str], where: str) -> Iterator[tuple[str, str]]:
    """Names, in lower case, and values of the fields of an entry."""
    name_pattern = re.compile(r"[\s,]*([^\s=,{}\"#]+)\s*=\s*")
    at = 0
    while match := name_pattern.match(body, at):
        parts = []
        at = match.end()
        while True:
            value, at = _value(body, at, strings, f"{where}, field {match[1]}")
            parts.append(value)
            joint = re.compile(r"\s*#\s*").match(body, at)
            if joint is None:
                break
            at = joint.end()
        yield match[1].lower(), "".join(parts)
    if body[at:].strip(" \t\r\n,"):
        raise FormatError(f"{where}: {body[at:].strip()[:40]!r} is no field")


def _value(body: str, at: int, strings: dict[str, str], where: str) -> tuple[str, int]:
    """One value, and where it ends: in braces, in quotes, a number, or the name of a string."""
    if body[at : at + 1] == "{":
        end = _closing(body, at, where)
        return body[at + 1 : end], end + 1
    if body[at : at + 1] == '"':
        depth = 0
        for match in re.compile(r"\\.|[{}\"]", re.DOTALL).finditer(body, at + 1):
            if match[0] == '"' and depth == 0:
                return body[at + 1 : match.start()], match.end()
            depth += (match[0] == "{") - (match[0] == "}")
        raise FormatError(f"{where}: this value is not closed")
    word = re.compile(r"[^\s,#{}\"]+").match(body, at)
    if word is None:
        raise FormatError(f"{where}: there is no value")
    name = word[0].lower()
    if not word[0].isdigit() and name not in strings and name not in _MONTHS:
        raise FormatError(f"{where}: {word[0]!r} is no string that the file defines")
    return strings.get(name, word[0]), word.end()


_MONTHS = set("jan feb mar apr may jun jul aug sep oct nov dec".split())
