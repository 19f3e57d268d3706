"""Passages that follow each other get links, by a field that they have in common."""

from __future__ import annotations

import pytest

from hoptrail.errors import InputError
from hoptrail.formats.sequences import in_sequence
from hoptrail.types import Link, Passage


def turn(id: str, session: object = None, *, namespace=(), links=()) -> Passage:
    metadata = {} if session is None else {"session": session}
    return Passage(id, "...", metadata=metadata, namespace=namespace, links=links)


def steps(passages) -> dict[str, list[str]]:
    return {p.id: [link.target for link in p.links if link.kind == "next"] for p in passages}


def test_sessions_may_be_interleaved_and_namespaces_are_apart() -> None:
    found = in_sequence(
        [
            turn("a1", 1),
            turn("b1", 2),
            turn("a2", 1),
            turn("other", 1, namespace=("x",)),
            turn("none"),
            turn("b2", 2),
            turn("a3", 1),
        ],
        "session",
    )
    assert [p.id for p in found] == ["a1", "b1", "a2", "other", "none", "b2", "a3"]
    assert {id: targets for id, targets in steps(found).items() if targets} == {
        "a1": ["a2"],
        "a2": ["a3"],
        "b1": ["b2"],
    }


def test_values_of_a_field_are_told_apart_by_what_they_are() -> None:
    found = in_sequence([turn("a", 1), turn("b", "1"), turn("c", [1]), turn("d", [1])], "session")
    assert steps(found) == {"a": [], "b": [], "c": ["d"], "d": []}


def test_links_that_are_there_stay_and_are_not_repeated() -> None:
    links = (Link("b", "cites"), Link("b", "next", 2.0))
    found = in_sequence([turn("a", 1, links=links), turn("b", 1)], "session")
    assert found[0].links == links


def test_a_field_that_nobody_has_is_told() -> None:
    with pytest.raises(InputError, match="no passage has 'sesion' in its metadata"):
        in_sequence([turn("a", 1)], "sesion")
    assert in_sequence([], "session") == []
