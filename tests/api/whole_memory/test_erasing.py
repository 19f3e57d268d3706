"""A purge reaches every place and forgets nothing; no file is more readable than the memory."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hoptrail import Memory, Passage
from hoptrail.errors import StoreError
from hoptrail.memory.index import snapshot
from hoptrail.memory.testing.hash_encoder import HashEncoder

SECRET = "The vault of Quillon opens with heliotrope marmalade."


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 3)
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


def opened(path: Path) -> Memory:
    return Memory(path, encoder=HashEncoder(), policy=None)


def filled(path: Path) -> None:
    with opened(path) as memory:
        memory.add([Passage(f"p{i}", f"The boat {i} lies in Larvik.") for i in range(5)])
        memory.add(Passage("secret-id", SECRET, "Quillon", {"x": "heliotrope"}, ("quillwort",)))
        memory.graph.view(memory.store.view())
        memory.search("boat", 1)
        memory.search("vault", 1, ("quillwort",))
        memory.store.view(("quillwort",)).save()
        memory.store.view().save()


def files_with(folder: Path, *needles: bytes) -> list[str]:
    """The files below a folder that hold one of some strings of bytes."""
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and any(needle in file.read_bytes() for needle in needles)
    )


def needles() -> list[bytes]:
    [vector] = HashEncoder().encode([f"Quillon. {SECRET}"])
    words = [b"heliotrope", b"Quillon", b"quillon", b"secret-id", b"quillwort"]
    return [*words, vector.tobytes()]


@pytest.mark.parametrize("through", ["link.db", "folder/a.db", "a.db"])
def test_a_purge_through_a_link_leaves_nothing(tmp_path: Path, through: str) -> None:
    (tmp_path / "real").mkdir()
    filled(tmp_path / "real" / "a.db")
    (tmp_path / "folder").symlink_to("real", target_is_directory=True)
    (tmp_path / "link.db").symlink_to("real/a.db")
    (tmp_path / "a.db").symlink_to("link.db")
    with opened(tmp_path / through) as memory:
        memory.search("boat", 1)
        memory.store.view().save()
        memory.delete("secret-id", ("quillwort",))
        memory.purge()
        assert files_with(tmp_path, *needles()) == []
        assert memory.verify() == []
        assert memory.purge().contents == 0


def test_a_purge_finds_the_cache_of_another_day(tmp_path: Path, monkeypatch) -> None:
    filled(tmp_path / "a.db")
    assert any("cache" in file for file in files_with(tmp_path, *needles()))
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "elsewhere"))
    with opened(tmp_path / "a.db") as memory:
        memory.delete("secret-id", ("quillwort",))
        assert memory.purge().cached_vectors == 1
    assert files_with(tmp_path, *needles()) == []


def test_a_purge_erases_all_else_and_keeps_on_record_what_it_could_not(
    tmp_path: Path, monkeypatch
) -> None:
    from hoptrail.memory.encoders import cache_file

    filled(tmp_path / "a.db")
    [cache] = (tmp_path / "cache").glob("*.db")
    real = sqlite3.connect
    monkeypatch.setattr(
        cache_file.sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "timeout": 0})
    )
    with opened(tmp_path / "a.db") as memory:
        memory.delete("secret-id", ("quillwort",))
        busy = real(cache, isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="cache"):
            memory.purge()
        assert {Path(f).parts[0] for f in files_with(tmp_path, *needles())} == {"cache"}
        busy.close()
        assert memory.purge().cached_vectors == 1
    assert files_with(tmp_path, *needles()) == []


def test_a_purge_follows_a_store_that_was_renamed(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    (tmp_path / "a.db").rename(tmp_path / "b.db")
    with opened(tmp_path / "b.db") as memory:
        memory.delete("secret-id", ("quillwort",))
        memory.purge()
    assert files_with(tmp_path, *needles()) == []


KILLED = """
import os, sys, signal
from pathlib import Path
from hoptrail import Memory
from hoptrail.memory.testing.hash_encoder import HashEncoder
replace = os.replace
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
memory = Memory(sys.argv[1], encoder=HashEncoder(), policy=None)
how, target = sys.argv[2:]
if how == "check":
    from hoptrail.graph import maintenance
    maintenance._differences = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
    memory.verify()
{"backup": memory.backup, "export": memory.export}[how](target)
"""


@pytest.mark.parametrize("how", ["backup", "export", "check"])
def test_what_a_killed_command_left_is_gone_after_the_next(
    tmp_path: Path, how: str, monkeypatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    filled(tmp_path / "a.db")
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.db"), how, str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert any(b"Larvik" in file.read_bytes() for file in left)
    with opened(tmp_path / "a.db") as memory:
        memory.repair() if how == "check" else memory.export(tmp_path / "whole.jsonl")
    assert not {f for f in left if f.exists() and not f.name.startswith("a.db")}


@pytest.mark.parametrize("mask", [0o000, 0o022])
@pytest.mark.parametrize("mode", [0o600, 0o640])
@pytest.mark.parametrize("widened", [True, False])
def test_no_file_is_more_readable_than_the_memory(
    tmp_path: Path, mask: int, mode: int, widened: bool
) -> None:
    before = os.umask(mask)
    try:
        opened(tmp_path / "a.db").close()
        if widened:
            (tmp_path / "a.db.index").mkdir(mode=0o777)
        (tmp_path / "a.db").chmod(mode)
        filled(tmp_path / "a.db")
        with opened(tmp_path / "a.db") as memory:
            memory.add("More.")  # so that there is a log
            memory.backup(tmp_path / "b.db")
            memory.export(tmp_path / "c.jsonl")
            (tmp_path / "d.jsonl").write_text("as anybody may read it")
            (tmp_path / "d.jsonl").chmod(0o666)
            memory.export(tmp_path / "d.jsonl")
            modes = {
                str(file.relative_to(tmp_path)): stat.S_IMODE(file.stat().st_mode)
                for file in tmp_path.rglob("*")
                if file.is_file()
            }
            index = stat.S_IMODE((tmp_path / "a.db.index").stat().st_mode)
    finally:
        os.umask(before)
    assert {f: m for f, m in modes.items() if m & ~mode} == {}
    assert index & 0o007 == 0
    assert mode & 0o040 or index & 0o070 == 0
    assert any("-wal" in file for file in modes)
    assert any(".index/" in file for file in modes)
