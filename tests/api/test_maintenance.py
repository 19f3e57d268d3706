"""A memory's file: purged, verified, repaired, backed up, exported and imported."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoptrail import FormatError, Link, Memory, Passage, StoreError, StoreUnavailable
from hoptrail.cli.main import main
from hoptrail.errors import EncoderMissing
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.encoders.disk_cache import cache_folder
from hoptrail.memory.index import snapshot
from hoptrail.memory.storage import schema
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

SECRET = "The vault of Quillon opens with heliotrope marmalade."


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setattr(snapshot, "MINIMUM", 3)
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path, twelve) -> Path:
    file = tmp_path / "agent.db"
    with Memory(file, encoder=HashEncoder()) as memory:
        memory.add(twelve)
        memory.graph.view(memory.store.view())
    return file


def files_with(folder: Path, needle: bytes) -> list[str]:
    """The files below a folder that hold some bytes."""
    return sorted(f.name for f in folder.rglob("*") if f.is_file() and needle in f.read_bytes())


def run(*words: object) -> int:
    return main([str(word) for word in words])


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


# Purge


def test_a_purge_leaves_no_byte_of_what_was_deleted(tmp_path: Path, path: Path, capsys) -> None:
    [vector] = HashEncoder().encode([f"Quillon. {SECRET}"])
    [updated] = HashEncoder().encode(["Marmalade was an ingredient."])
    needles = [b"heliotrope", b"Quillon", b"quillon", b"secret-id", vector.tobytes()]
    with Memory(path, encoder=HashEncoder()) as memory:
        memory.add(
            [
                Passage("secret-id", SECRET, "Quillon", {"x": "heliotrope"}),
                Passage("next", "Marmalade was an ingredient."),
                *(Passage(f"more-{i}", f"Passage {i} near Quillon.") for i in range(5)),
            ]
        )
        memory.graph.view(memory.store.view())
        memory.store.view().save()
        for needle in needles:
            assert files_with(tmp_path, needle), needle
        memory.delete(["secret-id", *(f"more-{i}" for i in range(5))])
        memory.update("next", text="It was changed.")
    assert run("store", "purge", "--store", path, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["contents"] == 7
    assert done["cached_vectors"] == 7
    assert done["bytes_after"] < done["bytes_before"]
    for needle in [*needles, b"Marmalade", updated.tobytes()]:
        assert files_with(tmp_path, needle) == [], needle
    with Memory(path, encoder=HashEncoder()) as memory:  # all else is as it was
        assert memory.count() == 13
        assert memory.verify() == []
        assert memory.search("clockmaker Varn", 1)[0].passage.id == "p-ada-lind"
        assert memory.purge().contents == 0


def test_a_purge_keeps_the_vector_of_a_content_that_still_lives(tmp_path: Path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add([Passage("a", "The same."), Passage("b", "The same.")])
        memory.delete("a")
        assert memory.purge().cached_vectors == 0
    [vector] = HashEncoder().encode(["The same."])
    assert files_with(cache_folder(), vector.tobytes())


def of_the_first_version(file: Path, *passages: Passage) -> None:
    """A store as hoptrail 0.1.0 wrote it, without record of what it deleted."""
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
    connection.execute("CREATE TABLE migrations (owner TEXT PRIMARY KEY, steps INTEGER NOT NULL)")
    connection.execute("INSERT INTO migrations VALUES ('memory', 1)")
    connection.executescript(schema.MIGRATIONS[0])
    for number, p in enumerate(passages, start=1):
        connection.execute(
            "INSERT INTO passages VALUES (?, '', ?, ?, ?, '{}', 5.0, ?)",
            (number, p.id, p.title, p.text, number),
        )
        [vector] = HashEncoder().encode([p.content])
        connection.execute("INSERT INTO vectors VALUES (?, ?)", (number, vector.tobytes()))
    connection.execute("UPDATE meta SET value = '9' WHERE key = 'version'")
    connection.commit()
    connection.close()


def test_a_purge_says_what_is_not_on_record_and_can_erase_it(tmp_path: Path, capsys) -> None:
    secret, kept = HashEncoder().encode([SECRET, "It stays."])
    of_the_first_version(tmp_path / "old.db", Passage("a", "It stays."))
    with Memory(tmp_path / "other.db", encoder=HashEncoder()) as other:
        other.add([SECRET, "It stays."])  # as the old one had them encoded before
    (tmp_path / "other.db").unlink()
    old = tmp_path / "old.db"
    assert run("store", "purge", "--store", old) == 0
    assert "is not on record: store purge --whole-cache" in capsys.readouterr().out
    assert files_with(cache_folder(), secret.tobytes())
    assert run("store", "purge", "--store", old, "--whole-cache", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["cached_vectors"], done["unrecorded"]) == (1, False)
    assert files_with(cache_folder(), secret.tobytes()) == []
    assert files_with(cache_folder(), kept.tobytes())
    assert run("store", "purge", "--store", old, "--json") == 0
    assert json.loads(capsys.readouterr().out)["unrecorded"] is False
    with Memory(old, encoder=HashEncoder()) as memory:
        assert memory.search("stays", 1)[0].passage.id == "a"


NOTES = (
    """
    CREATE TABLE notes (
        passage INTEGER NOT NULL REFERENCES passages (rowid) ON DELETE CASCADE, note TEXT
    );
    CREATE VIRTUAL TABLE note_words USING fts5 (words);
    CREATE TRIGGER notes_written AFTER INSERT ON notes BEGIN
        INSERT INTO note_words (rowid, words) VALUES (new.rowid, new.note);
    END;
    CREATE TRIGGER notes_gone AFTER DELETE ON notes BEGIN
        DELETE FROM note_words WHERE rowid = old.rowid;
    END;
    """,
)


def test_the_rows_of_other_owners_go_with_their_passage(tmp_path: Path, path: Path) -> None:
    with Memory(path, encoder=HashEncoder()) as memory:
        memory.store.migrate("notes", NOTES)
        with memory.store.transaction() as connection:
            rows = [(row, f"zinnia{row} quillwort") for row in range(1, 5)]
            connection.executemany("INSERT INTO notes VALUES (?, ?)", rows)

        def notes() -> list[int]:
            with memory.store.reading() as connection:
                return [row[0] for row in connection.execute("SELECT passage FROM notes")]

        memory.delete("p-ada-lind")
        memory.forget({"$title": "Varn"})
        memory.update("p-ister-beck", expires_at=4e9)
        with memory.store.transaction() as connection:
            connection.execute("UPDATE passages SET expires_at = 1 WHERE id = 'p-ister-beck'")
        memory.search("clock", 1)
        assert notes() == [4]
        assert files_with(tmp_path, b"zinnia2")
        memory.purge()
        assert [n for n in (1, 2, 3, 4) if files_with(tmp_path, b"zinnia%d" % n)] == [4]
        sql(path, "INSERT INTO notes VALUES (99, 'lost')")
        assert [problem.what for problem in memory.verify()] == ["reference"]
        assert memory.repair() == ["removed 1 rows that belonged to no passage"]
        assert notes() == [4]
        assert memory.verify() == []


def test_a_purge_refuses_what_it_cannot_finish(path: Path) -> None:
    with Memory(path, encoder=HashEncoder(), read_only=True) as memory, pytest.raises(StoreError):
        memory.purge()
    with Store(path) as store, store.transaction(), pytest.raises(StoreError, match="transaction"):
        store.database.compact()


# Verify and repair


def test_a_sound_memory_is_said_to_be(path: Path, capsys) -> None:
    assert run("store", "verify", "--store", path) == 0
    assert capsys.readouterr().out == f"{path} is sound: 12 passages\n"


DAMAGE = {
    "vector": ["DELETE FROM vectors WHERE passage = 3", "UPDATE vectors SET vector = x'00'"],
    "reference": ["INSERT INTO vectors (passage, vector) VALUES (999, x'00000000')"],
    "graph": ["DELETE FROM graph_mentions", "DELETE FROM graph_titles WHERE passage = 2"],
    "version": ["UPDATE meta SET value = '3' WHERE key = 'version'"],
    "snapshot": [],
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_derived_is_found_wrong_and_repaired(path: Path, what: str, capsys) -> None:
    question = "Where is the clockmaker?"
    with Memory(path, encoder=HashEncoder()) as memory:
        memory.store.view().save()
        before = [(hit.passage.id, hit.score) for hit in memory.search(question, 12)]
    if what == "snapshot":
        for file in path.with_name(path.name + ".index").glob("*.v*"):
            file.write_bytes(file.read_bytes()[:-7])
    sql(path, *DAMAGE[what])
    assert run("store", "verify", "--store", path, "--json") == 1
    found = json.loads(capsys.readouterr().out)["problems"]
    # What is behind its own version misleads the graph too.
    assert {problem["what"] for problem in found} - {"graph"} == {what} - {"graph"}
    assert all(problem["derived"] for problem in found)
    assert run("store", "repair", "--store", path) == 0, capsys.readouterr().out
    assert run("store", "verify", "--store", path) == 0
    with Memory(path, encoder=HashEncoder()) as memory:
        assert [(hit.passage.id, hit.score) for hit in memory.search(question, 12)] == before


def test_what_is_no_longer_known_is_not_made_up(path: Path, capsys) -> None:
    sql(path, "UPDATE passages SET metadata = '{' WHERE rowid = 4")
    assert run("store", "verify", "--store", path) == 1
    out = capsys.readouterr().out
    assert "passage: passage 4:" in out
    assert "restore a backup" in out
    assert run("store", "repair", "--store", path) == 1


def test_vectors_are_repaired_by_an_encoder_only(path: Path) -> None:
    from hoptrail.memory.maintenance import checks

    sql(path, "DELETE FROM vectors")
    with Store(path) as store, pytest.raises(EncoderMissing):
        checks.repair(store)


# Backup


def test_a_backup_is_a_memory_of_one_state(path: Path, tmp_path: Path, capsys) -> None:
    copy = tmp_path / "copy.db"
    with Memory(path, encoder=HashEncoder()) as memory:  # in use, and with a log
        memory.add([Passage("late", "Written just now.")])
        assert run("store", "backup", "--store", path, copy) == 0
        memory.delete("late")
    assert "copied to" in capsys.readouterr().out
    with Memory(copy, encoder=HashEncoder()) as memory:
        assert memory.get("late").text == "Written just now."
        assert memory.verify() == []
        assert memory.search("written", 1)[0].passage.id == "late"
    assert run("store", "backup", "--store", path, copy) == 1
    assert "is there already" in capsys.readouterr().err
    assert [f.name for f in tmp_path.glob("*.part")] == []
    with Memory(path) as memory, pytest.raises(StoreUnavailable, match="no backup could be"):
        memory.backup(tmp_path / "no" / "folder.db")


# Export and import


RICH = [
    Passage("a", "Text\nwith lines  ", "", {"id": 1, "text": None, "deep": {"k": [1.5, True]}}),
    Passage("a", "Same id.", "Ü", {"written_at": "x"}, ("team", "ann"), (Link("b", "c", 0.1),)),
    Passage("b", "Expires.", None, {}, ("team",), expires_at=4e9 + 0.125),
]


@pytest.mark.parametrize("vectors", [True, False])
def test_nothing_is_lost_on_the_way(tmp_path: Path, vectors: bool, capsys) -> None:
    old, new, file = tmp_path / "old.db", tmp_path / "new.db", tmp_path / "all.jsonl"
    with Memory(old, encoder=HashEncoder()) as memory:
        memory.add(RICH)
        before = list(memory.store.passages())
    assert [replace(p, written_at=0.0) for p in before] == [RICH[0], RICH[2], RICH[1]]
    assert run("export", "--store", old, file, *["--vectors"] * vectors) == 0
    assert run("import", "--store", new, file) == 0
    assert "3 passages imported" in capsys.readouterr().out
    with Memory(new, encoder=HashEncoder()) as memory:
        assert list(memory.store.passages()) == before
        assert memory.verify() == []
        assert memory.search("Same id", 1, mode="dense")[0].passage.id == "a"
    assert run("import", "--store", new, file) == 1
    assert "is taken" in capsys.readouterr().err
    assert run("import", "--store", new, "--on-duplicate", "skip", "--json", file) == 0
    assert json.loads(capsys.readouterr().out)["imported"] == []


def test_carried_vectors_are_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    with Memory(tmp_path / "old.db", encoder=HashEncoder()) as memory:
        memory.add(RICH)
        assert memory.export(file, namespace=("team",), vectors=True) == 2
        expected = memory.store.view(("team",)).dense.vectors([0, 1])
    with Store(tmp_path / "bare.db") as bare:  # without any encoder
        from hoptrail.memory.maintenance.export import import_file

        assert import_file(bare, file).encoded == 0
        assert np.array_equal(np.sort(bare.view().dense.vectors([0, 1])), np.sort(expected))
    with Store(tmp_path / "other.db", encoder=HashEncoder(8)) as other:
        assert import_file(other, file).encoded == 2  # another's are of no use
        assert other.view().dense.dim == 8


def test_what_has_expired_since_is_left_out(tmp_path: Path) -> None:
    from hoptrail.memory.maintenance.export import import_file

    file = tmp_path / "all.jsonl"
    with Memory(tmp_path / "old.db", encoder=HashEncoder()) as memory:
        memory.add(RICH)
        memory.export(file)
    with Store(tmp_path / "new.db", encoder=HashEncoder(), clock=lambda: 5e9) as store:
        assert sorted(import_file(store, file).ids) == ["a", "a"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "a"}', "line 2"),
        ('{"id": "a", "text": "x", "written_at": "now"}', "line 2: written_at must be"),
        ('{"id": "a", "text": "x", "vector": "AAAA"}', "line 2: the vector"),
        ('{"id": "a", "text": "x", "vector": "AAAAAA=="}', "must be 32 numbers"),
        ("{", "line 2: not valid JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_nothing_written(
    tmp_path: Path, line: str, says: str
) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text('{"hoptrail": 1, "encoder": "hash-32 (32 dim)"}\n' + line + "\n")
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        with pytest.raises(FormatError, match=says):
            memory.import_file(file)
        file.write_text('{"id": "a", "text": "x"}\n')
        with pytest.raises(FormatError, match="hoptrail add"):
            memory.import_file(file)
        assert memory.count() == 0


# Hygiene


def test_an_audit_is_printed_line_by_line(path: Path, capsys) -> None:
    with Memory(path, encoder=HashEncoder()) as memory:
        twin = {"id": "twin", "text": memory.get("p-varn").text, "title": "Varn", "links": ["gone"]}
        assert memory.add_distinct(twin).duplicates[0].of == "p-varn"
        assert memory.count() == 12
        memory.add(twin)
    assert run("store", "audit", "--store", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "13 passages, 0 of them with a time to go, 13 never recalled"
    assert "duplicate: twin says what p-varn says (the same text)" in lines
    assert "dangling: twin links to gone, which is not there" in lines
    assert run("store", "audit", "--store", path, "--json", "--near", "2") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["duplicates"] == []
    assert found["dangling"] == [[[], "twin", "gone"]]
    assert run("store", "audit", "--store", path, "--stale-days", "0") == 1
    assert "stale_days must be above 0" in capsys.readouterr().err
