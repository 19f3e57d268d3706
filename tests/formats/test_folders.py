"""After any sequence of edits, a memory that was synced equals one that was made afresh."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hoptrail import Memory
from hoptrail.errors import DuplicateId, FormatError, InputError
from hoptrail.formats.documents import Document, Sources, first_ids, passages_of
from hoptrail.formats.jsonl import read_folder, read_source, read_sources
from hoptrail.memory.testing.hash_encoder import HashEncoder

NAMES = st.sampled_from(["a.md", "b.md", "README.md", "s/a.md", "s/README.md", "s/t/c.txt", "é.md"])
PARTS = st.sampled_from(
    [
        "# One\n\nalpha\n\n",
        "## Two\n\nbeta\n\n",
        "gamma [x](a.md) ",
        "[[README]]\n",
        "---\ntags: [x]\n---\n",
        "\n",
        "delta " * 300,
    ]
)
TEXTS = st.lists(PARTS, max_size=4).map("".join)


class Edited(RuleBasedStateMachine):
    """Two folders with files of the same names, edited and synced in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.folders = [self.place / "x" / "notes", self.place / "y" / "notes"]
        self.fresh = 0
        self.synced: set[int] = set()
        for folder in self.folders:
            folder.mkdir(parents=True)
        self.memory = Memory(self.place / "a.db", encoder=HashEncoder())
        self.memory.add({"id": "own", "text": "My own."})

    @rule(which=st.integers(0, 1), name=NAMES, text=TEXTS)
    def write(self, which: int, name: str, text: str) -> None:
        file = self.folders[which] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    @rule(which=st.integers(0, 1), name=NAMES)
    def delete(self, which: int, name: str) -> None:
        (self.folders[which] / name).unlink(missing_ok=True)

    @rule(which=st.integers(0, 1), name=NAMES, to=NAMES)
    def rename(self, which: int, name: str, to: str) -> None:
        file, target = self.folders[which] / name, self.folders[which] / to
        if file.exists() and file != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    @rule(which=st.integers(0, 1), name=NAMES)
    def upsert_one(self, which: int, name: str) -> None:
        file = self.folders[which] / name
        if file.exists() and which in self.synced:
            self.memory.upsert(read_source(file))

    @rule(which=st.integers(0, 1), spelled=st.booleans())
    def sync(self, which: int, spelled: bool) -> None:
        folder = self.folders[which]
        given = folder / ".." / "notes" if spelled else folder
        self.memory.upsert(read_folder(given, empty=True), sync=True)
        there = self.texts(self.memory, folder)
        with Memory(self.place / f"fresh{self.fresh}.db", encoder=HashEncoder()) as memory:
            self.fresh += 1
            memory.upsert(read_folder(folder, empty=True))
            assert there == self.texts(memory, folder)
        self.synced.add(which)

    @invariant()
    def nothing_else_changed(self) -> None:
        assert self.memory.get("own").text == "My own."
        ids = [passage.id for passage in self.memory.store.passages()]
        assert len(ids) == len(set(ids))

    def texts(self, memory: Memory, folder: Path) -> list[tuple[object, ...]]:
        """A folder's passages, by what does not depend on who else has the same names."""
        prefix = f"{folder.resolve().as_posix()}/"
        mine = [p for p in memory.store.passages() if (p.document or "").startswith(prefix)]
        names = {p.id: (p.document, p.id.partition("#")[2]) for p in mine}
        return sorted(
            (
                *names[p.id],
                p.title or "",
                p.text,
                str(p.metadata.get("heading")),
                str(p.metadata.get("tags")),
                sorted((names[link.target], link.kind) for link in p.links),
            )
            for p in mine
        )

    def teardown(self) -> None:
        self.memory.close()
        shutil.rmtree(self.place)


TestEdited = Edited.TestCase
TestEdited.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)


