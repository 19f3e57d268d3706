"""HTML built as elements, in which every text is data.

A `Markup` is HTML; any other string is text, escaped where it is put in. What hides or turns
(control and bidirectional characters) is shown as its escape, as a terminal shows it.
"""

from __future__ import annotations

import html
import re

from hoptrail.outputs.printable import printable_lines

VOID = frozenset({"col", "hr", "input", "meta"})
"""Elements without an end tag."""
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")


class Markup(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Itself, for template engines that ask a value for its HTML."""
        return str(self)


Child = str | Markup | None
"""What an element holds: text, an element, or nothing."""
Attribute = str | float | bool | None
"""Of an element: True is the bare name, False and None leave it out."""


def escaped(text: object) -> Markup:
    """A text as HTML that shows it and does nothing else; its line ends stay.

    Args:
        text: Whatever somebody stored.
    """
    return Markup(html.escape("\n".join(printable_lines(text))))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element of HTML or SVG.

    Args:
        name: Of the element.
        children: What it holds, in this order.
        attributes: By name, with `_` for `-`; one that ends in `_` is meant without it (`class_`).

    Raises:
        ValueError: A name is none: names come from the program, never from a text.
    """
    words = [name]
    for key, value in attributes.items():
        word = key.removesuffix("_").replace("_", "-")
        if not _NAME.fullmatch(word):
            raise ValueError(f"no name of an attribute: {key!r}")
        if value is True:
            words.append(word)
        elif value is not None and value is not False:
            words.append(f'{word}="{escaped(_spelled(value))}"')
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of an element: {name!r}")
    start = f"<{' '.join(words)}>"
    return Markup(start if name in VOID else f"{start}{together(*children)}</{name}>")


def together(*children: Child) -> Markup:
    """Texts and elements one behind the other.

    Args:
        children: What there is; None is nothing.
    """
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escaped(child)
            for child in children
            if child is not None
        )
    )


def _spelled(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
