"""Files that are not as they were written: named, gone on beside, and made anew where derived."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hoptrail import Link, Memory, Passage, StoreError
from hoptrail.errors import HoptrailError
from hoptrail.memory.index import snapshot
from hoptrail.memory.storage import damaged
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(snapshot, "MINIMUM", 3)
    file = tmp_path / "a.db"
    with opened(file) as memory:
        memory.add(passages())
        memory.add(Passage("gone", "It was about a ferry."))
        memory.delete("gone")
        memory.graph.sync()
    return file


def passages() -> list[Passage]:
    return [
        Passage(
            f"p{i}",
            f"Ada Lind saw the harbour of Varn{i} in Larvik, near Varn{(i + 2) % 40}. " * 3,
            f"Varn{i}",
            {"page": i, "from": {"who": "Ada"}},
            ("team",) if i % 2 else (),
            (Link(f"p{(i + 2) % 40}", "near"),),
            expires_at=4e9 if i % 3 else None,
        )
        for i in range(40)
    ]


def opened(path: Path) -> Memory:
    return Memory(path, encoder=HashEncoder(), policy=None)


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that tables of a file hold, but for what is only counted."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    names = [
        row[0].decode()
        for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'statistics'"
        )
    ]
    found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    connection.close()
    return found


WRITTEN_OVER = {
    "id": "UPDATE passages SET id = 'q5' WHERE id = 'p5'",
    "namespace": "UPDATE passages SET namespace = 'x\x1f' WHERE id = 'p5'",
    "title": "UPDATE passages SET title = 'Varn6' WHERE id = 'p5'",
    "text": "UPDATE passages SET text = replace(text, 'harbour', 'harbous') WHERE id = 'p5'",
    "text of another kind": "UPDATE passages SET text = CAST(text AS BLOB) WHERE id = 'p5'",
    "metadata": "UPDATE passages SET metadata = '{\"page\": 6}' WHERE id = 'p5'",
    "a time": "UPDATE passages SET written_at = written_at + 1 WHERE id = 'p5'",
    "expiry": "UPDATE passages SET expires_at = NULL WHERE id = 'p5'",
    "version": "UPDATE passages SET version = 1000 WHERE id = 'p5'",
    "a link's target": "UPDATE links SET target = 'p9' WHERE source = 6",
    "a link's kind": "UPDATE links SET kind = 'far' WHERE source = 6",
    "a link's weight": "UPDATE links SET weight = 2 WHERE source = 6",
    "a link that is gone": "DELETE FROM links WHERE source = 6",
}


@pytest.mark.parametrize("what", WRITTEN_OVER)
def test_whatever_of_a_passage_is_not_as_written_is_named(path: Path, what: str) -> None:
    sql(path, WRITTEN_OVER[what])
    with opened(path) as memory:
        named = [p for p in memory.verify() if p.what == "passage"]
        assert [p.message.split(":")[0] for p in named] == ["passage 6"]
        assert not named[0].derived
        memory.repair()  # which does not make it pass for sound
        assert [p.what for p in memory.verify() if not p.derived] == ["passage"]


def test_every_way_of_writing_leaves_a_file_that_is_sound(path: Path, tmp_path: Path) -> None:
    with opened(path) as memory:
        memory.update("p2", text="Bram Osk painted Tolle.", metadata={"page": 2.0})
        memory.update("p4", expires_at=None)
        memory.link("p2", "p4", "next")
        memory.unlink("p2", "p4")
        memory.upsert([{"id": "p6", "text": "Larvik has a ferry."}, *passages()[8:10]])
        memory.add(passages()[:1], on_duplicate="replace")
        memory.merge_duplicates(dry_run=False)
        memory.forget({"page": 12})
        assert memory.export(tmp_path / "all.jsonl", vectors=True)
        memory.purge()
        assert memory.verify() == []
        memory.change_encoder(HashEncoder(16))
        assert memory.verify() == []
    with opened(tmp_path / "b.db") as other:
        other.import_file(tmp_path / "all.jsonl")
        assert other.verify() == []


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_named_or_changes_nothing(path: Path, seed: int) -> None:
    before = rows(path)
    raw = bytearray(path.read_bytes())
    draw = random.Random(seed)
    for _ in range(20):  # somewhere where something is written
        at = draw.randrange(len(raw))
        if raw[at]:
            break
    raw[at] ^= 1 << draw.randrange(8)
    path.write_bytes(raw)
    with suppress(HoptrailError), opened(path) as memory:  # it may be no store any more
        problems = memory.verify()
        assert problems or rows(path) == before
        if all(problem.derived for problem in problems):
            memory.repair()
            assert memory.verify() == []
            assert memory.count() == 40


UNREADABLE = {
    "no JSON": "metadata = '{'",
    "no object": "metadata = '[1]'",
    "a number": "metadata = '7'",
    "metadata that is not UTF-8": "metadata = CAST(x'7b22ff227d' AS TEXT)",
    "metadata as bytes": "metadata = x'7b7d'",
    "text that is not UTF-8": "text = CAST(x'41ff42' AS TEXT)",
    "a title that is not UTF-8": "title = CAST(x'41ff42' AS TEXT)",
    "a time that is none": "expires_at = 'later'",
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("known", [True, False])
def test_one_damaged_passage_is_named_and_the_rest_goes_on(
    path: Path, tmp_path: Path, what: str, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if known:  # in an index that was written before the damage
        with opened(path) as memory:
            memory.store.view().save()
    sql(path, f"UPDATE passages SET {UNREADABLE[what]} WHERE id = 'p6'")
    damaged._warned.clear()
    with opened(path) as memory, caplog.at_level(logging.WARNING):
        hits = memory.search("Varn6 harbour", 40)
        assert {hit.passage.id for hit in hits} == {f"p{i}" for i in range(40)} - {"p6"}
        assert "'p6'" in caplog.text
        assert memory.search("harbour", 3, filter={"page": {"$gt": 30}})
        assert memory.search("harbour", 3, filter={"from.who": "Ada"})
        memory.graph.sync()
        memory.graph.view(memory.store.view())
        assert memory.export(tmp_path / "all.jsonl") == 39
        memory.audit()
        memory.history("p6")
        with pytest.raises(StoreError, match=r"'p6' of .* is damaged"):
            memory.get("p6")
        with pytest.raises(StoreError, match=r"'p6' of .* is damaged"):
            memory.link("p6", "p7")
        assert [p.message.split(":")[0] for p in memory.verify()] == ["passage 7"]
        memory.repair()
        assert memory.upsert(passages()[6]).updated == ("p6",)
        assert memory.verify() == []
        assert memory.get("p6").metadata["page"] == 6


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_damaged_passage_can_be_deleted_and_erased(path: Path, what: str) -> None:
    sql(path, f"UPDATE passages SET {UNREADABLE[what]} WHERE id = 'p6'")
    with opened(path) as memory:
        memory.delete("p6")
        memory.purge()
        assert memory.verify() == []
        memory.change_encoder(HashEncoder(8))


def test_a_change_of_encoder_ends_beside_a_damaged_passage(path: Path) -> None:
    sql(path, "UPDATE passages SET metadata = '{' WHERE id = 'p6'")
    with opened(path) as memory:
        memory.change_encoder(HashEncoder(8))
        assert len(memory.search("harbour", 40)) == 39


TABLES = ["names", "passages", "titles", "mentions", "entities", "lost", "gone", "state"]
DERIVED = {
    "words": "UPDATE graph_words_data SET block = zeroblob(length(block)) WHERE id > 1",
    "words' beginning": "UPDATE graph_words_data SET block = x'ff' WHERE id <= 10",
    "words' settings": "UPDATE graph_words_config SET v = 99 WHERE k = 'version'",
    "words' content": "UPDATE graph_words_content SET c0 = 'other' WHERE id = 3",
    "no words": "DROP TABLE graph_words",
    "mentions": "UPDATE graph_mentions SET start = start + 1",
    "state": "UPDATE graph_state SET version = 10000",
    "no state": "DELETE FROM graph_state",
    "an index": "DROP INDEX graph_names_head",
    "the store's index": "DROP INDEX passages_expires",
    "the store's trigger": "DROP TRIGGER statistics_added",
    "snapshots": "UPDATE snapshots SET version = version + 5",
    "vector": "UPDATE vectors SET vector = zeroblob(128) WHERE passage = 4",
    "a vector that is no number": "UPDATE vectors SET vector = x'0000c07f' || substr(vector, 5)",
    "vectors that changed places": "UPDATE vectors SET vector = "
    "(SELECT vector FROM vectors WHERE passage = 9) WHERE passage = 8",
    "what was erased": "UPDATE erased SET content = zeroblob(32)",
    "tombstone": "UPDATE tombstones SET passage = 3",
    "version": "UPDATE meta SET value = 'x' WHERE key = 'version'",
    **{f"no {name}": f"DROP TABLE graph_{name}" for name in TABLES[:5]},
}


HARMLESS = {"state", "the store's index", "the store's trigger"}
"""Noticed and mended by whoever syncs or opens the memory."""


@pytest.mark.parametrize("what", [key for key in DERIVED if key not in HARMLESS])
def test_what_is_derived_and_damaged_is_named_and_made_anew(path: Path, what: str) -> None:
    with opened(path) as memory:
        memory.store.view().save()
        expected = [hit.passage.id for hit in memory.search("Varn7 harbour", 5)]
    sql(path, DERIVED[what])
    with opened(path) as memory:
        problems = memory.verify()
        assert problems
        assert all(problem.derived for problem in problems)
        assert memory.repair()
        assert memory.verify() == []
        assert [hit.passage.id for hit in memory.search("Varn7 harbour", 5)] == expected


@pytest.mark.parametrize("what", [key for key in DERIVED if key != "version"])
def test_deleting_and_purging_do_not_need_what_is_derived(path: Path, what: str) -> None:
    sql(path, DERIVED[what])
    with opened(path) as memory:
        memory.delete("p8")
        memory.purge()
        memory.graph.view(memory.store.view())
        assert memory.count() == 39


def wipe(path: Path, root: str, fill: bytes) -> None:
    """Write over the page that a table or an index begins with."""
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (root,)
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write((fill * size)[:size])


@pytest.mark.parametrize("fill", [b"\0", b"\xff\x07"])
@pytest.mark.parametrize(
    "root",
    ["vectors", "snapshots", "erased", "graph_names_head", "graph_words_data", "graph_words_idx"]
    + [f"graph_{name}" for name in TABLES],
)
def test_a_derived_table_whose_first_page_is_lost_is_made_anew(
    path: Path, root: str, fill: bytes
) -> None:
    with opened(path) as memory:
        expected = [hit.passage.id for hit in memory.search("Varn7 harbour", 5)]
    wipe(path, root, fill)
    with opened(path) as memory:
        problems = memory.verify()
        assert problems
        assert all(problem.derived for problem in problems)
        assert memory.repair()
        assert memory.verify() == []
        assert [hit.passage.id for hit in memory.search("Varn7 harbour", 5)] == expected
        memory.delete("p8")
        memory.purge()
        assert memory.count() == 39


@pytest.mark.parametrize("table", ["vectors", "snapshots", "erased"])
def test_a_table_that_can_be_spared_and_is_missing_is_made_anew(path: Path, table: str) -> None:
    sql(path, f"DROP TABLE {table}")
    with opened(path) as memory:
        assert all(problem.derived for problem in memory.verify())
        assert memory.repair()
        assert memory.verify() == []
        memory.delete("p8")
        assert memory.purge().unrecorded == (table == "erased")


def test_a_search_goes_on_where_nothing_of_the_snapshots_can_be_read(path: Path, caplog) -> None:
    wipe(path, "snapshots", b"\0")
    with opened(path) as memory:
        assert memory.search("Varn7 harbour")
    assert "snapshots cannot be read" in caplog.text


SAID = ["", "x", "-5", "1", "9" * 40, "\u00b2", "1e3", " 4", "null", "7", "{}", "[[1]]", "[7]"]
SAID += ["hash-32 (\u00b2 dim)", "hash-32 (0 dim)", f"hash-32 ({'9' * 30} dim)", "klingon"]


@pytest.mark.parametrize("key", ["version", "encoder", "encoder_since", "language", "caches"])
@pytest.mark.parametrize("value", SAID)
def test_whatever_a_file_says_of_itself_no_call_fails_but_in_a_sentence(
    path: Path, key: str, value: str
) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )
    with suppress(HoptrailError), opened(path) as memory:
        calls: list[Callable[[], object]] = [
            lambda: memory.search("Varn7"),
            lambda: memory.add(Passage("new", "Ada Lind left Larvik.")),
            lambda: memory.update("p4", text="Ada Lind stayed."),
            lambda: memory.delete("p6"),
            memory.verify,
            memory.purge,
            memory.repair,
            lambda: memory.search("Varn7"),
        ]
        for call in calls:
            with suppress(HoptrailError):
                call()


def test_a_version_that_fell_behind_gives_no_version_twice(path: Path) -> None:
    sql(path, "UPDATE meta SET value = '1' WHERE key = 'version'")
    with opened(path) as memory:
        memory.add(Passage("new", "Ada Lind left Larvik."))
        memory.update("p4", text="Ada Lind stayed.")
        assert memory.search("Who left Larvik?", 1)[0].passage.id == "new"


def test_rows_that_contradict_each_other_are_no_raw_error(path: Path) -> None:
    sql(
        path,
        "CREATE UNIQUE INDEX odd ON passages (title) WHERE title = 'Varn40'",
        "UPDATE passages SET title = 'Varn40' WHERE id = 'p3'",
    )
    with opened(path) as memory, pytest.raises(StoreError, match="contradict each other"):
        memory.add(Passage("new", "Ada Lind left Larvik.", "Varn40"))