def test_a_document_given_through_the_memory_is_replaced_too(tmp_path) -> None:
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.upsert(passages_of({"a.md": "# A\n\nx\n\n## B\n\ny", "b.md": "z"}), namespace=("n",))
        memory.upsert(list(passages_of({"a.md": "# A\n\nx"})), namespace=("n",))
        assert sorted(p.id for p in memory.store.passages()) == ["a.md", "b.md"]
        done = memory.upsert(passages_of({"a.md": "\n"}), namespace=("n",))
        assert done.deleted == ("a.md",)
        memory.add(passages_of({"a.md": "again"}), namespace=("n",))
        with pytest.raises(DuplicateId, match="upsert writes what differs"):
            memory.add(passages_of({"a.md": "again"}), namespace=("n",))
        hits = memory.search("again", 3, ("n",), mode="sparse")
        memory.upsert([hit.passage for hit in hits])  # a result that is written back
        assert sorted(p.id for p in memory.store.passages()) == ["a.md", "b.md"]
        for given in ("x", passages_of({"a.md": "x"}), []):
            with pytest.raises(InputError, match="sync takes what read_folder"):
                memory.upsert(given, sync=True)


def test_a_users_own_passage_keeps_its_id(tmp_path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.md").write_text("From the file.")
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add({"id": "a.md", "text": "My own."})
        assert memory.upsert(read_source(tmp_path / "n")).added == ("n/a.md",)
        assert memory.add(passages_of({"a.md": "Third."})) == [
            next(p.id for p in memory.store.passages() if p.text == "Third.")
        ]
        assert memory.get("a.md").text == "My own."
        assert memory.count() == 3


def test_links_lead_to_documents_that_the_memory_has_already(tmp_path) -> None:
    notes = tmp_path / "n"
    notes.mkdir()
    (notes / "a.md").write_text("See [b](b.md) and [[b]].")
    (notes / "b.md").write_text("B.")
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.upsert(read_source(notes))
        (notes / "a.md").write_text("Still see [b](b.md).")
        memory.upsert(read_source(notes / "a.md"))
        assert [link.target for link in memory.get("a.md").links] == ["b.md"]
        (notes / "b.md").unlink()
        memory.upsert(read_source(notes), sync=True)
        assert memory.get("a.md").links == ()


def test_odd_names_are_ids_of_their_own(tmp_path) -> None:
    names = ["a.md", "a.md#2", "a.md#2#2", "é.md", unicodedata.normalize("NFD", "é.md"), "b\nc.md"]
    documents = [Document(name, "x", f"/r/{name}", "/r") for name in names]
    ids = first_ids(documents, {}, lambda ids: {})
    assert len(set(ids.values())) == len(names)
    assert ids["/r/a.md"] == "a.md"
    later = {f"{base}#{number}" for base in ids.values() for number in range(2, 9)}
    assert later.isdisjoint(ids.values())
    parts = passages_of({"a.md": "# A\n\nx\n\n## B\n\ny", "a.md#2": "text", "a.md%232": "other"})
    assert len({part.id for part in parts}) == 4


def test_a_file_named_twice_is_read_once_and_suffixes_have_no_case(tmp_path) -> None:
    (tmp_path / "A.MD").write_text("# Up")
    (tmp_path / "a.Txt").write_text("text")
    sources = read_sources([tmp_path, tmp_path / "A.MD", tmp_path / "." / "a.Txt"])
    assert (len(sources.read), [d.path for d in sources.documents]) == (2, ["A.MD", "a.Txt"])
    assert isinstance(sources, Sources)
    assert [p.title for p in sources] == ["Up", "a"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_a_file_is_read(tmp_path, encoding) -> None:
    (tmp_path / "a.md").write_bytes("# Über\r\n\r\nGrün\rund\fblau".encode(encoding))
    (only,) = read_source(tmp_path / "a.md")
    assert (only.title, only.text) == ("Über", "Grün\nund\fblau")


def test_a_file_that_is_no_text_is_named(tmp_path) -> None:
    (tmp_path / "a.md").write_bytes("fine\nno".encode("utf-16-le"))
    with pytest.raises(FormatError, match=r"a\.md, line 1: holds a null character"):
        read_folder(tmp_path)
    (tmp_path / "a.md").write_bytes(b"\xff\xfea")
    with pytest.raises(FormatError, match=r"a\.md: not UTF-16-LE"):
        read_folder(tmp_path)
    (tmp_path / "a.md").write_bytes(b"x" * 5_000_001)
    with pytest.raises(FormatError, match=r"a\.md has more than 5,000,000 characters"):
        read_source(tmp_path / "a.md")


def test_a_line_that_is_too_long_is_named_before_it_is_held(tmp_path) -> None:
    file = tmp_path / "c.jsonl"
    with file.open("wb") as out:
        out.write(b'{"id": "a", "text": "x"}\n{"id": "b", "text": "')
        out.truncate(out.tell() + 300_000_000)
    with pytest.raises(FormatError, match=r"line 2: longer than 64,000,000 bytes"):
        list(read_source(file))
    text = "x" * 1_000_001
    file.write_text(f'{{"id": "a", "text": "{text}"}}\n')
    with pytest.raises(FormatError, match=r'line 1: "text" has 1,000,001 characters'):
        list(read_source(file))


@pytest.mark.parametrize("number", ["1e999", "-1e400", "NaN", "[[1e999]]", "9" * 5000])
def test_numbers_that_json_cannot_carry_on_are_named_with_their_line(tmp_path, number) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(f'{{"id": "a", "text": "x"}}\n{{"id": "b", "text": "y", "v": {number}}}\n')
    with pytest.raises(FormatError, match="line 2: not valid JSON"):
        list(read_source(file))
    file.write_text(
        f'{{"id": "a", "text": "x", "links": [{{"target": "b", "weight": {"9" * 400}}}]}}'
    )
    with pytest.raises(FormatError, match='line 1, in a link: "weight" must be a number above 0'):
        list(read_source(file))


def test_a_pipe_is_refused_at_once(tmp_path) -> None:
    for name in ("p.jsonl", "p.md"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(FormatError, match="is a pipe: give a regular file"):
            read_source(tmp_path / name)
    with pytest.raises(FormatError, match="is a device"):
        read_sources([_device(tmp_path)])


def _device(folder: Path) -> Path:
    link = folder / "d.txt"
    link.symlink_to("/dev/zero")
    return link


@pytest.mark.parametrize(
    "given",
    [
        None,
        ["a.md"],
        {1: "x"},
        {"a.md": None},
        {"a.md": b"x"},
        {" ": "x"},
        {"a.md": "\ud800"},
        {"a.md": "x" * 5_000_001},
        {"a.txt": "x" * 20_000_001},
    ],
)
def test_documents_that_are_none_are_refused_in_a_sentence(given) -> None:
    with pytest.raises(InputError):
        passages_of(given)


@pytest.mark.parametrize("path", [None, 5, b"a.md", ["a.md"]])
def test_a_source_that_is_no_path_is_refused_in_a_sentence(path) -> None:
    with pytest.raises(InputError, match="a source is a path, got"):
        read_source(path)


def test_a_document_and_a_passage_given_together_keep_ids_of_their_own(tmp_path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a.md").write_text("From the file.")
    (tmp_path / "c.jsonl").write_text('{"id": "a.md", "text": "From the corpus."}')
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        sources = read_sources([tmp_path / "n", tmp_path / "c.jsonl"])
        assert sorted(memory.upsert(sources).added) == ["a.md", "n/a.md"]
        assert memory.upsert(sources).added == ()


def test_an_id_that_another_process_takes_meanwhile_is_left_to_it(tmp_path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "a.md").write_text(f"Text of {folder.name}, {tmp_path}.")

    class Slow(HashEncoder):
        def encode(self, texts):
            if folders:
                with Memory(tmp_path / "a.db", encoder=HashEncoder()) as other:
                    other.upsert(read_source(folders.pop()))
            return super().encode(texts)

    with Memory(tmp_path / "a.db", encoder=Slow()) as memory:
        assert memory.upsert(read_source(tmp_path / "one")).added == ("one/a.md",)
        assert memory.get("a.md").text.startswith("Text of two")
