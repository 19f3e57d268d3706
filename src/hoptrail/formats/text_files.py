"""Files of text as they are read: regular ones only, no larger than stated, in Unicode."""

from __future__ import annotations

import codecs
import stat
from collections.abc import Iterator
from pathlib import Path

from hoptrail.errors import FormatError
from hoptrail.types import MAX_TEXT

MARKDOWN_SUFFIXES = (".md", ".markdown")
TEXT_SUFFIXES = (*MARKDOWN_SUFFIXES, ".txt")
"""Of files that are read as documents, in any case."""

MAX_PLAIN, MAX_MARKDOWN = 20 * MAX_TEXT, 5 * MAX_TEXT
"""Characters in a file of text, and of Markdown, at most: a parser takes 300 bytes for each."""

MAX_LINE = 64 * MAX_TEXT
"""Bytes in a line of JSON at most: the longest text and metadata with every character escaped, and
what an export adds."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def longest(name: str) -> int:
    """Characters at most in a document of this name."""
    return MAX_MARKDOWN if name.lower().endswith(MARKDOWN_SUFFIXES) else MAX_PLAIN


def irregular(mode: int) -> str:
    """What a file is, by its mode, if it is no regular one; else nothing."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "")


def readable(path: str | Path) -> Path:
    """The path, once it is known that a file can be read there.

    Raises:
        FormatError: It is not there, is no regular file, or may not be read.
    """
    path = Path(path)
    try:
        kind = irregular(path.stat().st_mode)  # before it is opened: a pipe would wait for ever
        if kind == "a folder":
            raise FormatError(f"{path} is a folder: give a file of JSON lines")
        if kind:
            raise FormatError(f"{path} is {kind}: give a regular file")
        with path.open("rb"):
            return path
    except FileNotFoundError as error:
        raise FormatError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # a null character, in a path
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{path} cannot be read: {reason}") from error


def read_text(path: Path) -> str:
    """The text of a file: in UTF-8, or in what its byte order mark says.

    Raises:
        FormatError: It cannot be read, is too large, or is not text; the message names the line.
    """
    most = longest(path.name)
    room = 4 * (most + 1)  # bytes, in any encoding
    try:
        with readable(path).open("rb") as file:
            raw = file.read(room + 1)  # of a file that grows while it is read, too
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror or error}") from error
    mark, encoding = next((one for one in _MARKS if raw.startswith(one[0])), (b"", "utf-8"))
    text = "" if len(raw) > room else _text(raw.removeprefix(mark), encoding, path)
    if len(raw) > room or len(text) > most:
        raise FormatError(
            f"{path} has more than {most:,} characters, the most that is read of such a file: "
            "divide it"
        )
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise FormatError(
            f"{path}, line {line}: holds a null character, as UTF-16 and files that are no text "
            "do; save the file as UTF-8"
        )
    return text


def _text(raw: bytes, encoding: str, path: Path) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        if encoding == "utf-8":
            start = raw.rfind(b"\n", 0, error.start) + 1
            end = raw.find(b"\n", error.start)
            decoded(raw[start : end if end >= 0 else len(raw)], f"{path}, line {line}")
        raise FormatError(
            f"{path}: not {encoding.upper()}, as it begins; save it as UTF-8"
        ) from error


def decoded(raw: bytes, where: str) -> str:
    """Bytes of UTF-8 as text; `where` opens the message of an error.

    Raises:
        FormatError: They are none.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{where}: not UTF-8 (byte 0x{raw[error.start]:02x} at column {error.start + 1}); "
            "save the file as UTF-8"
        ) from error


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Each line of a file in UTF-8 with its number, from 1; no more of it is held than a line.

    Raises:
        FormatError: A line is too long, or is not UTF-8; the message names it.
    """
    with readable(path).open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(raw) > MAX_LINE:
                raise FormatError(f"{where}: longer than {MAX_LINE:,} bytes, the most that is read")
            yield number, decoded(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, where)
