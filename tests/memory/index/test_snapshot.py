"""Snapshots: a quick start when they are whole, and never a wrong answer when they are not."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import ConfigError
from hoptrail.memory.index import ann_types, dense, mapped_arrays, snapshot
from hoptrail.memory.index.ann import Approximate
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.outputs import output_files
from hoptrail.types import Passage

QUERIES = ["the old bridge in Delft", "a boat on the river", "king of the north city"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 10)


@pytest.fixture
def saved(tmp_path: Path, corpus: list[Passage]) -> Path:
    """A store with one snapshot, that of everything."""
    with Store(tmp_path / "a.db", encoder=HashEncoder()) as store:
        store.add(corpus)
        store.view()
    assert len(files(tmp_path / "a.db")) == 1
    return tmp_path / "a.db"


def files(path: Path) -> list[Path]:
    return sorted(path.with_name(path.name + ".index").iterdir())


def answers(path: Path, **options) -> list[list[tuple[str, float]]]:
    with Store(path, encoder=HashEncoder(), **options) as store:
        return [
            [(hit.passage.id, hit.score) for hit in store.search(query, 20, mode=mode)]
            for query in QUERIES
            for mode in ("hybrid", "dense", "sparse")
        ]


def built(path: Path) -> list[list[tuple[str, float]]]:
    """The answers without any snapshot."""
    with Store(path) as store, store.transaction() as connection:
        connection.execute("DELETE FROM snapshots")
    return answers(path)


def indexed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the portions of texts that are indexed from now on."""
    from hoptrail.memory.index.bm25 import SparseIndex

    seen: list[int] = []
    add = SparseIndex.add

    def counted(self, texts):
        seen.append(len(texts))
        add(self, texts)

    monkeypatch.setattr(SparseIndex, "add", counted)
    return seen


def test_the_next_to_open_indexes_only_what_is_new(saved: Path, monkeypatch, caplog) -> None:
    with Store(saved, encoder=HashEncoder()) as store:
        store.delete(["p0", "p1"])
        store.update("p2", text="a painter of bridges")
        store.add([Passage(id="new", text="an old bridge in a new city")])
    seen = indexed(monkeypatch)
    found = answers(saved)
    assert seen == [2]
    assert found == built(saved)
    assert not caplog.records


def test_it_is_written_again_when_enough_has_changed(saved: Path, corpus: list[Passage]) -> None:
    first = files(saved)
    with Store(saved, encoder=HashEncoder()) as store:
        store.add([Passage(id=f"n{i}", text=f"river {i}") for i in range(14)])
        store.view()
        assert files(saved) == first  # under a quarter
        store.delete([p.id for p in corpus[:10]])
        store.view()
    second = files(saved)
    assert len(second) == 1
    assert second != first
    assert answers(saved) == built(saved)


def test_every_scope_has_its_own(tmp_path: Path, corpus: list[Passage], monkeypatch) -> None:
    path = tmp_path / "a.db"
    with Store(path, encoder=HashEncoder()) as store:
        for space in ("ann", "ben"):
            store.add([Passage(id=p.id, text=p.text, namespace=(space,)) for p in corpus[:20]])
        for scope in ((), ("ann",), ("ben",)):
            store.view(scope)
    assert len(files(path)) == 3
    seen = indexed(monkeypatch)
    with Store(path, encoder=HashEncoder()) as store:
        assert {h.passage.namespace for h in store.search("river", namespace=("ann",))} == {
            ("ann",)
        }
        assert len(store.view()) == 40
    assert seen == []


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
def test_a_damaged_one_is_named_and_built_again(saved: Path, damage, caplog) -> None:
    file = files(saved)[0]
    damage(file)
    found = answers(saved)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert str(file) in caplog.text
    assert "rebuilt from the store" in caplog.text
    caplog.clear()
    assert found == answers(saved) == built(saved)
    assert not caplog.records  # a good one took its place
    assert files(saved) != [file]


