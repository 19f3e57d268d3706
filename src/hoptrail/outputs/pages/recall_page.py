"""A recall as a page: the walk hop by hop, the trails beside it, and what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hoptrail.outputs.pages.frame import (
    heading,
    html_fragment,
    html_page,
    probability,
    section,
    table,
)
from hoptrail.outputs.pages.markup import Markup, element, escaped, together
from hoptrail.outputs.pages.reasons import reason_lines
from hoptrail.outputs.pages.shapes import HitShape, HopShape, PassageShape, RecallShape, TrailShape
from hoptrail.outputs.printable import namespace_text

STOPS = {
    "policy": "the policy has read enough",
    "budget": "no hops left",
    "exhausted": "nothing left to read",
}
"""Why a trail ended, for a person."""
Key = tuple[tuple[str, ...], str]


def recall_page(recall: RecallShape) -> str:
    """The page of a recall, which needs no other file and no network.

    Args:
        recall: What is shown.
    """
    return html_page(f"hoptrail: {recall.question[:200]}", *_parts(recall))


def recall_fragment(recall: RecallShape) -> str:
    """The same to stand in a notebook.

    Args:
        recall: What is shown.
    """
    return html_fragment(*_parts(recall))


def link_phrase(link: str | None, *, first: bool) -> str:
    """How a hop came to its passage, for a person.

    Args:
        link: The kind of edge that led there; None for an index hit.
        first: Whether nothing was read before.
    """
    if link is None:
        return "found by the question" if first else "found by the next query"
    phrases = {"mentions": "named in what was read", "mentioned_by": "names what was read"}
    against = " (against its direction)" if link.startswith("~") else ""
    return phrases.get(link, f"over a link: {link.removeprefix('~')}{against}")


def source_phrase(hit: HitShape, trails: Sequence[TrailShape]) -> str:
    """How a hit came about, for a person: over which edge, and how likely it was to be read.

    Args:
        hit: What came back.
        trails: Of the recall, most probable first.
    """
    key = _key(hit.passage)
    steps = [
        (trail.probability, place, hop)
        for trail in trails
        for place, hop in enumerate(trail.hops)
        if (tuple(hop.namespace), hop.id) == key
    ]
    if not steps:
        return "on none of these trails: ranked by how it fits the question and what was read"
    _, place, hop = steps[0]
    total = min(1.0, sum(share for share, _, _ in steps))
    return f"{link_phrase(hop.link, first=place == 0)}; on trails of {total:.0%} together"


def passage_block(passage: PassageShape) -> Markup:
    """A passage with all that is known of it.

    Args:
        passage: What is shown.
    """
    place = f"{passage.id} in {namespace_text(passage.namespace)}" if passage.namespace else ""
    about = (
        element("p", "metadata ", element("code", _metadata(passage)), class_="dim")
        if passage.metadata
        else None
    )
    return together(
        element("p", passage.title or passage.id, class_="name", dir="auto"),
        element("p", place or passage.id, class_="dim", dir="auto"),
        element("div", passage.text, class_="text clip", dir="auto", tabindex=0),
        about,
    )


def _metadata(passage: PassageShape) -> str:
    return json.dumps(dict(passage.metadata), ensure_ascii=False, default=str)


def _parts(recall: RecallShape) -> list[Markup]:
    passages = {_key(hit.passage): hit.passage for hit in recall.hits}
    cost = recall.cost
    line = (
        f"{cost.milliseconds:.0f} ms, {cost.passages_read} passages read out of "
        f"{cost.candidates} candidates, {cost.texts_encoded} texts encoded"
    )
    parts = [heading(recall.question, line)]
    if recall.trails:
        parts.append(section("The walk, hop by hop", _walk(recall, recall.trails[0], passages)))
    if len(recall.trails) > 1:
        others = (_other_trail(recall, trail, passages) for trail in recall.trails[1:])
        parts.append(section("Other trails, by probability", *others))
    parts.append(section("What came back", _hits(recall)))
    return parts


def _walk(recall: RecallShape, trail: TrailShape, passages: Mapping[Key, PassageShape]) -> Markup:
    hops = (
        element("li", _hop(place, hop, recall.question, passages))
        for place, hop in enumerate(trail.hops)
    )
    return element("ol", *hops, element("li", _stop(trail)), class_="walk")


def _hop(place: int, hop: HopShape, question: str, passages: Mapping[Key, PassageShape]) -> Markup:
    """What was asked, over which edge it led where, how sure the policy was, and what it read."""
    passage = passages.get((tuple(hop.namespace), hop.id))
    gain = hop.query.removeprefix(question)
    asked_as = (
        together(question, element("span", gain, class_="gain"))
        if hop.query.startswith(question)
        else element("span", hop.query, class_="gain")
    )
    if passage is None:
        content = together(
            element("p", hop.id, class_="name", dir="auto"),
            element("p", "read on the way, and not among what came back", class_="dim"),
        )
    else:
        content = passage_block(passage)
    return element(
        "div",
        element("p", f"hop {place + 1}, query: ", element("bdi", asked_as), class_="dim"),
        element("p", link_phrase(hop.link, first=place == 0), class_="link", dir="auto"),
        content,
        element(
            "p",
            probability(hop.probability, "to read this"),
            " \u00b7 ",
            probability(hop.stop_probability, "to stop before it"),
            class_="dim",
        ),
        class_="card",
    )


def _stop(trail: TrailShape) -> Markup:
    reason = STOPS.get(trail.stop_reason, trail.stop_reason)
    return element(
        "div",
        element("p", "STOP", class_="name"),
        element("p", reason),
        element(
            "p",
            probability(trail.stop_probability, "to have enough"),
            " \u00b7 ",
            probability(trail.probability, "for the whole trail"),
            class_="dim",
        ),
        class_="card stop",
    )


def _other_trail(
    recall: RecallShape, trail: TrailShape, passages: Mapping[Key, PassageShape]
) -> Markup:
    names = [_name(hop, passages) for hop in trail.hops]
    summary = element(
        "summary",
        probability(trail.probability, ""),
        element("bdi", " \u2192 ".join([*names, "STOP"])),
    )
    return element("details", summary, _walk(recall, trail, passages))


def _hits(recall: RecallShape) -> Markup:
    if not recall.hits:
        return element("p", "nothing")
    rows: list[list[str]] = []
    for rank, hit in enumerate(recall.hits, start=1):
        asked_for = (
            element("p", f"answers best: {hit.sub_question}", class_="link", dir="auto")
            if hit.sub_question
            else None
        )
        source = element("p", source_phrase(hit, recall.trails), class_="dim", dir="auto")
        reasons = (element("p", line, class_="dim", dir="auto") for line in reason_lines(hit))
        cell = together(passage_block(hit.passage), source, asked_for, *reasons)
        rows.append([escaped(rank), cell, escaped(f"{hit.score:.2f}")])
    return table(["", "passage", "score"], rows, names=2)


def _name(hop: HopShape, passages: Mapping[Key, PassageShape]) -> str:
    passage = passages.get((tuple(hop.namespace), hop.id))
    return (passage.title if passage else None) or hop.id


def _key(passage: PassageShape) -> Key:
    return tuple(passage.namespace), passage.id
