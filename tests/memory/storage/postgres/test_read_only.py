"""A memory on a server that is open read-only writes nothing there, and follows all the same."""

from __future__ import annotations

import pytest

from hoptrail import Memory
from hoptrail.errors import SchemaMismatch, StoreError, StoreUnavailable
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.storage.postgres.server import has_store
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow

QUESTION = "Where was the builder of the ship Fram born?"


def corpus() -> list[Passage]:
    """Twenty passages that link each other, so that a recall walks."""
    return [
        Passage(
            f"p{i}",
            f"The ship Fram number {i} had a builder, born in house {i % 7}.",
            links=(Link(f"p{(7 * i + 1) % 20}", "cites"),),
        )
        for i in range(20)
    ]


def answers(memory: Memory) -> list[object]:
    recall = memory.recall(QUESTION, k=6)
    return [
        [(hit.passage.id, hit.score, hit.probability) for hit in recall.hits],
        [[(hop.id, hop.link) for hop in trail.hops] for trail in recall.trails],
        [(hit.passage.id, hit.score) for hit in memory.search(QUESTION, k=9)],
    ]


def everything(url: str) -> list[object]:
    """All rows of all tables of a store on the server."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
        ).fetchall()
        return [
            connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1").fetchall()
            for (table,) in tables
        ]


@pytest.fixture
def hers(cluster) -> tuple[str, str, str]:
    """URLs of a store, as its owner and as a role whose every transaction may only read."""
    schema = cluster.new_schema()
    role = f"reader_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    cluster.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    return cluster.url(schema), cluster.url(schema, role), role


def test_it_answers_as_a_writer_does_and_the_server_stays_as_it_is(hers, host) -> None:
    url, readers, role = hers
    with Memory(url, encoder=HashEncoder(384)) as writer:
        writer.add(corpus())
        writer.keep_log(10)
        expected = answers(writer)
        writer.store.recorder.flush()
        grant_namespace(url, role, (), write=False)
    before = everything(url)
    for place, name in ((url, "two"), (readers, "three")):
        host(name)
        with Memory(place, encoder=HashEncoder(384), read_only=True) as memory:
            assert answers(memory) == expected  # over a graph that its replica had not
            assert memory.verify() == []
        assert everything(url) == before  # no log of what was asked, and no counts
    host("one")
    with Memory(url, encoder=HashEncoder(384)) as writer:
        host("three")
        with Memory(readers, encoder=HashEncoder(384), read_only=True) as memory:
            writer.add({"id": "new", "text": QUESTION})
            assert memory.recall(QUESTION, k=1).hits[0].passage.id == "new"
            writer.delete("new")
            assert answers(memory) == expected


def test_each_write_is_refused_before_the_server_is_asked(url, host) -> None:
    with Memory(url, encoder=HashEncoder(384)) as writer:
        writer.add([*corpus(), Passage("old", "x", expires_at=1e12)])
    before = everything(url)
    with Memory(url, encoder=HashEncoder(384), read_only=True) as memory:
        recall = memory.recall(QUESTION, k=2)
        calls = (
            lambda: memory.add("x"),
            lambda: memory.delete("p1"),
            lambda: memory.update("p1", text="x"),
            lambda: recall.feedback(1.0),
            lambda: memory.keep_log(5),
            lambda: memory.forget(None),
        )
        for call in calls:
            with pytest.raises(StoreError, match="open read-only"):
                call()
        assert "read-only" in repr(memory.store)
    with Store(url, read_only=True, clock=lambda: 2e12) as store:
        assert store.count() == 20  # what has expired is not deleted by a reader
        store.view()
    assert everything(url) == before


def test_no_tables_are_made_or_changed(url, host) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store at"):
        Store(url, read_only=True)
    assert everything(url) == []
    with Store(url):
        pass
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("UPDATE hoptrail_head SET tables = 3")
        server.execute("DROP TABLE hoptrail_counts")
        server.execute("DELETE FROM hoptrail_meta")
    before = everything(url)
    assert has_store(url)
    with pytest.raises(SchemaMismatch, match="open it once for writing"):
        Store(url, read_only=True)
    assert everything(url) == before
    with Store(url), Store(url, read_only=True) as store:
        assert store.count() == 0