def test_one_of_another_store_is_not_taken(saved: Path, tmp_path: Path, caplog) -> None:
    other = tmp_path / "other.db"
    with Store(other, encoder=HashEncoder()) as store:
        store.add([Passage(id=f"p{i}", text=f"bridge {i}") for i in range(60)])
        store.view()
    files(saved)[0].write_bytes(files(other)[0].read_bytes())
    found = answers(saved)
    assert "cannot be used" in caplog.text
    assert found == built(saved)


def test_objects_are_not_read_even_under_the_right_checksum(saved: Path, caplog) -> None:
    file = files(saved)[0]
    with file.open("w+b") as out:
        digest = mapped_arrays.write(out, {"rowids": np.arange(60)})
        out.seek(0)
        content = out.read().replace(b'"<i8"', b'"|O"' + b" ")
        table = content[content.index(b"{") :]
        out.seek(0)
        out.write(content)
    with Store(saved) as store, store.transaction() as connection:
        digest = hashlib.sha256(table).hexdigest()
        connection.execute("UPDATE snapshots SET sha256 = ?", (digest,))
    found = answers(saved)
    assert "holds objects" in caplog.text
    assert found == built(saved)


@pytest.mark.parametrize("kind", ["sq8", "lsh", "hnsw", "ivf-sq8", "ivf-pq"])
@pytest.mark.parametrize("damage", [truncate, flip])
def test_faiss_never_reads_damaged_bytes(tmp_path: Path, kind, damage, monkeypatch, caplog) -> None:
    path = tmp_path / "a.db"
    monkeypatch.setattr(ann_types, "LEAST", 100)
    monkeypatch.setattr(dense, "EXACT_SHARE", 1.0)
    with Store(path, encoder=HashEncoder(), index=kind) as store:
        store.add([Passage(id=f"p{i}", text=f"river {i} bridge {i % 7}") for i in range(400)])
        assert f", {kind}, drift 0 %>" in repr(store.view())
    expected = answers(path, index=kind)
    caplog.set_level(logging.INFO)
    assert answers(path, index=kind) == expected
    assert not caplog.records  # it came from the snapshot
    damage(files(path)[0])
    trusted: list[object] = []
    restore = Approximate.restore
    monkeypatch.setattr(Approximate, "restore", lambda *a: trusted.append(a) or restore(*a))
    answers(path, index=kind)
    assert not trusted
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO", "INFO"]
    assert "rebuilt from the store" in caplog.text
    assert f"training the dense index ({kind}) on 400 passages" in caplog.text
    assert answers(path, index=kind)
    assert len(trusted) == 1


