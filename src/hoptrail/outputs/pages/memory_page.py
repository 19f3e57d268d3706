"""A memory as a page: its best joined passages as a graph, and what each of them says."""

from __future__ import annotations

from collections.abc import Sequence

from hoptrail.outputs.pages.frame import heading, html_page, section
from hoptrail.outputs.pages.markup import Markup, element, together
from hoptrail.outputs.pages.recall_page import passage_block
from hoptrail.outputs.pages.shapes import PassageShape
from hoptrail.outputs.printable import namespace_text

WIDTH, HEIGHT, EDGE = 900, 560, 40
"""Of the drawing, and the space around it, in its own units."""
NAME = 130
"""What a name takes at the right of its dot."""
LABEL = 22
"""Characters of a passage's name in the drawing."""
Place = tuple[float, float]


def memory_page(
    name: str,
    namespace: Sequence[str],
    total: int,
    passages: Sequence[PassageShape],
    places: Sequence[Place],
    edges: Sequence[tuple[int, int, str]],
) -> str:
    """The page of a part of a memory, which needs no other file and no network.

    Args:
        name: Of the memory.
        namespace: The scope that is shown.
        total: Passages that it has.
        passages: Those that are shown.
        places: Of each in the drawing, in [0, 1] both ways.
        edges: Position of the source, position of the target, and kind.
    """
    where = f"the namespace {namespace_text(namespace)}" if namespace else "all namespaces"
    lines = [
        f"{total} passages in {where}; {len(passages)} of them here, the best joined first"
        if len(passages) < total
        else f"{total} passages in {where}"
    ]
    cards = (
        element("li", element("div", passage_block(one), class_="card"), id=f"p{at}")
        for at, one in enumerate(passages)
    )
    parts = [heading(name, *lines)]
    if passages:
        parts.append(section("How they are joined", graph_drawing(passages, places, edges)))
        parts.append(section("What they say", _joins(passages, edges), element("ol", *cards)))
    return html_page(f"hoptrail: {name}", *parts)


def graph_drawing(
    passages: Sequence[PassageShape],
    places: Sequence[Place],
    edges: Sequence[tuple[int, int, str]],
) -> Markup:
    """Passages as dots that lead to what they say, and the edges among them as lines.

    Args:
        passages: By position.
        places: Of each, in [0, 1] both ways.
        edges: Position of the source, position of the target, and kind.
    """
    spots = [
        (EDGE + x * (WIDTH - 2 * EDGE - NAME), EDGE + y * (HEIGHT - 2 * EDGE)) for x, y in places
    ]
    lines = (
        element(
            "line",
            element("title", f"{_label(passages[s])} \u2192 {_label(passages[t])}: {kind}"),
            x1=spots[s][0],
            y1=spots[s][1],
            x2=spots[t][0],
            y2=spots[t][1],
            class_="edge",
        )
        for s, t, kind in edges
    )
    dots = (
        element(
            "a",
            element("title", one.title or one.id),
            element("circle", cx=x, cy=y, r=6, class_="node"),
            element("text", _label(one), x=x + 9, y=y + 4),
            href=f"#p{at}",
        )
        for at, (one, (x, y)) in enumerate(zip(passages, spots, strict=True))
    )
    return element(
        "svg",
        *lines,
        *dots,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="group",
        aria_label=f"{len(passages)} passages, {len(edges)} edges",
    )


def _joins(passages: Sequence[PassageShape], edges: Sequence[tuple[int, int, str]]) -> Markup:
    """The edges as words, for whoever does not see the drawing."""
    items = (
        element(
            "li",
            element("bdi", _label(passages[s])),
            together(" \u2192 ", element("bdi", _label(passages[t])), ": "),
            element("bdi", kind, class_="link"),
        )
        for s, t, kind in edges
    )
    return element(
        "details", element("summary", f"{len(edges)} edges as a list"), element("ul", *items)
    )


def _label(passage: PassageShape) -> str:
    name = passage.title or passage.id
    return name if len(name) <= LABEL else f"{name[:LABEL]}\u2026"
