"""Curves as SVG, in the page's own colours: each series has a class, which the style colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hoptrail.outputs.pages.markup import Markup, element

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 620, 320, 48, 40, 12
"""Of a drawing, and the space for its axes, in its own units."""
KEY = 150
"""What the names of the series take at the right."""
COLOURS = ("#0b62c4", "#b3261e", "#197a3d", "#8a5a00", "#6a3fb5", "#00767a", "#9c2f7d")
DARK_COLOURS = ("#7db7ff", "#ff8a80", "#6fd08c", "#f0c36d", "#c3a6ff", "#5fd3d6", "#f29ad5")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axes:
    """What a drawing shows.

    Attributes:
        across: What goes from left to right.
        up: What goes from the bottom, 0, to the top, 1.
        ticks: Values across that are named.
        logarithmic: Whether equal steps across are equal factors.
    """

    across: str
    up: str
    ticks: Sequence[float]
    logarithmic: bool = False


def chart_style() -> str:
    """The colours of series, in light and in dark."""
    light = "".join(_colour(at, colour) for at, colour in enumerate(COLOURS))
    dark = "".join(_colour(at, colour) for at, colour in enumerate(DARK_COLOURS))
    return f"{light}@media (prefers-color-scheme: dark) {{ {dark}}}\n"


def line_chart(series: Mapping[str, Points], axes: Axes, *, diagonal: bool = False) -> Markup:
    """Curves over one pair of axes, each named at its side.

    Args:
        series: By name, points of a value across and a share in [0, 1].
        axes: What they are.
        diagonal: Draw the line on which both are the same.
    """
    lines = [element("g", *_grid(axes))]
    if diagonal:
        start, end = _place(axes, 0, 0), _place(axes, 1, 1)
        lines.append(element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_="edge"))
    for at, (name, points) in enumerate(series.items()):
        spots = [_place(axes, x, y) for x, y in points]
        colour = f"s{at % len(COLOURS)}"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        lines.append(element("polyline", points=path, class_=f"series {colour}"))
        if len(points) <= 20:
            lines += [
                element("circle", cx=x, cy=y, r=3.0, class_=f"dot {colour}") for x, y in spots
            ]
        y = TOP + 16.0 * at + 8
        lines.append(
            element("rect", x=WIDTH - KEY + 8, y=y, width=10, height=10, class_=f"dot {colour}")
        )
        lines.append(element("text", name, x=WIDTH - KEY + 24, y=y + 9))
    label = f"{axes.up} over {axes.across}: {', '.join(series)}"
    return element("svg", *lines, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def _grid(axes: Axes) -> list[Markup]:
    """The lines and numbers of the axes."""
    right, lines = WIDTH - KEY, []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _place(axes, axes.ticks[0], share)[1]
        lines.append(element("line", x1=LEFT, y1=y, x2=right, y2=y, class_="grid"))
        lines.append(element("text", f"{share:.0%}", x=LEFT - 6, y=y + 4, text_anchor="end"))
    for tick in axes.ticks:
        x = _place(axes, tick, 0)[0]
        lines.append(
            element("text", f"{tick:g}", x=x, y=HEIGHT - BOTTOM + 16, text_anchor="middle")
        )
    middle = (LEFT + right) / 2
    lines.append(element("text", axes.across, x=middle, y=HEIGHT - 6, text_anchor="middle"))
    return lines


def _place(axes: Axes, x: float, y: float) -> tuple[float, float]:
    scale = math.log if axes.logarithmic else float
    low, high = scale(axes.ticks[0]), scale(axes.ticks[-1])
    share = (scale(x) - low) / (high - low) if high > low else 0.5
    return (
        LEFT + share * (WIDTH - KEY - LEFT),
        TOP + (1 - min(max(y, 0.0), 1.0)) * (HEIGHT - BOTTOM - TOP),
    )


def _colour(at: int, colour: str) -> str:
    return (
        f".hoptrail svg .series.s{at} {{ stroke: {colour}; stroke-width: 2; fill: none; }}\n"
        f".hoptrail svg .dot.s{at} {{ fill: {colour}; }}\n"
        f".hoptrail svg .grid {{ stroke: var(--line); }}\n"
    )
