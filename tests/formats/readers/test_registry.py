"""Readers are found by suffix, other packages' first; a folder says what was not read, and why."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, FormatError
from hoptrail.formats import FileContent, FileReader, read_folder, read_source
from hoptrail.formats.jsonl import read_sources
from hoptrail.formats.readers import registry
from hoptrail.memory.testing.hash_encoder import HashEncoder


def shout(path: Path) -> FileContent:
    return FileContent(path.read_text().upper(), "plain", remarks=("the lower case",))


class CountingEncoder(HashEncoder):
    """Counts the texts that it encodes."""

    count = 0

    def encode(self, texts):
        self.count += len(texts)
        return super().encode(texts)


SHOUTS = FileReader("a shout", (".shout", ".bib"), shout)


@pytest.fixture
def installed(monkeypatch):
    """Makes entry points of a name in this module be there."""

    def install(name: str) -> None:
        entry = EntryPoint("x", f"{__name__}:{name}", registry.ENTRY_POINTS)
        monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[name])
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
        registry.file_readers.cache_clear()

    yield install
    monkeypatch.undo()
    registry.file_readers.cache_clear()


def test_a_reader_of_another_package_goes_before_ours(tmp_path, installed) -> None:
    installed("SHOUTS")
    for name in ("a.shout", "b.bib"):
        (tmp_path / name).write_text("tea")
    source = read_folder(tmp_path)
    assert [passage.text for passage in source] == ["TEA", "TEA"]
    assert {one.why for one in source.remarks()} == {"the lower case"}


def test_an_entry_point_that_is_no_reader_is_refused(installed) -> None:
    installed("shout")
    with pytest.raises(ConfigError, match="is no FileReader"):
        registry.file_readers()


def test_a_mixed_folder_says_what_was_not_read_and_why(tmp_path, docx_writer) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    docx_writer(folder / "fram.docx", "Fram", "She was built in Larvik.")
    files = {
        "note.md": "# Note\n\nSee [[refs]] and [the table](t.csv).",
        "refs.bib": "@book{a, title={Boats}}",
        "t.csv": "id,text\nx,Tea.\n",
        "bad.csv": "a,b\n1\n",
        "settings.json": "{}",
        "broken.pdf": "no",
        "c.jsonl": '{"id": "a", "text": "x"}',
        "p.png": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    source = read_folder(folder)
    why = {one.path: one.why for one in source.skipped}
    assert sorted(why) == ["bad.csv", "broken.pdf", "c.jsonl", "p.png", "settings.json"]
    assert why["bad.csv"] == "line 2: 1 cells under 2 columns"
    assert why["c.jsonl"] == "a .jsonl file: a corpus is given by its own path"
    assert why["settings.json"].startswith("is neither a chat log")
    assert why["broken.pdf"].startswith("cannot be converted: ")
    note = next(passage for passage in source if passage.id == "note.md")
    assert [link.target for link in note.links] == ["t.csv"]
    with pytest.raises(FormatError, match=r"settings\.json is neither"):
        read_source(folder / "settings.json")


def test_a_second_run_encodes_and_writes_nothing_and_what_is_gone_goes(tmp_path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "t.csv").write_text("text\nTea.\nRum.\n")
    (folder / "m.py").write_text("def hoist():\n    pass\n")
    encoder = CountingEncoder()
    with Memory(tmp_path / "a.db", encoder=encoder) as memory:
        assert len(memory.upsert(read_folder(folder), sync=True).added) == 3
        count = encoder.count
        again = memory.upsert(read_folder(folder), sync=True)
        assert (again.added, again.updated, len(again.unchanged)) == ((), (), 3)
        (folder / "t.csv").write_text("text\nRum.\n")
        (folder / "m.py").unlink()
        last = memory.upsert(read_folder(folder), sync=True)
        assert (last.added, last.updated) == ((), ("t.csv",))
        assert sorted(last.deleted) == ["m.py", "t.csv#2"]
        assert (count, encoder.count) == (3, 3)  # what moved has its vector


def test_a_file_that_cannot_be_read_any_more_is_skipped_and_not_forgotten(tmp_path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "t.csv").write_text("text\nTea.\n")
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.upsert(read_sources([folder]), sync=True)
        (folder / "t.csv").write_text("text\nTea.,Rum.\n")
        source = read_sources([folder])
        assert [Path(one.path).name for one in source.skipped] == ["t.csv"]
        assert memory.upsert(source, sync=True).deleted == ()
        (folder / "t.csv").unlink()
        (folder / "a.md").write_text("A.")
        assert memory.upsert(read_sources([folder]), sync=True).deleted == ("t.csv",)


def test_without_the_extra_what_needs_it_is_named_and_the_rest_is_read(tmp_path) -> None:
    (tmp_path / "a.pdf").write_text("%PDF-1.4")
    (tmp_path / "b.csv").write_text("text\nTea.\n")
    code = f"""
import sys
sys.modules["markitdown"] = None
from hoptrail.formats import read_folder
source = read_folder({str(tmp_path)!r})
print([p.text for p in source], source.skipped[0].path, source.skipped[0].why)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['Tea.'] a.pdf PDF, Word and HTML need a converter")
    assert "hoptrail[documents]" in done.stdout
