"""Lines and JSON as commands print them, so that no stored text gives a terminal orders."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TextIO

from hoptrail.outputs.printable import (
    namespace_text,
    printable,
    printable_json,
    printable_lines,
)
from hoptrail.types import Namespace

if TYPE_CHECKING:
    from hoptrail.memory.maintenance.near_duplicates import Duplicate
    from hoptrail.memory.storage.next_vectors import ReencodingProgress
    from hoptrail.types import Passage


def say(*lines: object, stream: TextIO | None = None) -> None:
    """Print each as one line, whatever stored text, file names or messages it is made of.

    Every command prints by this, by `passage_lines`, by `print_json` or by `hoptrail.cli.output`.
    """
    (stream or sys.stdout).write("".join(f"{printable(line)}\n" for line in lines))


def print_json(value: object, stream: TextIO | None = None) -> None:
    """One JSON value on stdout; the same value, also where a terminal would obey it."""
    spelled = json.dumps(value, ensure_ascii=False, indent=2)
    (stream or sys.stdout).write(printable_json(spelled) + "\n")


def passage_lines(passage: Passage) -> str:
    """A passage as it is printed: its name, its text and its links, each indented otherwise.

    So no line of a text can pass for the head of another passage.
    """
    head = f"[{passage.id}] {passage.title or ''}".rstrip()
    text = "".join(f"    {line}\n" for line in printable_lines(passage.text))
    links = "".join(f"  {printable(f'{link.kind} -> {link.target}')}\n" for link in passage.links)
    return f"{printable(head)}\n{text}{links}"


def changing_line(change: ReencodingProgress) -> str:
    """A change of encoder that is under way, as it is printed."""
    return (
        f"changing to encoder {change.encoder}: {change.done} of {change.total} passages "
        "(hoptrail encoder reencode goes on, --drop gives it up)"
    )


def duplicate_line(duplicate: Duplicate) -> str:
    """A duplicate as it is printed."""
    how = "the same text" if duplicate.exact else f"cosine {duplicate.cosine:.3f}"
    name = passage_name(duplicate.namespace, duplicate.id)
    return f"duplicate: {name} says what {duplicate.of} says ({how})"


def passage_name(namespace: Namespace, id_: str) -> str:
    """A passage as it is named in a line."""
    return f"{namespace_text(namespace)}: {id_}" if namespace else id_


def counted(count: int, noun: str) -> str:
    """A number of things, as it is read: `1 passage`, `2 passages`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
