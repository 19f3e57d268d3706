"""A change of encoder on a server: for all hosts at once, and nothing is lost that others write."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import EncoderMismatch, StoreError
from hoptrail.memory.encoders.windows import encode_passages
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow

QUESTION = "Where was the builder of ship 7 born?"


def corpus(count: int = 60) -> list[Passage]:
    """Short passages, and one that is longer than an encoder's window."""
    long = Passage("long", " ".join(f"word{i}" for i in range(400)), namespace=("a", "b"))
    return [
        Passage(f"p{i}", f"Ship {i} had a builder, born in town {i % 9}.") for i in range(count)
    ] + [long]


def opened(url: str, dim: int = 32, **options) -> Memory:
    return Memory(url, encoder=HashEncoder(dim), **options)


def answers(memory: Memory) -> list[object]:
    rankings = [memory.search(QUESTION, 9, mode=mode) for mode in ("dense", "hybrid")]
    rankings.append(memory.recall(QUESTION, k=5).hits)
    return [[(hit.passage.id, hit.score) for hit in hits] for hits in rankings]


def check_vectors(store: Store, encoder: HashEncoder) -> None:
    """Each passage has the vectors that the encoder makes of it."""
    passages = list(store.passages())
    expected = encode_passages(encoder, [p.content for p in passages])
    with store.reading() as connection:
        for passage, vectors in zip(passages, expected, strict=True):
            [stored] = connection.execute(
                "SELECT vector FROM vectors v JOIN passages p ON p.rowid = v.passage "
                "WHERE p.id = ?",
                (passage.id,),
            ).fetchall()
            assert stored[0] == np.asarray(vectors, dtype="<f4").tobytes(), passage.id


class Meddling(HashEncoder):
    """An encoder while which encodes, others do something, once."""

    def __init__(self, dim: int, act) -> None:
        super().__init__(dim)
        self.act = act

    def encode(self, texts, **options):
        act, self.act = self.act, None
        if act is not None:
            act()
        return super().encode(texts, **options)


def test_all_hosts_have_the_other_encoder_at_once(url, host, tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder(48)) as file:
        file.add(corpus())
        expected = answers(file)
    with opened(url) as one:
        one.add(corpus())
        host("two")
        with opened(url) as two:
            before = answers(two)
            steps: list[tuple[int, int]] = []
            host("one")
            change = one.change_encoder(
                HashEncoder(48), batch=10, progress=lambda *step: steps.append(step)
            )
            assert (change.finished, change.encoded, steps[-1]) == (True, 61, (61, 61))
            assert answers(one) == expected != before
            check_vectors(one.store, HashEncoder(48))
            # As a file is to a process that has the old encoder.
            with pytest.raises(EncoderMismatch, match="hash-48"):
                two.search(QUESTION, 9, mode="dense")
            with pytest.raises(EncoderMismatch, match="hash-48"):
                two.add("x")
            assert two.get("p3").text == one.get("p3").text
            assert one.encoder_change() is two.encoder_change() is None
    with psycopg.connect(url) as server:
        rows = server.execute("SELECT DISTINCT generation FROM hoptrail_vectors").fetchall()
        assert rows == [(1,)]  # nothing is left of the old ones
    for name in ("two", "three"):
        host(name)
        with opened(url, 48) as memory:
            assert answers(memory) == expected
            check_vectors(memory.store, HashEncoder(48))
            assert memory.verify() == []
            assert memory.change_encoder(HashEncoder(48)).encoded == 0
    with opened(url, 48) as memory:
        memory.add({"id": "after", "text": "It came after."})
        check_vectors(memory.store, HashEncoder(48))


def test_what_others_write_meanwhile_is_there_and_encoded(url, host) -> None:
    with opened(url) as one:
        one.add(corpus())
        host("two")
        with opened(url) as two:

            def meddle() -> None:
                assert answers(two)  # by the old vectors
                two.add({"id": "new", "text": "Ship 99 was built last."})
                two.update("p1", text="Ship 1 was sold.")
                two.update("p59", text="Ship 59 was sold.")
                two.delete("p2")
                two.delete("p58")
                two.link("p3", "p4")
                assert two.encoder_change().encoder == "hash-48 (48 dim)"

            assert one.change_encoder(Meddling(48, meddle), batch=16).finished
        assert (one.count(), one.get("p1").text) == (60, "Ship 1 was sold.")
        check_vectors(one.store, HashEncoder(48))
        assert "new" in [hit.passage.id for hit in one.search("Ship 99", 3, mode="dense")]
        assert one.verify() == []
        host("three")
        with opened(url, 48) as three:
            check_vectors(three.store, HashEncoder(48))


