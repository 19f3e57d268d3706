"""Where results, progress and warnings go, so that no stored text gives a terminal orders."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hoptrail.outputs.printable import printable

WIDEST = 110
"""Columns beyond which lines are tiring to read."""


def output() -> Console:
    """Where results go."""
    console = SafeConsole(highlight=False)
    console.width = min(console.width, WIDEST)
    return console


class SafeConsole(Console):
    """A console to which no text gives orders: only rich's own sequences reach the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As of any console, with what is unsafe in a text as its escape."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text == "\n":
                yield segment
            else:
                parts = (printable(part) for part in text.split("\n"))
                yield Segment("\n".join(parts), style)
