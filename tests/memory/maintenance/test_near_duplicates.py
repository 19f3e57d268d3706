"""Duplicates: found on writing and afterwards, and what is merged is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from hoptrail.errors import DuplicateId, InputError
from hoptrail.graph.audit import audit
from hoptrail.graph.graph import Graph
from hoptrail.memory.encoders.transformer import Vectors
from hoptrail.memory.maintenance import export
from hoptrail.memory.maintenance.merging import merge_duplicates
from hoptrail.memory.maintenance.near_duplicates import Duplicate, add_distinct, duplicates
from hoptrail.memory.passages import usage
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

OLD = Passage("old", "The old stone bridge of Delft.", links=(Link("x"),))
SAME = Passage("same", "The old stone bridge of Delft.", metadata={"by": "Ann"})
NEAR = Passage("near", "the old stone bridge of Delft!", "", links=(Link("y"), Link("x", "c")))
OTHER = Passage("other", "A canal in Nantes.")


class Alike(HashEncoder):
    """Gives every text the same vector."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        return np.repeat(super().encode(["one"]), len(texts), axis=0)


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
    assert len(duplicates(store, similarity_threshold=1.1)) == 0


def test_merge_keeps_where_it_came_from(store: Store) -> None:
    store.add([OLD])
    before = store.encoder.texts_encoded
    done = add_distinct(store, [SAME, NEAR], then="merge")
    assert done.ids == []
    assert store.encoder.texts_encoded == before + 2
    found = store.get("old")
    assert found.text == OLD.text
    assert set(found.links) == {Link("x"), Link("y"), Link("x", "c")}
    assert found.metadata == {}
    assert [(m.id, m.text, m.metadata) for m in usage.history(store, "old").merged] == [
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
    assert add_distinct(store, [NEAR, SAME], similarity_threshold=1.5).ids == ["near"]


def test_wrong_arguments_write_nothing(store: Store) -> None:
    store.add([OLD])
    bad = (
        ({"then": "drop"}, "then must be one of"),
        ({"similarity_threshold": 0}, "above 0, got 0"),
    )
    for wrong, says in bad:
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


def test_near_vectors_of_other_statements_are_no_duplicates(store: Store) -> None:
    store.encoder = Alike()  # every vector is the same: a script that it does not know
    one = [Passage("1", "Error 1041 in unit A."), Passage("2", "Error 1042 in unit A.")]
    other = [Passage("3", "кот"), Passage("4", "пёс"), Passage("5", "Пёс.")]
    assert add_distinct(store, [*one, *other]).ids == ["1", "2", "3", "4"]
    assert [p.id for p in store.passages()] == ["1", "2", "3", "4"]
    assert duplicates(store) == []
    assert merge_duplicates(store, dry_run=False).merges == ()


def test_a_duplicate_is_found_behind_hundreds_that_are_as_near(store: Store) -> None:
    store.encoder = Alike()
    store.add([Passage(f"o{i}", f"Order {i} was sent.") for i in range(300)])
    done = add_distinct(store, [Passage("n", "order 250 was sent"), Passage("m", "order 999")])
    assert done.ids == ["m"]
    assert [(d.of, d.exact) for d in done.duplicates] == [("o250", False)]


def test_ten_thousand_equal_texts_are_merged_in_seconds(store: Store) -> None:
    store.add([Passage(f"p{i}", "The same each time.") for i in range(10_000)])
    started = time.perf_counter()
    assert len(duplicates(store)) == 9_999
    again = [Passage(f"q{i}", "The same each time.") for i in range(1_000)]
    assert add_distinct(store, again, then="merge").ids == []
    assert merge_duplicates(store, dry_run=False).passages == 9_999
    assert time.perf_counter() - started < 30
    assert [p.id for p in store.passages()] == ["p0"]
    assert len(usage.history(store, "p0").merged_from) == 10_999


@pytest.mark.parametrize("value", ["text", 5, None, {"id": "x"}, [{"id": "forged"}], [1]])
def test_metadata_of_a_user_is_no_instruction(store: Store, value: object) -> None:
    store.add([Passage("a", "A dam.", metadata={"merged_from": value, "hoptrail": value})])
    store.add([Passage("b", "A dam.", metadata={"merged_from": value})])
    add_distinct(store, [Passage("c", "A dam.")], then="merge")
    merge_duplicates(store, dry_run=False)
    assert store.get("a").metadata == {"merged_from": value, "hoptrail": value}
    assert usage.history(store, "a").merged_from == ("c", "b")


def test_what_was_merged_goes_on_to_the_next_and_into_an_export(store: Store, tmp_path) -> None:
    store.add([Passage("a", "A dam."), Passage("b", "A weir.")])
    add_distinct(store, [Passage("c", "A weir.", metadata={"page": 3})], then="merge")
    store.update("b", text="A dam.")
    merge_duplicates(store, dry_run=False)
    assert usage.history(store, "a").merged_from == ("c", "b")
    export.export(store, tmp_path / "x.jsonl")
    with Store(tmp_path / "other.db", encoder=HashEncoder()) as other:
        export.import_file(other, tmp_path / "x.jsonl")
        assert usage.history(other, "a").merged == usage.history(store, "a").merged
    store.delete(["a"])
    with store.reading() as connection:
        assert connection.execute("SELECT count(*) FROM merges").fetchone() == (0,)


def test_what_another_process_does_between_the_look_and_the_write_is_seen(
    store: Store, tmp_path, monkeypatch
) -> None:
    store.add([OLD])
    with Store(store.path, encoder=HashEncoder()) as other:
        steps = iter(
            [
                lambda: other.update("old", text="Something else by now."),
                lambda: other.add([Passage("theirs", NEAR.text)]),
            ]
        )
        look = store.transaction

        def late() -> object:
            next(steps, lambda: None)()
            return look()

        monkeypatch.setattr(store, "transaction", late)
        done = add_distinct(store, [SAME])
        assert [d.of for d in done.duplicates] == ["theirs"]
        other.add([Passage("twin", NEAR.text)])
        steps = iter([lambda: other.update("twin", text="No twin any more.")])
        assert merge_duplicates(store, dry_run=False).merges == ()
        assert store.get("twin").text == "No twin any more."
