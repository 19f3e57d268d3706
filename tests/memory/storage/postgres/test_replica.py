"""What many share on a server: each sees what others write, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import (
    ConfigError,
    EncoderMismatch,
    InputError,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from hoptrail.memory.maintenance import checks, merging
from hoptrail.memory.maintenance.near_duplicates import add_distinct
from hoptrail.memory.passages import provenance
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow

FULL = Passage(
    "ä/1",
    'Line\nand "line" \x01',
    "Ü",
    {"deep": {"k": [1.5, True, None, 10**20]}, "n": 0, "nul": "\x00", "z": 1, "a": 2},
    ("t", "ann"),
    (Link("z", "c", 0.1), Link("a")),
    document="d.md",
    valid_from=0.1,
    valid_until=4e9,
)


def opened(url: str, dim: int = 32, **options):
    return closing(Store(url, encoder=HashEncoder(dim), **options))


def test_every_field_and_vector_reaches_another_host_bit_by_bit(url, host) -> None:
    long = Passage("long", " ".join(f"word{i}" for i in range(400)))
    with opened(url) as one:
        one.add([FULL, long])
        host("two")
        with opened(url) as two:
            assert list(two.passages()) == list(one.passages())
            assert two.get("ä/1", ("t", "ann")).metadata == FULL.metadata
            vectors = []
            for store in (one, two):
                with store.reading() as connection:
                    vectors.append(
                        connection.execute(
                            "SELECT p.id, v.vector FROM passages p JOIN vectors v "
                            "ON v.passage = p.rowid ORDER BY p.id"
                        ).fetchall()
                    )
            assert vectors[0] == vectors[1]


def test_what_is_said_of_a_merge_reaches_another_host(url, host) -> None:
    with opened(url) as one:
        one.add([Passage("a", "the old river"), Passage("b", "a stone bridge")])
        host("two")
        with opened(url) as two:
            assert two.count() == 2
            add_distinct(one, [Passage("c", "the old river")], then="merge")
            with two.reading() as connection:
                assert [m.id for m in provenance.of_key(connection, "", "a")] == ["c"]
            assert one.version == two.version == 3
            one.add([Passage("d", "a stone bridge")])
            merging.merge_duplicates(one, dry_run=False)
            with two.reading() as connection:
                assert [m.id for m in provenance.of_key(connection, "", "b")] == ["d"]
            assert [p.id for p in two.passages()] == ["a", "b"]


def test_an_old_replica_goes_on_from_where_it_was(url, host) -> None:
    with opened(url) as one:
        one.add([Passage(f"p{i}", f"river {i}") for i in range(5)])
    host("two")
    with opened(url) as two:
        two.update("p1", text="a bridge")
        two.delete(["p2"])
        two.add([Passage("p2", "again")])
        expected = list(two.passages())
    host("one")
    with opened(url) as one:
        assert list(one.passages()) == expected
        with one.reading() as connection:
            rowid_of = dict(connection.execute("SELECT id, rowid FROM passages"))
        assert rowid_of["p1"] == 2  # an update keeps a passage's row
        assert rowid_of["p2"] > 5  # what was deleted and came again is another


def test_two_processes_of_one_host_share_a_replica(url, host, tmp_path) -> None:
    with opened(url) as one, opened(url) as other:
        assert one.path == other.path
        one.add([Passage("a", "a river")])
        other.update("a", text="a bridge")
        assert one.get("a").text == "a bridge"
        assert (one.version, other.version) == (2, 2)


def test_what_fails_halfway_is_written_nowhere(url, host) -> None:
    with opened(url) as one:
        one.add([Passage("a", "x")])
        with pytest.raises(KeyError), one.transaction():
            one.add([Passage("b", "x")])
            raise KeyError
        host("two")
        with opened(url) as two:
            assert [p.id for p in two.passages()] == ["a"]
            assert two.version == one.version == 1
        one.add([Passage("c", "x")])
        assert one.version == 2


def test_what_postgres_cannot_hold_is_refused_by_name(url, host) -> None:
    with opened(url) as store:
        with pytest.raises(InputError, match="NUL"):
            store.add([Passage("a", "zero \x00 byte")])
        with pytest.raises(InputError, match="PostgreSQL cannot hold"):
            store.add([Passage(np.random.default_rng(0).bytes(5000).hex(), "a long id")])
        assert store.count() == 0
        store.add([Passage("a", "x")])


def test_vectors_of_two_encoders_are_never_mixed(url, host) -> None:
    with opened(url) as one:
        host("two")
        with opened(url, dim=64) as two:
            one.add([Passage("a", "x")])
            with pytest.raises(EncoderMismatch):
                two.add([Passage("b", "x")])
            assert one.count() == 1
        secret = url.replace("postgres@", "postgres:secret@", 1)
        with pytest.raises(EncoderMismatch) as caught:
            Store(secret, encoder=HashEncoder(64))
        assert "secret" not in str(caught.value)
        with pytest.raises(StoreError, match="Qdrant needs a store that is one file"):
            Store(url, index="qdrant:http://localhost:1")


def test_the_language_is_settled_for_all(url, host) -> None:
    with opened(url, language="german") as one:
        host("two")
        with opened(url) as two:
            assert two.language == one.language == "german"
        with pytest.raises(ConfigError):
            Store(url, language="english")


def test_a_writer_waits_for_another_host_and_no_longer_than_told(url, host) -> None:
    with opened(url) as one:
        host("two")
        with opened(url) as two, one.transaction():
            one.add([Passage("a", "x")])
            failures: list[Exception] = []

            def write_at_once() -> None:
                try:
                    with two.transaction(wait=False):
                        pass
                except StoreBusy as error:
                    failures.append(error)

            thread = threading.Thread(target=write_at_once)
            thread.start()
            thread.join()
            assert len(failures) == 1
            assert "postgresql://" in str(failures[0])
        with opened(url) as two:
            two.add([Passage("b", "x")])
            assert one.count() == 2


def test_a_replica_is_checked_against_the_server(url, host) -> None:
    with opened(url) as store:
        store.add([FULL, Passage("b", "x y"), Passage("c", "z")])
        assert checks.verify(store) == []
        path = store.path
    cases = {
        "passage 'b' of the server is missing": "DELETE FROM passages WHERE id = 'b'",
        "passage 'c' is not as the server has it": "UPDATE vectors SET vector = zeroblob(128) "
        "WHERE passage = (SELECT rowid FROM passages WHERE id = 'c')",
        "1 passages are not on the server": "UPDATE passages SET id = 'd' WHERE id = 'b'",
    }
    untouched = path.read_bytes()
    for message, damage in cases.items():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(damage)
            connection.commit()
        with opened(url) as store:
            assert message in store.database.source_problems()
            problems = checks.verify(store)
            assert problems
            assert all(problem.derived for problem in problems)
        path.write_bytes(untouched)


def test_a_damaged_replica_is_made_anew(url, host, tmp_path) -> None:
    with Memory(url, encoder=HashEncoder(32)) as memory:
        memory.add([FULL, Passage("b", "x y")])
        expected = list(memory.store.passages())
        assert memory.repair() == []
        path = memory.store.path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE passages SET text = 'other words' WHERE id = 'b'")
        connection.commit()
    with Memory(url, encoder=HashEncoder(32)) as memory:
        [done] = memory.repair()
        assert "made anew" in done
        with pytest.raises(StoreUnavailable, match="open it again"):
            memory.search("x")
    with Memory(url, encoder=HashEncoder(32)) as memory:
        assert memory.verify() == []
        assert list(memory.store.passages()) == expected


def test_a_backup_is_a_memory_in_a_file(url, host, tmp_path) -> None:
    file = tmp_path / "copy.db"
    with opened(url) as store:
        store.add([FULL, Passage("b", "x y")])
        checks.backup(store, file)
        store.add([Passage("c", "later")])
        with closing(Store(file, encoder=HashEncoder(32))) as copy:
            assert sorted(p.id for p in copy.passages()) == ["b", "ä/1"]
            assert copy.get("ä/1", ("t", "ann")) == store.get("ä/1", ("t", "ann"))
            assert checks.verify(copy) == []
            copy.add([Passage("d", "in the file alone")])
        assert store.count() == 3


def test_a_password_is_in_no_message(cluster, host) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store("postgresql://ann:secret@127.0.0.1:1/x?connect_timeout=2")
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError):
        Store(Path("postgresql://ann@host/x"))


def test_a_lost_connection_is_opened_again(cluster, url, host) -> None:
    with opened(url) as store:
        store.add([Passage("a", "x")])
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != "
        cluster.execute(ended + "pg_backend_pid() AND application_name = 'hoptrail'")
        assert store.count() == 1
        store.add([Passage("b", "x")])
        cluster.execute(ended + "pg_backend_pid() AND application_name = 'hoptrail'")
        store.add([Passage("c", "x")])
        with pytest.raises(StoreUnavailable, match="postgresql://"), store.transaction():
            store.add([Passage("d", "x")])
            cluster.execute(ended + "pg_backend_pid() AND application_name = 'hoptrail'")
        assert [p.id for p in store.passages()] == ["a", "b", "c"]


def test_an_answer_that_did_not_come_is_asked_for(cluster, url, host) -> None:
    """The connection is lost right after the commit: it was written, and nothing says otherwise."""
    with opened(url) as store:
        store.add([Passage("a", "x")])
        server = store.database._server
        commit = server.commit

        def lose_the_answer(connection, token):
            class Lost:
                def execute(self, statement):
                    connection.execute(statement)
                    raise psycopg.OperationalError("server closed the connection unexpectedly")

            commit(Lost(), token)

        server.commit = lose_the_answer
        store.add([Passage("b", "x")])
        server.commit = commit
        assert store.count() == 2
        assert store.version == 2


def test_a_restored_backup_is_noticed_and_replicas_are_made_anew(cluster, url, host) -> None:
    with opened(url) as store, psycopg.connect(url, autocommit=True) as server:
        store.add([Passage("a", "x"), Passage("b", "x")])
        # As if the server had been set back to before the second write, and gone on from there.
        before = server.execute("SELECT version, token FROM hoptrail_head").fetchone()
        store.add([Passage("c", "x")])
        server.execute("DELETE FROM hoptrail_passages WHERE id = 'c'")
        server.execute("DELETE FROM hoptrail_commits WHERE token != %s", (before[1],))
        server.execute("UPDATE hoptrail_head SET version = %s, token = %s", before)
        with pytest.raises(StoreUnavailable, match="open it again"):
            store.count()
    with opened(url) as store:
        assert [p.id for p in store.passages()] == ["a", "b"]


WRITER = """
import sys, json
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage
url, name = sys.argv[1:]
store = Store(url, encoder=HashEncoder())
print("ready", flush=True)
for i in range(10_000):
    ids = [f"{name}-{i}-{j}" for j in range(5)]
    store.add([Passage(id_, f"river {id_}") for id_ in ids])
    if i % 3 == 2:
        store.delete([ids[0]])
        ids = ids[1:]
    print(json.dumps(ids), flush=True)
