"""Upsert, expiry, forgetting, links, and several of them in one transaction."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hoptrail.errors import EncoderMissing, InputError, UnknownId
from hoptrail.graph.graph import Graph
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store(tmp_path / "a.db", encoder=HashEncoder(), clock=clock) as opened:
        yield opened


def passage(id_: str, text: str = "The Loire flows west.", **fields) -> Passage:
    return Passage(id=id_, text=text, **fields)


def test_a_scope_holds_any_until_its_last_has_gone_or_expired(store: Store, clock: Clock) -> None:
    assert not store.holds_any()
    store.add([passage("a", namespace=("x",))], ttl=10)
    store.add([passage("b", namespace=("xy",))])
    assert [store.holds_any(scope) for scope in ((), ("x",), ("xy",), ("z",))] == [
        True,
        True,
        True,
        False,
    ]
    clock.now += 10
    assert not store.holds_any(("x",))
    store.delete(["b"], namespace=("xy",))
    assert not store.holds_any()


# Upsert


def test_upsert_writes_what_differs_and_encodes_what_is_new(store: Store, clock: Clock) -> None:
    store.add([passage("a"), passage("b", metadata={"n": 1}), passage("c")])
    before, version = store.encoder.texts_encoded, store.version
    clock.now += 1
    found = store.upsert(
        [passage("a"), passage("b", metadata={"n": 2}), passage("c", "New."), passage("d", "New.")]
    )
    assert (found.added, found.updated, found.unchanged) == (("d",), ("b", "c"), ("a",))
    assert store.encoder.texts_encoded == before + 1  # one text, though of two passages
    assert store.version == version + 3
    assert store.get("a").written_at == 1000
    assert store.get("b").written_at == 1001
    assert store.search("New.", 2, mode="dense")[1].score == pytest.approx(1)


def test_upsert_tells_true_from_one_and_needs_no_encoder_for_known_contents(
    store: Store, clock: Clock
) -> None:
    store.add([passage("a", metadata={"n": 1})])
    with Store(store.path, clock=clock) as bare:
        assert bare.upsert([passage("a", metadata={"n": True})]).updated == ("a",)
        assert bare.upsert([passage("a", metadata={"n": True})]).unchanged == ("a",)
        with pytest.raises(EncoderMissing):
            bare.upsert([passage("b", "Another.")])
        assert bare.get("a").metadata == {"n": True}


def test_upsert_starts_again_from_what_another_wrote_meanwhile(store: Store) -> None:
    store.add([passage("a", "one")])

    class Meanwhile(HashEncoder):
        def encode(self, texts):
            if not self.texts_encoded:
                other.update("b", text="two of another")
            return super().encode(texts)

    with (
        Store(store.path, encoder=HashEncoder()) as other,
        Store(store.path, encoder=Meanwhile()) as slow,
    ):
        other.add([passage("b", "kept")])
        # The content of b is known when it starts, and no longer when it writes.
        assert slow.upsert([passage("a", "new"), passage("b", "kept")]).updated == ("a", "b")
        assert other.search("kept", 1, mode="dense")[0].score == pytest.approx(1)


# Expiry


def test_what_has_expired_is_nowhere_and_its_id_is_free(store: Store, clock: Clock) -> None:
    store.add([passage("a", expires_at=1010.0), passage("b")], ttl=20)
    assert store.get("b").expires_at == 1020
    graph = Graph(store)
    clock.now = 1010
    with store.reading() as connection:  # not yet swept
        assert connection.execute("SELECT count(*) FROM passages").fetchone()[0] == 2
    assert not store.has("a")
    assert store.count() == len(list(store.passages())) == 1
    with pytest.raises(UnknownId):
        store.get("a")
    with pytest.raises(UnknownId):
        store.update("a", text="x")
    with pytest.raises(UnknownId):
        store.delete(["a"])
    assert [hit.passage.id for hit in store.search("Loire", 5)] == ["b"]
    assert repr(graph.view(store.view())).startswith("<GraphView 1 passages")
    with store.reading() as connection:  # the search has swept it
        assert connection.execute("SELECT count(*) FROM passages").fetchone()[0] == 1
    store.add([passage("a", namespace=("x",)), passage("a")])
    clock.now = 1020
    assert store.namespaces() == [(), ("x",)]
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert sorted(p.id for p in store.passages()) == ["a", "a"]


def test_expiry_can_be_changed_and_the_past_is_refused(store: Store, clock: Clock) -> None:
    store.add([passage("a", expires_at=1010.0)])
    assert store.update("a", text="Kept.").expires_at == 1010
    assert store.update("a", expires_at=None).expires_at is None
    for wrong in (
        lambda: store.add([passage("b", expires_at=60.0)]),
        lambda: store.update("a", expires_at=999.0),
    ):
        with pytest.raises(InputError, match="ttl seconds from now"):
            wrong()
    for ttl in (0, "1h"):
        with pytest.raises(
            InputError, match=f"ttl in seconds must be above 0 and finite, got {ttl!r}"
        ):
            store.add([passage("b")], ttl=ttl)
    with pytest.raises(InputError, match="expires_at must be seconds since 1970 or a time"):
        store.add([passage("b", expires_at="tomorrow")])


def test_a_reader_that_may_not_write_leaves_the_expired_out_too(store: Store, clock: Clock) -> None:
    store.add([passage("a", title="Loire"), passage("b", "Of the Loire.", expires_at=1010.0)])
    Graph(store).sync()
    with Store(store.path, encoder=HashEncoder(), read_only=True, clock=clock) as reader:
        graph = Graph(reader)
        seen = graph.view(reader.view())
        assert len(seen.in_mentions(reader.view().slot_of("a"))) == 1
        clock.now = 1010
        assert [hit.passage.id for hit in reader.search("Loire", 5)] == ["a"]
        assert reader.view().size == reader.count() == 1
        seen = graph.view(reader.view())
        assert seen.in_mentions(reader.view().slot_of("a")) == []


def test_a_reader_waits_for_no_writer_when_something_expires(store: Store, clock: Clock) -> None:
    store.add([passage("a", "A river."), passage("b", "Gone soon.", expires_at=1010.0)])
    graph = Graph(store)
    graph.sync()
    with Store(store.path, clock=clock) as other, other.transaction():
        clock.now = 1010
        started = time.monotonic()
        assert [hit.passage.id for hit in store.search("Gone river", 5)] == ["a"]
        assert repr(graph.view(store.view())).startswith("<GraphView 1 passages")
        assert time.monotonic() - started < 10
        assert not store.has("b")
    assert store.sweep() == 1


# Forgetting


def test_forget_deletes_what_fulfils_a_filter_in_the_scope(store: Store) -> None:
    store.add(
        [
            passage("a", metadata={"lang": "en"}),
            passage("b", metadata={"lang": "de"}),
            passage("a", metadata={"lang": "en"}, namespace=("x",)),
            passage("c", namespace=("y",)),
        ]
    )
    assert store.forget({"lang": "en"}, namespace=("x",)) == 1
    assert store.forget({"lang": {"$ne": "en"}}) == 2
    assert [p.id for p in store.passages()] == ["a"]
    with pytest.raises(InputError, match="would forget all"):
        store.forget({})
    assert store.forget(None) == 1
    assert store.forget(None) == 0


# Links


def test_links_come_and_go_and_the_text_is_no_newer(store: Store, clock: Clock) -> None:
    store.add([passage("a", links=(Link("b", "cites"),)), passage("b")])
    clock.now += 5
    before = store.version
    found = store.link("a", [Link("b", "cites", 2.0), Link("later")])
    assert found.links == (Link("b", "cites", 2.0), Link("later"))
    assert store.get("a") == found
    assert found.written_at == 1000
    assert store.version == before + 1
    assert store.link("a", Link("later")).links == found.links
    assert store.version == before + 1  # nothing was new
    assert store.unlink("a", "b", "next") == found
    assert store.unlink("a", "b").links == (Link("later"),)
    with pytest.raises(UnknownId):
        store.link("none", Link("a"))
    with pytest.raises(InputError, match="above 0"):
        store.link("a", Link("b", weight=-1))
    with pytest.raises(InputError, match="tuple of Link"):
        store.link("a", ["b"])


# Several in one transaction


def test_several_calls_are_one_transaction(store: Store) -> None:
    store.add([passage("a")])
    with pytest.raises(UnknownId), store.transaction():
        store.upsert([passage("a", "changed"), passage("b")])
        store.link("b", Link("a"))
        store.forget({"$id": "a"})
        store.delete(["none"])
    assert [p.text for p in store.passages()] == ["The Loire flows west."]
    assert store.search("changed", 5, mode="sparse") == []
