"""Where files are written: never over a memory, and nothing stays of a writer that was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hoptrail import FormatError, Memory, Passage
from hoptrail.cli.main import main
from hoptrail.errors import HoptrailError
from hoptrail.formats.jsonl import write_json
from hoptrail.memory.index import snapshot
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.outputs import output_files


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(snapshot, "MINIMUM", 3)
    file = tmp_path / "a.db"
    with Memory(file, encoder=HashEncoder(), policy=None) as memory:
        memory.add([Passage(f"p{i}", f"The boat {i} lies in Larvik.") for i in range(9)])
        memory.search("boat", 1)
    (tmp_path / "link.db").symlink_to(file)
    (tmp_path / "hard.db").hardlink_to(file)
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    return file


SPELLINGS = [
    "a.db",
    "link.db",
    "hard.db",
    "round/a.db",
    "cache/../a.db",
    "a.db-wal",
    "a.db-shm",
    "a.db-journal",
    "link.db-wal",
    "a.db.index",
    "a.db.index/new.json",
    "round/a.db.index/deep",
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_nothing_is_written_over_a_memory_whatever_it_is_called(store: Path, name: str) -> None:
    place = store.parent / name
    before = {f: f.read_bytes() for f in store.parent.rglob("*") if f.is_file()}
    with Memory(store, encoder=HashEncoder(), policy=None) as memory:
        with pytest.raises(HoptrailError, match=r"cannot be written|folder"):
            memory.export(place)
        with pytest.raises(HoptrailError):
            memory.backup(place)
    with pytest.raises(FormatError):
        write_json(place, {})
    with pytest.raises(FormatError):
        output_files.output_path(place)
    assert main(["export", "--store", str(store), str(place)]) == 1
    left = {f for f in store.parent.rglob("*") if f.is_file()}
    assert {f for f in left if f not in before} == set()
    assert all(f.read_bytes() == data for f, data in before.items() if f in left)
    with Memory(store, encoder=HashEncoder(), policy=None) as memory:
        assert memory.count() == 9


def test_an_export_follows_a_link_to_an_ordinary_file(store: Path, tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "to.jsonl").symlink_to("real.jsonl")
    with Memory(store, encoder=HashEncoder(), policy=None) as memory:
        assert memory.export(tmp_path / "to.jsonl") == 9
    assert (tmp_path / "to.jsonl").is_symlink()
    assert len((tmp_path / "real.jsonl").read_text().splitlines()) == 10


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "loop", tmp_path / "pipe", "/dev/null", "a\0b", tmp_path / "no" / "x"):
        with pytest.raises(FormatError, match=r"path for a file|no regular file|no folder"):
            output_files.output_path(place)


KILLED = """
import sys, time
from pathlib import Path
from hoptrail.outputs.output_files import scratch, scratch_folder
how = {"scratch": lambda: scratch(Path(sys.argv[2])), "check": scratch_folder}
with how[sys.argv[1]]() as place:
    (place / "copy" if place.is_dir() else place).write_text("half")
    place.with_name(place.name + "-journal").write_text("") if place.is_file() else None
    print(place, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("what", ["scratch", "check"])
def test_what_a_killed_writer_leaves_is_removed_and_a_living_one_is_let_be(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "mine.part").write_text("somebody's")
    (tmp_path / ".hoptrail-notes.part").write_text("somebody's")
    command = [sys.executable, "-c", KILLED, what, str(tmp_path / "x.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        place = Path(writer.stdout.readline().strip())
        assert output_files.sweep(tmp_path) == 0
        assert place.exists()
        writer.send_signal(signal.SIGKILL)
    time.sleep(0.01)
    with output_files.scratch_folder(), output_files.scratch(tmp_path / "y.jsonl"):
        assert not place.exists()
    assert sorted(f.name for f in tmp_path.iterdir()) == [".hoptrail-notes.part", "mine.part"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_scratch_file_is_readable_by_nobody_else_from_its_beginning(
    tmp_path: Path, mask: int, mode: int
) -> None:
    like = tmp_path / "a.db"
    like.touch()
    like.chmod(mode)
    before = os.umask(mask)
    try:
        with output_files.scratch(tmp_path / "b", like) as part:
            assert stat.S_IMODE(part.stat().st_mode) == mode & ~mask
        output_files.private_folder(tmp_path / "index", like)
        folder = stat.S_IMODE((tmp_path / "index").stat().st_mode)
        assert folder & 0o007 == 0
        assert bool(folder & 0o050) == bool(mode & ~mask & 0o040)
    finally:
        os.umask(before)