def test_another_kind_is_trained_once_and_kept(saved: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(ann_types, "LEAST", 20)
    caplog.set_level(logging.INFO)
    for _ in range(3):
        answers(saved, index="ivf")
    assert caplog.text.count("training the dense index (ivf)") == 1
    caplog.clear()
    assert answers(saved) == built(saved)  # "auto": exact again, for so few
    with pytest.raises(ConfigError, match=r"index must be one of auto, flat, .*, got 'annoy'"):
        Store(saved, index="annoy")


def test_arrays_of_a_snapshot_stay_where_they_lie(saved: Path) -> None:
    with Store(saved) as store:
        view = store.view()
        base = view.dense._rows.parts()[0][1]
        assert not base.flags.writeable
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(getattr(base, "obj", base), mmap.mmap)


def test_one_of_another_format_is_passed_over(saved: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(snapshot, "FORMAT", snapshot.FORMAT + 1)
    seen = indexed(monkeypatch)
    answers(saved)
    assert seen == [60]
    assert not caplog.records
    answers(saved)
    assert seen == [60]  # the new format's was written


def test_a_name_that_leads_elsewhere_touches_nothing(saved: Path, tmp_path: Path, caplog) -> None:
    precious = tmp_path / f"precious.v{snapshot.FORMAT}"
    precious.write_text("mine")
    with Store(saved) as store, store.transaction() as connection:
        connection.execute("UPDATE snapshots SET file = ?", (f"../{precious.name}",))
    assert answers(saved)
    assert "cannot be used" in caplog.text
    assert precious.read_text() == "mine"


def test_a_read_only_store_reads_one_and_writes_none(saved: Path, monkeypatch) -> None:
    expected = answers(saved)
    seen = indexed(monkeypatch)
    assert answers(saved, read_only=True) == expected
    assert seen == []
    file = files(saved)[0]
    file.unlink()
    assert answers(saved, read_only=True) == expected
    assert files(saved) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, corpus, caplog) -> None:
    (tmp_path / "a.db.index").write_text("in the way")
    found = answers_of_new(tmp_path / "a.db", corpus)
    assert "no snapshot of the indexes could be written" in caplog.text
    (tmp_path / "a.db.index").unlink()
    assert found == answers(tmp_path / "a.db")


def answers_of_new(path: Path, corpus: list[Passage]) -> list[list[tuple[str, float]]]:
    with Store(path, encoder=HashEncoder()) as store:
        store.add(corpus)
    return answers(path)


def test_what_a_killed_writer_left_is_removed(saved: Path) -> None:
    folder = saved.with_name("a.db.index")
    left = folder / ".hoptrail-0123456789abcdef.part"
    left.write_bytes(b"half")
    with (
        output_files.scratch(folder / "fresh") as fresh,
        Store(saved, encoder=HashEncoder()) as store,
    ):
        store.add([Passage(id="n", text="river")])
        assert store.view().save()
        assert fresh.exists()
    assert not left.exists()


@pytest.mark.parametrize("read_whole", [0, mapped_arrays.READ_WHOLE])
@pytest.mark.parametrize("left", [0, 100, 5000])
def test_a_file_that_is_cut_short_while_it_is_in_use_is_no_crash(
    saved: Path, read_whole: int, left: int, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(mapped_arrays, "READ_WHOLE", read_whole)
    with Store(saved, encoder=HashEncoder()) as store:
        expected = [hit.passage.id for hit in store.search("river")]
        [file] = (saved.with_name("a.db.index")).glob("*.v*")
        os.truncate(file, left)
        assert [hit.passage.id for hit in store.search("river")] == expected
        assert [hit.passage.id for hit in store.search("river", mode="sparse")]
        assert ("was cut short" in caplog.text) == (read_whole == 0)
        store.delete([expected[0]])
        assert [hit.passage.id for hit in store.search("river", 9)] == expected[1:10]


CUT = """
import os, sys
from pathlib import Path
import numpy as np
from hoptrail.memory.index import mapped_arrays
file = Path(sys.argv[1])
with file.open("w+b") as out:
    digest = mapped_arrays.write(out, {"vectors": np.ones(12_000_000, dtype=np.float32)})
vectors = mapped_arrays.read_arrays(file, digest)["vectors"]
os.truncate(file, 0)
print(int(vectors.sum(dtype=np.float64)))
"""


def test_a_file_of_fifty_megabytes_may_be_cut_short_in_the_middle_of_a_search(tmp_path) -> None:
    command = [sys.executable, "-c", CUT, str(tmp_path / "arrays")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "12000000"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="such files cannot be removed there")
def test_nobody_may_write_to_an_index_file(saved: Path) -> None:
    [file] = saved.with_name("a.db.index").glob("*.v*")
    assert not file.stat().st_mode & 0o222


def test_an_emptied_store_with_another_encoder_starts_from_it_too(saved: Path) -> None:
    with Store(saved) as store:
        store.delete([p.id for p in store.passages()])
    with Store(saved, encoder=HashEncoder(16)) as store:
        store.add([Passage(id="a", text="a river"), Passage(id="b", text="a bridge")])
        assert [h.passage.id for h in store.search("bridge")] == ["b", "a"]


def test_another_process_was_faster(saved: Path) -> None:
    with (
        Store(saved, encoder=HashEncoder()) as one,
        Store(saved, encoder=HashEncoder()) as two,
    ):
        early, late = one.view(), two
        late.add([Passage(id="n", text="a river")])
        assert late.view().save()
        newest = files(saved)
        assert early.save()  # it stands for less, and leaves the newer alone
        assert files(saved) == newest
