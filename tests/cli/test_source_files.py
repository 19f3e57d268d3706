"""Adding folders and files from the command line, again and again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.maintenance import unused
from hoptrail.memory.testing.hash_encoder import HashEncoder


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())


def write(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        file = root / f"{name.replace('__', '/')}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def held(store: Path) -> dict[str, str]:
    with Memory(store, encoder=None) as memory:
        return {passage.id: passage.text for passage in memory.store.passages()}


def test_upsert_replaces_a_document_whole_and_says_so(run, tmp_path) -> None:
    notes, store = write(tmp_path / "n", a="One.\n\n## Two\n\nx\n", b="B."), tmp_path / "a.db"
    assert run("upsert", "--store", store, notes)[0] == 0
    assert held(store) == {"a.md": "One.", "a.md#2": "x", "b.md": "B."}
    write(notes, a="One.\n", b="\n")
    code, out, err = run("upsert", "--store", store, notes)
    assert code == 0
    assert out == (
        f"0 passages added to {store}, 1 updated, 2 deleted, 0 unchanged; it holds 1 now\n"
    )
    assert "1 file read, 1 skipped\n" in err
    assert f"read: {notes / 'a.md'}\n" in err
    assert f"skipped: {notes / 'b.md'}: it holds no text\n" in err
    assert "deleted: a.md#2\n" in err
    assert held(store) == {"a.md": "One."}


def test_sync_follows_renames_and_deletions_of_its_own_folder_only(run, tmp_path) -> None:
    store = tmp_path / "a.db"
    one, two = write(tmp_path / "one", a="A.", s__b="B."), write(tmp_path / "two", c="C.")
    alone = write(tmp_path, d="D.") / "d.md"
    corpus = tmp_path / "c.jsonl"
    corpus.write_text('{"id": "own", "text": "Mine."}\n')
    assert run("upsert", "--store", store, one, two, alone, corpus)[0] == 0
    assert run("upsert", "--store", store, "--namespace", "team", one)[0] == 0
    (one / "a.md").rename(one / "z.md")
    (one / "s" / "b.md").unlink()
    code, out, _ = run("upsert", "--store", store, "--json", one)  # not told to sync
    assert (code, json.loads(out)["deleted"]) == (0, [])
    done = json.loads(run("upsert", "--store", store, "--json", "--sync", one)[1])
    assert sorted(done["deleted"]) == ["a.md", "s/b.md"]
    with Memory(store, encoder=None) as memory:
        names = sorted((p.namespace, p.id) for p in memory.store.passages())
    root = ["c.md", "d.md", "own", "z.md"]
    assert names == [*(((), id_) for id_ in root), (("team",), "a.md"), (("team",), "s/b.md")]


def test_a_folder_that_was_emptied_is_synced_to_nothing(run, tmp_path) -> None:
    notes, store = write(tmp_path / "n", a="A."), tmp_path / "a.db"
    run("upsert", "--store", store, notes)
    (notes / "a.md").unlink()
    code, _, err = run("upsert", "--store", store, notes)
    assert (code, "holds no file of a kind that is read" in err) == (1, True)
    assert run("upsert", "--store", store, "--sync", notes)[0] == 0
    assert held(store) == {}
    notes.rmdir()  # gone, or its disk is: that is no reason to forget
    code, _, err = run("upsert", "--store", store, "--sync", notes)
    assert (code, "does not exist" in err) == (1, True)
    (tmp_path / "d.md").write_text("D.")
    code, _, err = run("upsert", "--store", store, "--sync", tmp_path / "d.md")
    assert (code, "--sync goes with a folder" in err) == (1, True)


def test_folders_of_the_same_names_share_no_id(run, tmp_path) -> None:
    store = tmp_path / "a.db"
    folders = [
        write(tmp_path / place, README=f"# {place}\n\nSee [it](sub/x.md).", sub__x=f"X of {place}.")
        for place in ("a/docs", "b/docs", "c/docs", "d/docs")
    ]
    run("add", "--store", store, folders[0])
    for folder in folders[1:3]:
        assert run("upsert", "--store", store, folder)[0] == 0
    assert run("add", "--store", store, folders[3])[0] == 0
    texts = held(store)
    assert len(texts) == 8
    assert {"README.md", "sub/x.md", "docs/README.md", "docs/sub/x.md"} < texts.keys()
    with Memory(store, encoder=None) as memory:
        for passage in memory.store.passages():
            for link in passage.links:
                place = passage.title
                assert memory.get(link.target).text == f"X of {place}."
    for folder in reversed(folders):  # each is known again, and keeps its ids
        done = json.loads(run("upsert", "--store", store, "--sync", "--json", folder)[1])
        assert (len(done["unchanged"]), done["added"], done["deleted"]) == (2, [], [])


def test_a_folder_is_the_same_however_it_is_called(run, tmp_path, monkeypatch) -> None:
    store = tmp_path / "a.db"
    notes = write(tmp_path / "work" / "notes", a="A.", s__b="B.")
    (tmp_path / "link").symlink_to(notes)
    monkeypatch.chdir(tmp_path / "work")
    run("add", "--store", store, "notes")
    for spelled in ("./notes", "notes/", notes, "../work/notes", tmp_path / "link", "notes/s/../"):
        done = json.loads(run("upsert", "--store", store, "--sync", "--json", spelled)[1])
        assert (len(done["unchanged"]), done["added"], done["deleted"]) == (2, [], [])
    monkeypatch.chdir(notes / "s")
    done = json.loads(run("upsert", "--store", store, "--json", "b.md", "..", "../s/b.md")[1])
    assert (len(done["unchanged"]), done["added"], done["deleted"]) == (2, [], [])
    assert len(done["read"]) == 2
    code, _, err = run("add", "--store", store, notes)
    assert (code, "upsert writes what differs" in err) == (1, True)
    code, _, err = run("add", "--store", store, "--on-duplicate", "skip", notes)
    assert (code, "a.md: the memory has it: hoptrail upsert replaces it" in err) == (0, True)


def test_what_is_no_text_is_skipped_by_name(run, tmp_path, monkeypatch) -> None:
    notes = write(tmp_path / "n", a="A.", empty="  \n", node_modules__p="x", _="U.")
    write(notes, **{".git__c": "x", ".hidden": "x"})
    (notes / "UP.MD").write_text("Up.")
    (notes / "long.markdown").write_text("Long.")
    (notes / "p.png").write_bytes(b"\x89PNG")
    os.mkfifo(notes / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(notes)  # a socket's path is short
        server.bind("socket.txt")
    (tmp_path / "secret.md").write_text("secret")
    (notes / "out.md").symlink_to(tmp_path / "secret.md")
    (notes / "in.md").symlink_to(notes / "a.md")
    (notes / "other.md").symlink_to(notes / ".hidden.md")
    (notes / "broken.md").symlink_to(notes / "none.md")
    (notes / "cycle.md").symlink_to(notes / "cycle.md")
    (notes / "device.txt").symlink_to("/dev/zero")
    (notes / "up").symlink_to(tmp_path)
    (notes / "self").symlink_to(notes)
    os.close(os.open(os.fsencode(notes) + b"/\xff.md", os.O_CREAT))
    store = tmp_path / "a.db"
    code, out, err = run("add", "--store", store, "--json", notes)
    assert (code, "secret" in str(held(store))) == (0, False), err
    assert sorted(json.loads(out)["added"]) == [
        "UP.MD",
        "_.md",
        "a.md",
        "long.markdown",
        "other.md",
    ]
    why = {Path(one["path"]).name: one["why"] for one in json.loads(out)["skipped"]}
    assert why == {
        ".git": "hidden",
        ".hidden.md": "hidden",
        "node_modules": "a folder of installed packages",
        "p.png": "a .png file",
        "pipe.md": "a pipe",
        "socket.txt": "a socket",
        "out.md": "a link that leads out of the folder",
        "device.txt": "a link that leads out of the folder",
        "up": "a link that leads out of the folder",
        "self": "a link to a folder",
        "in.md": "a link to a.md",
        "broken.md": "a link that leads nowhere",
        "cycle.md": "a link that leads to itself",
        "?.md": "its name is not UTF-8",
        "empty.md": "it holds no text",
    }
    err = run("upsert", "--store", store, notes)[2]
    assert "skipped: " in err
    assert ": a pipe\n" in err


@pytest.mark.parametrize("command", ["add", "upsert", "import"])
@pytest.mark.parametrize("name", ["none.jsonl", "pipe.jsonl", "bad.jsonl", "big.md", "folder"])
def test_a_command_that_fails_leaves_no_store(run, tmp_path, command, name) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "text": "x", "v": 1e999}\n')
    (tmp_path / "big.md").write_text("x" * 5_000_001)
    (tmp_path / "folder").mkdir()
    store = tmp_path / "a.db"
    code, _, err = run(command, "--store", store, tmp_path / name)
    assert (code, err.count("\n"), name in err) == (1, 1, True)
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith("a.db")]


def test_a_failure_after_the_store_was_made_leaves_none(run, tmp_path, monkeypatch) -> None:
    notes = write(tmp_path / "n", a=f"Never encoded before: {tmp_path}.")
    store = tmp_path / "a.db"

    def broken(self, texts):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HashEncoder, "encode", broken)
        for command in ("add", "upsert"):
            assert run(command, "--store", store, notes)[0] == 130
            assert not store.exists()
    run("add", "--store", store, notes)
    assert run("add", "--store", store, notes)[0] == 1
    assert list(held(store)) == ["a.md"]


def test_a_store_that_somebody_uses_is_not_taken_away(tmp_path) -> None:
    store = tmp_path / "a.db"
    with Memory(store, encoder=HashEncoder()) as memory:
        assert not unused.discard(store)
        memory.add("kept")
    assert not unused.discard(store)
    with Memory(tmp_path / "b.db", encoder=HashEncoder()):
        pass
    assert unused.discard(tmp_path / "b.db")
    assert not unused.discard(tmp_path / "b.db")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("b.")] == []


def test_ids_do_not_depend_on_the_process(tmp_path) -> None:
    notes = write(tmp_path / "n", a="# A\n\nSee [[b]].", b="B.")
    code = (
        "from hoptrail.formats.jsonl import read_source; "
        f"print([(p.id, p.document, len(p.links)) for p in read_source({str(notes)!r})])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
        ).stdout
        for cwd in (tmp_path, notes)
    }
    assert len(seen) == 1


def test_a_sequence_of_documents_is_refused(run, tmp_path) -> None:
    notes = write(tmp_path / "n", a="A.")
    code, _, err = run("add", "--store", tmp_path / "a.db", "--sequence", "day", notes)
    assert (code, "--sequence goes with a corpus" in err) == (1, True)


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n\n"])
def test_a_corpus_of_no_passage_is_refused_and_makes_no_store(run, tmp_path, text) -> None:
    corpus, store = tmp_path / "c.jsonl", tmp_path / "a.db"
    corpus.write_text(text)
    for command in ("add", "upsert"):
        code, out, err = run(command, "--store", store, corpus)
        assert (code, out) == (1, "")
        assert err == f"hoptrail: {corpus}: no passage in it, so there is nothing to write\n"
    assert not store.exists()
    corpus.with_name("d.jsonl").write_text('{"id": "d", "text": "Said."}\n')
    assert run("add", "--store", store, corpus, corpus.with_name("d.jsonl"))[0] == 0
    assert held(store) == {"d": "Said."}