"""


def _writer(url: str, name: str, cache: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name],
        env={**os.environ, "HOPTRAIL_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _check_all_or_nothing(store: Store, acknowledged_ids: list[list[str]]) -> None:
    """What was acknowledged is there; of each batch all five, or four where one was deleted."""
    there = {p.id for p in store.passages()}
    assert {id_ for ids in acknowledged_ids for id_ in ids} <= there
    batches: dict[str, int] = {}
    for id_ in there:
        batches[id_.rpartition("-")[0]] = batches.get(id_.rpartition("-")[0], 0) + 1
    assert set(batches.values()) <= {4, 5}
    with store.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        vectors = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
    assert vectors == len(there)


def _told(child: subprocess.Popen) -> list[list[str]]:
    lines = [line for line in child.stdout.read().splitlines() if line.endswith("]")]
    child.wait()
    return [json.loads(line) for line in lines]


def test_killed_writers_leave_nothing_half_written(url, host, tmp_path) -> None:
    acknowledged_ids = []
    rng = np.random.default_rng(0)
    for turn in range(3):
        with _writer(url, f"w{turn}", tmp_path / "host-one") as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.2, 1.0))
            child.kill()
            acknowledged_ids += _told(child)
        with opened(url) as store:
            _check_all_or_nothing(store, acknowledged_ids)
    host("two")
    with opened(url) as fresh:
        _check_all_or_nothing(fresh, acknowledged_ids)


def test_a_killed_server_has_lost_nothing_that_was_told(cluster, url, host, tmp_path) -> None:
    acknowledged_ids = []
    rng = np.random.default_rng(1)
    with opened(url) as store:
        for turn in range(3):
            with (
                _writer(url, f"a{turn}", tmp_path / "host-two") as one,
                _writer(url, f"b{turn}", tmp_path / "host-three") as other,
            ):
                assert one.stdout.readline() == other.stdout.readline() == "ready\n"
                time.sleep(rng.uniform(0.5, 1.5))
                cluster.kill()
                acknowledged_ids += _told(one) + _told(other)
            with pytest.raises(StoreUnavailable, match="postgresql://"):
                store.count()
            cluster.start()
            _check_all_or_nothing(store, acknowledged_ids)  # the same store goes on
            store.add([Passage(f"own-{turn}-{j}", "x") for j in range(5)])
    assert acknowledged_ids
    host("two")
    with opened(url) as replica:  # one of those whose process died when the server did
        _check_all_or_nothing(replica, acknowledged_ids)
