"""Duplicates: found on writing and afterwards, and what is merged is kept."""

from __future__ import annotations

import pytest

from hoptrail.errors import DuplicateId, InputError
from hoptrail.graph.audit import audit
from hoptrail.graph.graph import Graph
from hoptrail.memory.hygiene import PROVENANCE, Duplicate, add_distinct, duplicates
from hoptrail.memory.store import Store
from hoptrail.types import Link, Passage

OLD = Passage("old", "The old stone bridge of Delft.", links=(Link("x"),))
SAME = Passage("same", "The old stone bridge of Delft.", metadata={"by": "Ann"})
NEAR = Passage("near", "Of Delft the old stone bridge!", "", links=(Link("y"), Link("x", "c")))
OTHER = Passage("other", "A canal in Nantes.")


def test_skip_writes_what_is_new_and_says_what_was_not(store: Store) -> None:
    store.add([OLD])
    done = add_distinct(store, [SAME, OTHER, NEAR])
    assert done.ids == ["other"]
    assert [(d.id, d.of, d.exact) for d in done.duplicates] == [
        ("same", "old", True),
        ("near", "old", False),
    ]
    assert done.duplicates[0].cosine == pytest.approx(1)
    assert [p.id for p in store.passages()] == ["old", "other"]


def test_report_writes_all(store: Store) -> None:
    done = add_distinct(store, [OLD, SAME, OTHER, NEAR], then="report")
    assert done.ids == ["old", "same", "other", "near"]
    assert [(d.id, d.of) for d in done.duplicates] == [("same", "old"), ("near", "old")]
    found = {(d.id, d.exact) for d in duplicates(store)}
    assert found == {("same", True), ("near", False)}
    assert all(d.of in ("old", "same") for d in duplicates(store))
    assert len(duplicates(store, near=1.1)) == 0


def test_merge_keeps_where_it_came_from(store: Store) -> None:
    store.add([OLD])
    before = store.encoder.texts_encoded
    done = add_distinct(store, [SAME, NEAR], then="merge")
    assert done.ids == []
    assert store.encoder.texts_encoded == before + 2
    found = store.get("old")
    assert found.text == OLD.text
    assert set(found.links) == {Link("x"), Link("y"), Link("x", "c")}
    assert [(m["id"], m["text"], m["metadata"]) for m in found.metadata[PROVENANCE]] == [
        ("same", SAME.text, {"by": "Ann"}),
        ("near", NEAR.text, {}),
    ]


def test_namespaces_are_not_compared(store: Store) -> None:
    store.add([OLD])
    inner = [
        Passage("same", SAME.text, namespace=("a",)),
        Passage("b", SAME.text, None, {}, ("b",)),
    ]
    assert add_distinct(store, inner).duplicates == ()
    again = Passage("again", SAME.text, namespace=("a",))
    assert add_distinct(store, [again]).duplicates == (
        Duplicate("again", "same", pytest.approx(1), True, ("a",)),
    )
    assert duplicates(store) == []


def test_a_bound_above_one_finds_only_the_same_text(store: Store) -> None:
    store.add([OLD])
    assert add_distinct(store, [NEAR, SAME], near=1.5).ids == ["near"]


def test_wrong_arguments_write_nothing(store: Store) -> None:
    store.add([OLD])
    for wrong, says in (({"then": "drop"}, "then must be one of"), ({"near": 0}, "above 0, got 0")):
        with pytest.raises(InputError, match=says):
            add_distinct(store, [OTHER], **wrong)
    with pytest.raises(DuplicateId):
        add_distinct(store, [OTHER, Passage("old", "Something else.")])
    assert len(store) == 1


def test_an_audit_names_what_nobody_may_miss(store: Store, twelve: list[Passage]) -> None:
    store.add(twelve)
    graph = Graph(store)
    sound = audit(graph)
    assert (sound.passages, sound.duplicates, sound.dangling) == (12, (), ())
    assert (sound.stale, sound.expiring) == ((), 0)
    store.add([OLD, SAME, Passage("lonely", "nothing of note is said here")], ttl=3600)
    found = audit(graph, stale_days=1e-9)
    assert [(d.id, d.of) for d in found.duplicates] == [("same", "old")]
    assert ((), "lonely") in found.orphans
    assert ((), "p-varn") not in found.orphans
    assert found.dangling == (((), "old", "x"),)
    assert len(found.stale) == 15
    assert found.expiring == 3
    with pytest.raises(InputError, match="stale_days must be above 0"):
        audit(graph, stale_days=0)
