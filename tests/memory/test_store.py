"""The store: what goes in comes out, all of it or nothing, and bad input is refused."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from hoptrail.errors import (
    DuplicateId,
    EncoderMismatch,
    EncoderMissing,
    InputError,
    MissingExtra,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    UnknownId,
)
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Link, Passage


def passage(id_: str = "a", text: str = "The Loire flows west.", **fields) -> Passage:
    return Passage(id=id_, text=text, **fields)


def test_a_passage_comes_back_as_it_went_in(store: Store) -> None:
    given = passage(
        title="Loire",
        metadata={"speaker": "Ann", "tags": ["river", 1, None], "ü": {"x": 1.5}},
        namespace=("team", "ann"),
        links=(Link("b", "cites", 2.0), Link("b"), Link("a")),
    )
    assert store.add([given]) == ["a"]
    found = store.get("a", ("team", "ann"))
    assert found.written_at > 0
    assert found == Passage(
        **{name: getattr(given, name) for name in ("id", "text", "title", "metadata", "namespace")},
        links=given.links,
        written_at=found.written_at,
    )


def test_it_is_all_there_after_reopening(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([passage("a"), passage("b", "A bridge in Nantes.")])
        store.delete(["a"])
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        assert [p.id for p in store.passages()] == ["b"]
        assert store.version == 3
        assert store.search("bridge", 5)[0].passage.id == "b"


def test_namespaces_keep_ids_apart_and_scopes_join_them(store: Store) -> None:
    store.add([passage(namespace=n) for n in [(), ("a",), ("a", "b"), ("ab",)]])
    assert store.namespaces() == [(), ("a",), ("a", "b"), ("ab",)]
    assert [store.count(n) for n in [(), ("a",), ("a", "b"), ("ab",), ("b",)]] == [4, 2, 1, 1, 0]
    assert len(store) == 4
    assert [p.namespace for p in store.passages(("a",))] == [("a",), ("a", "b")]
    assert store.delete(["a"], ("a",)) == 1
    assert not store.has("a", ("a",))
    assert store.has("a", ("a", "b"))


def test_an_error_on_duplicates_writes_nothing(store: Store) -> None:
    store.add([passage("a")])
    with pytest.raises(DuplicateId, match="'a' is taken"):
        store.add([passage("b"), passage("a")])
    with pytest.raises(DuplicateId, match="twice in one batch"):
        store.add([passage("c"), passage("c")])
    assert [p.id for p in store.passages()] == ["a"]
    assert store.version == 1


def test_replace_and_skip_hold_inside_the_batch_too(store: Store) -> None:
    store.add([passage("a", "first")])
    assert store.add(
        [passage("a", "second"), passage("b", "one"), passage("b", "two")], on_duplicate="skip"
    ) == ["b"]
    assert [p.text for p in store.get_many(["a", "b"])] == ["first", "one"]
    assert store.add(
        [passage("b", "three"), passage("a", "third"), passage("b", "four")],
        on_duplicate="replace",
    ) == ["a", "b"]
    assert [p.text for p in store.get_many(["b", "a"])] == ["four", "third"]
    assert len(store) == 2


def test_update_changes_what_is_given_and_encodes_only_changed_content(tmp_path: Path) -> None:
    encoder = HashEncoder()
    with Store(tmp_path / "a.db", encoder=encoder) as store:
        store.add([passage("a", title="Loire", metadata={"n": 1}, links=(Link("b"),))])
        before = encoder.texts_encoded
        assert store.update("a", metadata={"n": 2}).metadata == {"n": 2}
        assert store.update("a", links=[]).links == ()
        assert encoder.texts_encoded == before
        assert store.update("a", title=None).title is None
        assert store.update("a", text="A canal in Delft.").text == "A canal in Delft."
        assert encoder.texts_encoded == before + 2
        assert store.search("canal Delft", 1, mode="dense")[0].score == pytest.approx(1, abs=0.3)
        assert store.search("Loire", 1, mode="sparse") == []


def test_delete_is_all_or_nothing(store: Store) -> None:
    store.add([passage("a"), passage("b")])
    with pytest.raises(UnknownId, match="no passage has the id 'x' in the root namespace"):
        store.delete(["a", "x"])
    assert len(store) == 2
    assert store.delete(["a", "b", "a"]) == 2
    assert store.delete([]) == 0
    with store.reading() as connection:
        for table in ("passages", "links", "vectors"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0


def test_changes_name_what_is_new_and_what_is_gone(store: Store) -> None:
    store.add([passage("a"), passage("b"), passage("c")])
    start = store.changes(0)
    assert (start.version, len(start.written), start.deleted) == (3, 3, ())
    a, b, c = start.written
    store.update("a", text="changed")
    store.delete(["b"])
    store.add([passage("b")])
    later = store.changes(start.version)
    assert later.deleted == (b,)
    assert later.written[0] == a
    assert later.written[1] not in (a, b, c)  # a rowid is never given twice
    assert store.read_rows([a])[a].text == "changed"
    assert store.changes(store.version).written == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (passage(""), "id must not be empty"),
        (passage(" "), "id must not be empty"),
        (passage(3), "id must be a string, got int"),
        (passage(text=""), "passage 'a': the text must not be empty"),
        (passage(text=None), "the text must be a string"),
        (passage(text="\ud800"), "not valid Unicode"),
        (passage(title=7), "the title must be a string"),
        (passage(namespace="team"), r"tuple of strings such as \('team', 'ann'\), got 'team'"),
        (passage(namespace=("",)), "each part of a namespace must not be empty"),
        (passage(namespace=("a\x1f",)), "control character"),
        (passage(metadata={1: 2}), "keys must be strings, got 1"),
        (passage(metadata={"x": {1, 2}}), r"metadata\[\"x\"\] is a set"),
        (passage(metadata={"x": float("nan")}), r"metadata\[\"x\"\] is a number that JSON"),
        (passage(metadata=[1]), "must be a mapping, got list"),
        (passage(links=[Link("b")]), "must be a tuple of Link"),
        (passage(links=("b",)), "must be a tuple of Link"),
        (passage(links=(Link(""),)), "target must not be empty"),
        (passage(links=(Link("b", ""),)), "kind must not be empty"),
        (passage(links=(Link("b", weight=0),)), "above 0 and finite, got 0"),
        (passage(links=(Link("b", weight=float("inf")),)), "above 0 and finite"),
        (passage(links=(Link("b", weight=True),)), "above 0 and finite, got True"),
        (passage(links=(Link("b"), Link("b"))), "given twice"),
        ("text", "expected a Passage, got str"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(store: Store, wrong: Passage, says: str) -> None:
    with pytest.raises(InputError, match=says):
        store.add([passage("good"), wrong])
    assert len(store) == 0


def test_arguments_are_checked(store: Store) -> None:
    store.add([passage()])
    with pytest.raises(InputError, match="got one Passage"):
        store.add(passage())
    with pytest.raises(InputError, match="on_duplicate must be one of error, replace, skip"):
        store.add([passage()], on_duplicate="ignore")
    with pytest.raises(InputError, match="query must not be empty"):
        store.search("  ")
    with pytest.raises(InputError, match="k must be a whole number of at least 1, got 0"):
        store.search("x", 0)
    with pytest.raises(InputError, match="mode must be one of hybrid, dense, sparse, got 'both'"):
        store.search("x", mode="both")
    with pytest.raises(InputError, match="list of ids, got the string 'a'"):
        store.delete("a")
    with pytest.raises(UnknownId, match="in namespace x/y"):
        store.get("a", ("x", "y"))
    with pytest.raises(UnknownId):
        store.update("b", text="x")
    with pytest.raises(InputError, match="text must not be empty"):
        store.update("a", text="")


def test_without_an_encoder_it_reads_deletes_and_finds_by_words(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([passage("a", "A bridge."), passage("b", "A canal.")])
    with Store(tmp_path / "a.db") as store:
        assert store.search("bridges", mode="sparse")[0].passage.id == "a"
        assert store.update("a", links=[Link("b")]).links == (Link("b"),)
        for call in (
            lambda: store.add([passage("c")]),
            lambda: store.search("bridge"),
            lambda: store.search("bridge", mode="dense"),
            lambda: store.update("a", text="new"),
        ):
            with pytest.raises(EncoderMissing, match="needs an encoder"):
                call()
        assert store.delete(["a"]) == 1


def test_another_encoder_is_refused_by_name(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder(32)) as store:
        store.add([passage()])
        with pytest.raises(
            EncoderMismatch, match=r"made by encoder hash-32 \(32 dim\), got hash-16 \(16 dim\)"
        ):
            Store(tmp_path / "a.db", encoder=HashEncoder(16))
        store.delete(["a"])
    with Store(tmp_path / "a.db", encoder=HashEncoder(16)) as store:  # emptied: no vectors to mix
        store.add([passage()])
        assert store.search("Loire", 1, mode="dense")


def test_an_encoder_changed_under_an_open_store_is_noticed(tmp_path: Path) -> None:
    with (
        Store(tmp_path / "a.db", encoder=HashEncoder(32)) as one,
        Store(tmp_path / "a.db", encoder=HashEncoder(16)) as two,
    ):
        one.add([passage("a")])
        with pytest.raises(EncoderMismatch):
            two.add([passage("b")])
        with pytest.raises(EncoderMismatch):
            two.search("Loire", mode="dense")
        assert len(two) == 1


def test_an_encoder_that_breaks_its_promise_is_refused(tmp_path: Path) -> None:
    class Wrong(HashEncoder):
        def encode(self, texts):
            return super().encode(texts) * float("nan")

    with Store(tmp_path / "a.db", encoder=Wrong()) as store:
        with pytest.raises(InputError, match="not finite"):
            store.add([passage()])
        assert len(store) == 0


def test_files_that_are_no_store(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and it is longer than a header" * 50)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        Store(tmp_path / "text.db")
    with pytest.raises(StoreUnavailable, match="is a folder"):
        Store(tmp_path)
    with pytest.raises(StoreUnavailable, match="there is no folder"):
        Store(tmp_path / "no" / "a.db")
    with pytest.raises(StoreUnavailable, match="there is no store"):
        Store(tmp_path / "none.db", read_only=True)
    with pytest.raises(StoreUnavailable):
        Store("a\0b.db")
    with pytest.raises(InputError):
        Store("")
    assert not (tmp_path / "none.db").exists()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:

    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE passages (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="no hoptrail store"):
        Store(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db") as store, store.transaction() as connection:
        connection.execute("UPDATE migrations SET steps = 99 WHERE owner = 'memory'")
    with pytest.raises(SchemaMismatch, match="schema 99 of 'memory' and this hoptrail knows"):
        Store(tmp_path / "a.db")


def test_a_file_that_a_newer_version_changes_while_it_is_open_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store, Store(path, read_only=True) as reader:
        store.add([Passage("a", "a river")])
        store.search("river", 1)
        assert reader.count() == 1
        store.migrate("mine", ["CREATE TABLE mine (x)"])
        with sqlite3.connect(path) as newer:  # what belongs to nobody here is no matter
            newer.execute("CREATE TABLE theirs (x)")
            newer.execute("INSERT INTO migrations VALUES ('theirs', 7)")
        assert store.add([Passage("b", "a bridge")]) == ["b"]
        assert reader.count() == 2
        for owner, table in (("mine", "mine"), ("memory", "passages")):
            with sqlite3.connect(path) as newer:
                before = newer.execute("SELECT steps FROM migrations WHERE owner = ?", (owner,))
                (steps,) = before.fetchone()
                newer.execute("UPDATE migrations SET steps = 99 WHERE owner = ?", (owner,))
            with pytest.raises(SchemaMismatch, match=f"schema 99 of '{owner}'"):
                store.delete(["a"])  # though no table has changed yet
            with sqlite3.connect(path) as newer:
                newer.execute(f"ALTER TABLE {table} ADD COLUMN later")
            for call in (
                store.count,
                lambda: store.search("river", 1),
                lambda: store.add([Passage("c", "a mill")]),
            ):
                with pytest.raises(SchemaMismatch, match="written by a newer version"):
                    call()
            if owner == "memory":
                with pytest.raises(SchemaMismatch):
                    reader.count()
            else:
                assert reader.count() == 2
            with sqlite3.connect(path) as newer:
                newer.execute("UPDATE migrations SET steps = ? WHERE owner = ?", (steps, owner))
        assert store.count() == reader.count() == 2


def test_migrations_of_an_owner_run_once_and_in_order(tmp_path: Path) -> None:
    steps = [
        "CREATE TABLE graph_a (x); INSERT INTO graph_a VALUES (1);",
        "ALTER TABLE graph_a ADD COLUMN y;",
    ]
    with Store(tmp_path / "a.db") as store:
        store.migrate("graph", steps[:1])
        store.migrate("graph", steps)
        store.migrate("graph", steps)
        with store.reading() as connection:
            assert connection.execute("SELECT x, y FROM graph_a").fetchall() == [(1, None)]
        with pytest.raises(SchemaMismatch):
            store.migrate("graph", steps[:1])
        with pytest.raises(InputError):
            store.migrate("memory", [])
        with pytest.raises(StoreUnavailable), store.transaction():
            store.migrate("broken", ["CREATE TABLE graph_b (x); CREATE TABLE graph_b (x);"])
        with store.reading() as connection:
            assert not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'graph_b'"
            ).fetchall()


def test_a_transaction_is_undone_whole_and_an_inner_one_alone(store: Store) -> None:
    with pytest.raises(DuplicateId), store.transaction():
        store.add([passage("a"), passage("b")])
        store.add([passage("a")])
    assert len(store) == 0
    with store.transaction():
        store.add([passage("a")])
        with pytest.raises(DuplicateId):
            store.add([passage("a")])
        with pytest.raises(UnknownId), store.transaction():
            store.delete(["a"])
            store.delete(["b"])
    assert [p.id for p in store.passages()] == ["a"]


def test_read_only_reads_and_refuses_to_write(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add([passage()])
    with Store(tmp_path / "a.db", encoder=HashEncoder(), read_only=True) as store:
        assert store.search("Loire", 1)[0].passage.id == "a"
        for call in (lambda: store.add([passage("b")]), lambda: store.delete(["a"])):
            with pytest.raises(StoreError, match="read-only"):
                call()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store.close()
    store.close()
    assert repr(store) == f"<Store {tmp_path / 'a.db'}: closed>"
    with pytest.raises(StoreError, match="is closed"):
        store.count()


def test_its_state_reads_in_one_line(store: Store) -> None:
    assert repr(store).endswith("0 passages, 0 namespaces, version 0, encoder none yet>")
    store.add([passage(), passage(namespace=("a",))])
    assert repr(store).endswith("2 passages, 2 namespaces, version 2, encoder hash-32 (32 dim)>")
    assert store  # also when empty


def test_progress_reaches_the_total(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    store.add([passage(str(i)) for i in range(3)], progress=lambda *at: seen.append(at))
    assert seen[-1] == (3, 3)


def test_a_server_is_named_by_a_url(monkeypatch) -> None:
    with pytest.raises(InputError, match="must be a string"):
        Store(Path("postgresql://ann@host/memories"))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"hoptrail\[postgres\]"):
        Store("postgres://ann@host/memories")
