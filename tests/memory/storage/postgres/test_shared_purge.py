"""A purge of a memory on a server leaves nothing of what was deleted: there, and on each host."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.errors import StoreBusy, StoreError
from hoptrail.memory.index import snapshot
from hoptrail.memory.storage.postgres.grants import grant_namespace
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

psycopg = pytest.importorskip("psycopg", reason="hoptrail[postgres] is not installed")
pytestmark = pytest.mark.slow

ERASED, OTHER = "heliotrope", "amaranth"
"""A word of each test that looks for it on the server, which all tests share; and of the others."""


def secret(word: str) -> str:
    return f"The vault of Q{word} opens with {word} marmalade."


def needles(word: str) -> set[bytes]:
    """What is looked for: of the text, the title, the id and the namespace of what is to go."""
    return {b"%s%s" % (prefix, word.encode()) for prefix in (b" ", b"Q", b"id-", b"space-")}


@pytest.fixture(autouse=True)
def _small_snapshots(monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 3)


def opened(url: str, **options) -> Memory:
    return Memory(url, encoder=HashEncoder(), **options)


def found_in(folder: Path, searched: set[bytes]) -> set[bytes]:
    """What of all that is looked for is in a file below a folder."""
    contents = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    return {needle for needle in searched if any(needle in content for content in contents)}


def on_the_server(cluster, word: str) -> set[bytes]:
    """What the files of tables and indexes hold, when all that is settled is written."""
    cluster.execute("CHECKPOINT")
    return found_in(cluster.folder / "base", needles(word))


def write_secrets(memory: Memory, word: str) -> None:
    """Twelve passages of no importance, and some that are to go."""
    memory.add([{"id": f"p{i}", "text": f"Harbour {i} lies near the old mill."} for i in range(12)])
    memory.add(
        [
            Passage(f"id-{word}", secret(word), f"Q{word}", {"x": f"a {word}"}),
            Passage("other", f"One {word} is near Q{word}.", namespace=(f"space-{word}",)),
            *(Passage(f"id-{word}-{i}", f"Passage {i} near Q{word}.") for i in range(6)),
        ]
    )
    memory.update("p3", text=f"Harbour 3 is shut: {word}.")
    memory.keep_log(100)


def ask(memory: Memory, word: str) -> None:
    """Recalls that return both, and are judged and in the log; and index files."""
    memory.recall("Where is the vault with marmalade?", k=4).feedback(1.0)
    memory.recall("the old mill near the harbour", k=14).feedback(1.0)
    memory.recall("the old mill", namespace=(f"space-{word}",)).feedback(1.0)
    assert len(memory.recall_log()) >= 3  # which writes what waits
    memory.store.view().save()


def judged(memory: Memory) -> list[object]:
    """What is kept of judged recalls; passages have other rows on each host."""
    return [
        (one.recall.id, one.recall.question, len(one.recall.returned), len(one.recall.trails))
        for one in memory.feedback_given()
    ]


def logged(memory: Memory) -> list[object]:
    return [(entry.id, entry.question, len(entry.hits)) for entry in memory.recall_log()]


def delete_secrets(memory: Memory, word: str) -> None:
    memory.delete([f"id-{word}", *(f"id-{word}-{i}" for i in range(6))])
    memory.delete("other", namespace=(f"space-{word}",))
    memory.update("p3", text="Harbour 3 is shut.")


def test_no_byte_stays_on_the_server_and_on_the_hosts_that_follow(
    cluster, url, host, tmp_path
) -> None:
    folders = [tmp_path / "host-one", tmp_path / "host-two"]
    [vector] = HashEncoder().encode([f"Q{ERASED}. {secret(ERASED)}"])
    here = {*needles(ERASED), vector.tobytes()}
    with opened(url) as one:
        write_secrets(one, ERASED)
        ask(one, ERASED)
        host("two")
        with opened(url) as two:
            ask(two, ERASED)
            two.graph.sync()
            cluster.execute("ANALYZE")  # whose samples of columns are copies
            assert on_the_server(cluster, ERASED) == needles(ERASED)
            for folder in folders:
                assert found_in(folder, needles(ERASED)) == needles(ERASED)
            delete_secrets(one, ERASED)
            passages = list(one.store.passages())
            host("one")
            done = one.purge()
            assert (done.contents > 8, done.snapshots > 0) == (True, True)
            assert on_the_server(cluster, ERASED) == set()
            assert found_in(folders[0], here) == set()
            host("two")
            two.recall("harbour", k=2)  # it hears of the purge
            assert found_in(folders[1], here)
            two.recall("harbour", k=2)  # and purges its files
            assert found_in(folders[1], here) == set()
            assert list(two.store.passages()) == passages
            assert one.verify() == two.verify() == []
            assert judged(one) == judged(two) != []
            assert logged(two) == logged(one) != []
            assert two.purge().contents == 0


def test_a_host_that_was_away_misses_nothing(url, host, tmp_path) -> None:
    host("two")
    with opened(url) as two:
        write_secrets(two, OTHER)
        ask(two, OTHER)
        two.add("The ferry stays.", namespace=("lasting",))
        two.recall("the ferry", namespace=("lasting",)).feedback(1.0)
    host("one")
    with opened(url) as one:
        assert one.forget_feedback(("lasting",)) == 1
        delete_secrets(one, OTHER)
        one.purge()
        one.add([Passage("later", "It came later."), Passage(f"id-{OTHER}", "It came again.")])
        one.delete("later")
        passages = sorted(one.store.passages(), key=lambda p: p.id)
        feedback, log = judged(one), logged(one)
        version = one.store.version
    host("two")
    with opened(url) as two:
        assert two.store.version == version
        assert sorted(two.store.passages(), key=lambda p: p.id) == passages
        assert judged(two) == feedback
        assert logged(two) == log != []
        assert two.verify() == []
    gone = {b"marmalade", b"space-" + OTHER.encode()}
    assert found_in(tmp_path / "host-two", gone) == set()


def test_a_view_that_is_open_loses_what_a_purge_has_left_no_word_of(url, host) -> None:
    with opened(url) as one:
        write_secrets(one, OTHER)
        host("two")
        with opened(url) as two:
            assert f"id-{OTHER}" in [hit.passage.id for hit in two.search(secret(OTHER), 3)]
            host("one")
            delete_secrets(one, OTHER)
            one.purge()
            ids = [hit.passage.id for hit in two.search(secret(OTHER), 20)]
            assert len(ids) == 12
            assert ids == [hit.passage.id for hit in one.search(secret(OTHER), 20)]


def test_who_sees_a_part_is_told_who_may(cluster, host) -> None:
    schema = cluster.new_schema()
    url, role = cluster.url(schema), f"ann_{schema}"
    cluster.execute(f"CREATE ROLE {role} LOGIN")
    with opened(url) as owner:
        owner.add([Passage("a", f"One {OTHER}", namespace=("ann",)), Passage("b", "x")])
        grant_namespace(url, role, ("ann",))
        host("two")
        with opened(cluster.url(schema, role)) as hers:
            hers.delete("a", namespace=("ann",))
            with pytest.raises(StoreError, match="the role that made its tables"):
                hers.purge()
            assert found_in(hers.store.path.parent, needles(OTHER)) == set()
    with psycopg.connect(url) as server:
        assert server.execute("SELECT count(*) FROM hoptrail_deletions").fetchone() == (1,)


def test_a_transaction_from_before_is_waited_for_and_named(cluster, url, host) -> None:
    word = "zephyrine"
    with opened(url) as memory:
        memory.add([Passage("a", f"One {word}"), Passage("b", "x")])
        with psycopg.connect(url) as other:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT 1 FROM hoptrail_head")
            memory.delete("a")
            memory.store.database._server._patience = 0.3
            with pytest.raises(StoreBusy, match=f"process {other.info.backend_pid} of the server"):
                memory.purge()
            assert on_the_server(cluster, word) != set()
        assert memory.count() == 1
        memory.store.database._server._patience = 30
        memory.purge()
        assert on_the_server(cluster, word) == set()