SLOW = """
import sys, time
from hoptrail.memory.maintenance.reencoding import Reencoding
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

class Slow(HashEncoder):
    def encode(self, texts, **options):
        time.sleep(0.05)
        return super().encode(texts, **options)

store = Store(sys.argv[1], encoder=HashEncoder(32))
Reencoding(store, Slow(48), batch=5, progress=lambda *step: print(*step, flush=True)).run()
"""


def test_a_killed_change_is_taken_up_by_another_host(cluster, url, host, tmp_path) -> None:
    with opened(url) as one:
        one.add(corpus())
        expected = answers(one)
        child = subprocess.Popen(
            [sys.executable, "-c", SLOW, url],
            env={**os.environ, "HOPTRAIL_CACHE": str(tmp_path / "host-two")},
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            while int(child.stdout.readline().split()[0]) < 20:
                pass
            child.kill()
        state = one.encoder_change()
        assert 20 <= state.done < state.total == 61
        assert answers(one) == expected  # by the old encoder, as before
        with pytest.raises(StoreError, match="is changing to encoder hash-48"):
            one.change_encoder(HashEncoder(64))
        cluster.kill()
        cluster.start()
        one.add({"id": "later", "text": "Ship 100 came later."})
        change = one.change_encoder(HashEncoder(48))
        assert (change.finished, change.encoded) == (True, 62 - state.done)
        check_vectors(one.store, HashEncoder(48))


def test_a_change_is_dropped_for_all(url, host) -> None:
    with opened(url) as one:
        one.add(corpus(20))
        expected = answers(one)
        host("two")
        with opened(url) as two:
            dropped = []
            change = Reencoding(
                one.store,
                Meddling(48, lambda: dropped.append(two.drop_encoder_change())),
                batch=4,
            )
            with pytest.raises(StoreError, match="was dropped"):
                change.run()
            assert dropped[0].encoder == "hash-48 (48 dim)"
            assert two.drop_encoder_change() is None
        assert answers(one) == expected
        assert one.change_encoder(HashEncoder(64)).finished
        check_vectors(one.store, HashEncoder(64))
    with psycopg.connect(url) as server:
        rows = server.execute("SELECT DISTINCT generation FROM hoptrail_vectors").fetchall()
        assert rows == [(2,)]


def test_who_sees_a_part_or_only_reads_changes_nothing(cluster, host) -> None:
    schema = cluster.new_schema()
    url, role = cluster.url(schema), f"ann_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    with opened(url) as owner:
        owner.add([Passage("a", "x", namespace=("ann",)), Passage("b", "y")])
        grant_namespace(url, role, ("ann",))
        host("two")
        with opened(cluster.url(schema, role)) as hers:
            with pytest.raises(StoreError, match="the role that made its tables"):
                hers.change_encoder(HashEncoder(48))
            owner.change_encoder(HashEncoder(48))
            with pytest.raises(EncoderMismatch):
                hers.search("x", 1, mode="dense")
            assert hers.search("x", 1, mode="sparse")[0].passage.id == "a"
            hers.delete("a", namespace=("ann",))
        with opened(cluster.url(schema, role), 48) as hers:
            hers.add("She writes with the new one.", namespace=("ann",))
            check_vectors(hers.store, HashEncoder(48))
        with opened(url, 48, read_only=True) as reader:
            with pytest.raises(StoreError, match="read-only"):
                reader.change_encoder(HashEncoder(32))
            with pytest.raises(StoreError, match="read-only"):
                reader.drop_encoder_change()


def test_tables_of_form_4_get_generations(url, host) -> None:
    with opened(url) as one:
        one.add(corpus(5))
        expected = answers(one)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("ALTER TABLE hoptrail_vectors DROP CONSTRAINT hoptrail_vectors_pkey")
        server.execute("ALTER TABLE hoptrail_vectors DROP COLUMN generation")
        server.execute("ALTER TABLE hoptrail_vectors ADD PRIMARY KEY (namespace, id, part)")
        server.execute("UPDATE hoptrail_head SET tables = 4")
    host("two")
    with opened(url) as two:
        assert answers(two) == expected
        two.change_encoder(HashEncoder(48))
        check_vectors(two.store, HashEncoder(48))
    host("one")
    with closing(Store(url, encoder=HashEncoder(48))) as one:
        check_vectors(one, HashEncoder(48))
