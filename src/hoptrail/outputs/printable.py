"""Stored text as a terminal, a log or a model may be shown it, and namespaces as people write them.

What is remembered comes from anywhere. Printed as it is, it could move the cursor, set the window's
title or the clipboard (control characters), turn a line's reading direction around or hide
(Unicode's formatting characters), or begin a line of its own. Here each of those becomes its
escape, as Python would write it; letters, marks and emoji of every script stay as they are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from hoptrail.errors import InputError

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control, formatting (bidirectional and invisible ones among them), halves of surrogate pairs,
and the separators of lines and paragraphs."""
_YEAR_10000 = 253402300800.0
"""In seconds since 1970; no calendar of Python's goes so far."""
_JOINERS = "\u200c\u200d"
"""Between two letters of Persian, Hindi, an emoji: there they change shapes, and nothing else."""
_SUSPECT = re.compile(r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u024f]")
"""What is looked at more closely; most text holds nothing of it."""


def utc_text(seconds: float) -> str:
    """A time as people read it, in UTC.

    Args:
        seconds: Since 1970.
    """
    if not 0 <= seconds < _YEAR_10000:
        return f"{seconds:g} seconds after 1970"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def validity_text(valid_from: float | None, valid_until: float | None) -> str:
    """When a passage is valid, as people and models read it; empty where it does not say.

    Args:
        valid_from: The passage's.
        valid_until: Likewise.
    """
    ends = (("valid from", valid_from), ("until", valid_until))
    parts = [f"{word} {utc_text(end)}" for word, end in ends if end is not None]
    text = " ".join(parts)
    return f"valid {text}" if text.startswith("until") else text


def printable(text: object) -> str:
    """A text on one line: tabs and line ends become blanks, what is unsafe its escape."""
    return _SUSPECT.sub(_escaped, " ".join(str(text).replace("\t", " ").splitlines()))


def printable_lines(text: object) -> list[str]:
    """A text's lines, as every reader of text would divide it, each safe to print."""
    lines = str(text).replace("\t", "    ").splitlines()
    return [_SUSPECT.sub(_escaped, line) for line in lines]


def quoted(text: str) -> str:
    """A text as a JSON string on one line, in which nothing is unsafe to print."""
    return printable_json(json.dumps(text, ensure_ascii=False))


def printable_json(spelled: str) -> str:
    """JSON that means the same and is safe to print; what is unsafe stands in strings only."""
    return re.sub(r"[^\n\x20-\x7e]", _json_escaped, spelled)


def namespace_text(namespace: Sequence[str]) -> str:
    """A namespace as `--namespace` takes it: `a/b`, or a JSON list where that would not be exact.

    It is not where a part holds a slash, where the first begins with a bracket, and where one
    holds what cannot be printed.
    """
    parts = list(namespace)
    plain = not any("/" in part or printable(part) != part for part in parts)
    if plain and not (parts and parts[0].startswith("[")):
        return "/".join(parts)
    return printable_json(json.dumps(parts, ensure_ascii=False))


def namespace_of(text: str) -> tuple[str, ...]:
    """The namespace that `a/b` spells, or a JSON list of its parts; an empty text is the root.

    Raises:
        InputError: It begins with a bracket and is no such list, or a part is empty.
    """
    parts: object = text.split("/") if text else []
    if text.startswith("["):
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError):
            parts = None
    if not isinstance(parts, list) or not all(isinstance(part, str) and part for part in parts):
        raise InputError(
            'a namespace is spelled a/b, or as a JSON list such as ["a/b", "c"] where a part '
            f"holds a slash or begins with a bracket, got {text[:100]!r}"
        )
    return tuple(parts)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if not _unsafe(character):
        return character
    if character in _JOINERS and _joins(match.string, match.start()):
        return character
    if character <= "\x7f":  # which `backslashreplace` leaves alone
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _json_escaped(match: re.Match[str]) -> str:
    character = match[0]
    if not _unsafe(character):
        return character
    if character in _JOINERS and _joins(match.string, match.start()):
        return character
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


@lru_cache(maxsize=4096)
def _unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE


def _joins(text: str, at: int) -> bool:
    """Whether a joiner stands between two characters of such a script."""
    around = (text[at - 1 : at], text[at + 1 : at + 2])
    return all(one > "\u02ff" and not one.isspace() and not _unsafe(one) for one in around)
