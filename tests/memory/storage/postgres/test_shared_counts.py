"""What is counted of passages for all who share them: when they came, changed, were recalled."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from hoptrail.memory.passages import usage
from hoptrail.memory.passages.usage import Counts
from hoptrail.memory.storage.postgres import shared_tables
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.storage.postgres.shared_counts import COUNTED
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow


class Clock:
    """Tells the time that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(url: str, clock: Clock):
    return closing(Store(url, encoder=HashEncoder(32), clock=clock))


def test_all_hosts_count_together(url, host) -> None:
    clock = Clock()
    with opened(url, clock) as one:
        one.add([Passage("a", "the old river"), Passage("b", "a stone bridge")])
        host("two")
        with opened(url, clock) as two:
            clock.now = 2000.0
            two.update("a", text="the old river and its mill")
            for store, times in ((one, 2), (two, 3)):
                for _ in range(times):
                    usage.note(store, [store.get("a")])
                assert store.recorder.flush()
            for store in (one, two):
                assert usage.history(store, "a").counts == Counts(1000.0, 1, 5, 2000.0)
                assert usage.history(store, "b").counts == Counts(1000.0)
        host("three")
        with opened(url, clock) as three:  # whose triggers saw neither
            assert usage.history(three, "a").counts == Counts(1000.0, 1, 5, 2000.0)
            three.delete(["a"])
            three.add([Passage("a", "another one")])
        assert usage.history(one, "a").counts == Counts(2000.0)


def test_a_recall_is_counted_when_the_memory_is_closed(url, host) -> None:
    clock = Clock()
    with opened(url, clock) as one:
        one.add([Passage("a", "the old river")])
        usage.note(one, [one.get("a")])
    host("two")
    with opened(url, clock) as two:
        assert usage.history(two, "a").counts.recalls == 1


def test_who_may_not_write_counts_nothing_and_recalls_all_the_same(cluster, host) -> None:
    schema = cluster.new_schema()
    clock = Clock()
    with opened(cluster.url(schema), clock) as owner:
        owner.add([Passage("a", "the old river", namespace=("ann",))])
        role = f"r{schema}"
        cluster.execute(f"CREATE ROLE {role} LOGIN")
        grant_namespace(cluster.url(schema), role, ("ann",), write=False)
        with opened(cluster.url(schema, role), clock) as reader:
            usage.note(reader, reader.passages(("ann",)))
            assert not reader.recorder.flush()
            assert [p.id for p in reader.passages(("ann",))] == ["a"]
        assert usage.history(owner, "a", ("ann",)).counts.recalls == 0


def test_of_what_was_there_before_nothing_is_known(cluster, host) -> None:
    schema = cluster.new_schema()
    url, clock = cluster.url(schema), Clock()
    with opened(url, clock) as one:
        one.add([Passage("a", "the old river")])
        replica = one.path
    # As a version without counts left it, here and on the server.
    with closing(sqlite3.connect(replica)) as file:
        file.execute("DELETE FROM meta WHERE key = ?", (COUNTED,))
        file.commit()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE hoptrail_counts")
        connection.execute("DELETE FROM hoptrail_meta WHERE key = %s", (COUNTED,))
        connection.execute("UPDATE hoptrail_head SET tables = 3")
    for name in ("one", "two"):
        host(name)
        with opened(url, clock) as store:
            assert usage.history(store, "a").counts == Counts()
    with psycopg.connect(url) as connection:
        form = connection.execute("SELECT tables FROM hoptrail_head").fetchone()
    assert form == (shared_tables.TABLES,)
