"""A passage longer than the encoder's window is found by what stands in any part of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.errors import FormatError, InputError
from hoptrail.memory import Compressed, Half, Pipeline, Prefix, Scalar, Search, Sign
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders import disk_cache
from hoptrail.memory.encoders.windows import SHARE, encode_passages, split_windows, windows_of
from hoptrail.memory.index import snapshot
from hoptrail.memory.maintenance.export import export
from hoptrail.memory.search.codecs import Codec
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

FILLER = "the quarterly report describes shipping markets and weather along that coast. "
FACT = "zebra quartz violin"
LONG = FILLER * 12 + FACT + ". " + FILLER
WINDOW = 20


class Narrow(HashEncoder):
    """Reads twenty words at once; a token is a word of at most five letters, or a part of one."""

    window = WINDOW

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [sum(-(-len(word) // 5) for word in re.findall(r"\w+|[^\w\s]", t)) for t in texts]

    def encode(self, texts):
        assert max(self.count_tokens(texts), default=0) <= self.window, "read more than it can"
        return super().encode(texts)


def distractors() -> list[dict[str, str]]:
    return [{"id": f"d{i}", "text": f"report {i} of weather and markets."} for i in range(30)]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    with Memory(tmp_path / "a.db", encoder=Narrow(), policy=None) as opened:
        opened.add([{"id": "long", "text": LONG}, *distractors()])
        yield opened


def best(memory: Memory, query: str = FACT) -> tuple[str, float]:
    hit = memory.search(query, 1, mode="dense")[0]
    return hit.passage.id, hit.score


def rows(memory: Memory, id: str = "long", table: str = "vectors") -> np.ndarray:
    with memory.store.reading() as connection:
        blob = connection.execute(
            f"SELECT v.vector FROM {table} v JOIN passages p ON p.rowid = v.passage WHERE p.id = ?",
            (id,),
        ).fetchone()[0]
    return np.frombuffer(blob, "<f4").reshape(-1, memory.store.encoder.dim)


def test_the_fact_at_the_end_is_found_among_distractors(memory: Memory) -> None:
    found, score = best(memory)
    assert found == "long"
    assert score > 0.3
    assert memory.search(FACT, 1)[0].passage.id == "long"
    stored = rows(memory)
    assert len(stored) == 1 + len(windows_of(Narrow(), [LONG])[0])
    assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)
    assert score > float(stored[0] @ Narrow().encode([FACT])[0]) + 0.1, "drowned in the mean"
    assert len(rows(memory, "d0")) == 1


@pytest.mark.parametrize("codec", [None, Half(), Scalar(), Sign()], ids=repr)
def test_a_first_stage_that_looks_at_parts_of_vectors_sees_the_windows(
    memory: Memory, codec: Codec | None
) -> None:
    dims = memory.store.encoder.dim
    stage = Prefix(dims, keep=99) if codec is None else Compressed(codec, keep=99)
    for round in range(3):  # what it has worked out grows with the windows, and goes with them
        hits = memory.search(FACT, 99, pipeline=Pipeline([stage]))
        scores = {hit.passage.id: hit.score for hit in hits}
        assert hits[0].passage.id == "long"
        rescored = memory.search(FACT, 99, pipeline=Pipeline([Search("sparse", keep=99), stage]))
        assert [hit.score for hit in rescored] == [scores[hit.passage.id] for hit in rescored]
        if not isinstance(codec, Sign):  # else it is nearly the whole vector
            exact = {h.passage.id: h.score for h in memory.search(FACT, 99, mode="dense")}
            assert scores == pytest.approx(exact, abs=0.01)
        memory.add({"id": f"other-{round}", "text": LONG.replace(FACT, f"amber lantern {round}")})
        if round == 1:
            memory.delete(["other-0", "other-1"])


def test_what_the_best_window_has_over_the_whole_counts_in_part(memory: Memory) -> None:
    whole, *windows = rows(memory) @ Narrow().encode([FACT])[0]
    assert max(windows) > whole + 0.1
    assert best(memory)[1] == pytest.approx(whole + SHARE * (max(windows) - whole), abs=1e-5)


def test_the_vector_of_the_whole_weighs_each_part_of_a_text_by_its_length() -> None:
    words = [f"w{i}" for i in range(70)]
    head = Narrow(64).encode([" ".join(words[:WINDOW])])[0]
    lengths = [WINDOW + 1, WINDOW + 2, 30, 40, 70]
    wholes = [encode_passages(Narrow(64), [" ".join(words[:n])])[0][0] for n in lengths]
    assert np.linalg.norm(wholes, axis=1) == pytest.approx(1, abs=1e-6)
    near = [float(whole @ head) for whole in wholes]
    assert near == sorted(near, reverse=True)
    assert near[0] > 0.99
    assert near[-1] < 0.8


def test_a_text_that_is_the_beginning_of_a_long_one_is_no_duplicate_of_it(memory: Memory) -> None:
    words = [f"word{i}" for i in range(100)]
    memory.add({"id": "hundred", "text": " ".join(words)})
    for count in (WINDOW // 2, WINDOW):
        quoted = " ".join(words[:count])
        done = memory.add_distinct([{"id": f"{count}", "text": quoted}], then="skip")
        assert done.ids == [f"{count}"]


def test_every_way_to_write_has_the_windows_and_follows_the_text(memory: Memory) -> None:
    memory.update("long", text="short now")
    assert best(memory)[1] < 0.3
    assert len(rows(memory)) == 1
    memory.upsert([{"id": "long", "text": LONG}])
    assert best(memory)[0] == "long"
    memory.add([{"id": "long", "text": FILLER}], on_duplicate="replace")
    assert best(memory)[1] < 0.3
    memory.update("long", text=LONG)
    assert best(memory)[0] == "long"
    memory.delete("long")
    assert best(memory)[1] < 0.3
    with memory.store.reading() as connection:
        widths = connection.execute("SELECT DISTINCT length(vector) FROM vectors").fetchall()
    assert widths == [(128,)]
    memory.add_distinct([{"id": "again", "text": LONG}])
    assert best(memory)[0] == "again"
    assert memory.verify() == []


def test_what_a_long_text_quotes_is_no_duplicate_of_it(memory: Memory) -> None:
    quoted = windows_of(Narrow(), [LONG])[0][-1]
    assert best(memory, quoted)[0] == "long"
    done = memory.add_distinct([{"id": "quoted", "text": quoted}], then="skip")
    assert done.duplicates == ()
    assert memory.audit().duplicates == ()


def test_a_copy_of_the_memory_answers_the_same(memory: Memory, tmp_path: Path) -> None:
    expected = best(memory)
    memory.backup(tmp_path / "backup.db")
    export(memory.store, tmp_path / "export.jsonl", vectors=True)
    with Memory(tmp_path / "backup.db", encoder=Narrow(), policy=None) as copy:
        assert best(copy) == expected
    blind = Narrow()
    with Memory(tmp_path / "import.db", encoder=blind, policy=None) as copy:
        copy.import_file(tmp_path / "export.jsonl")
        assert blind.texts_encoded == 0
        assert best(copy) == expected
        assert np.array_equal(rows(copy), rows(memory))


def test_a_snapshot_has_the_windows(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MINIMUM", 5)
    expected = best(memory)
    assert memory.store.view().save()
    with Memory(tmp_path / "a.db", encoder=Narrow(), policy=None) as again:
        view = again.store.view()
        assert len(view.dense._windows) == len(rows(memory)) - 1
        assert best(again) == expected
        again.delete("long")
        assert best(again)[1] < 0.3


def test_a_change_of_encoder_makes_windows_of_the_next_one(memory: Memory) -> None:
    class Wider(Narrow):
        window = 60

    before = len(rows(memory))
    memory.change_encoder(Wider(48))
    assert 1 < len(rows(memory)) < before
    assert best(memory)[0] == "long"
    memory.change_encoder(HashEncoder(40))
    assert len(rows(memory)) == 1
    memory.change_encoder(Narrow(24))
    assert len(rows(memory)) == before
    assert best(memory)[0] == "long"
    assert memory.verify() == []


def test_a_purge_erases_the_windows_from_the_cache(memory: Memory, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "vectors-hash-32.db"

    def cached() -> list[int]:
        with closing(sqlite3.connect(cache)) as db:
            keys = (cache_key(LONG),)
            return [r[0] for r in db.execute("SELECT length(v) FROM vectors WHERE key = ?", keys)]

    stored = rows(memory)
    assert cached() == [stored.nbytes]
    memory.delete("long")
    assert memory.purge().cached_vectors == 1
    assert cached() == []
    left = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert not any(row.tobytes() in left for row in stored)


def test_a_cached_vector_of_a_text_that_was_cut_is_made_again(tmp_path: Path) -> None:
    cut = disk_cache.CachedEncoder(HashEncoder(), tmp_path)
    cut.encode([LONG, "short"])
    cut.close()
    whole = disk_cache.CachedEncoder(Narrow(), tmp_path)
    long, short = whole.encode_passages([LONG, "short"])
    assert (len(long) > 2, len(short)) == (True, 1)
    made = whole.inner.texts_encoded
    assert made == len(long), "its windows, and what a pass reads of its beginning"
    again = whole.encode_passages(["short", LONG, LONG])
    assert whole.inner.texts_encoded == made
    assert np.array_equal(again[1], long)
    assert np.array_equal(whole.encode([LONG])[0], long[0])
    whole.close()


def test_info_says_how_many_passages_were_split(
    memory: Memory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.add({"id": "other", "text": LONG + " in ann's", "namespace": ["ann"]})
    memory.close()
    assert main(["info", "--store", str(tmp_path / "a.db"), "--json"]) == 0
    assert '"split_passages": 2' in capsys.readouterr().out
    assert main(["info", "--store", str(tmp_path / "a.db"), "--namespace", "ann"]) == 0
    assert "1 longer than the encoder's window" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v * 2,
        lambda v: v * np.nan,
        lambda v: np.concatenate([v[:-1], v[-1:] * 0]),
        lambda v: v.ravel()[:-1],
        lambda v: v[:0],
    ],
    ids=["long", "NaN", "a zero window", "cut", "empty"],
)
def test_an_imported_vector_that_is_none_is_refused_with_its_line(
    memory: Memory, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    import base64
    import json

    file = tmp_path / "export.jsonl"
    export(memory.store, file, vectors=True)
    lines = file.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if '"id": "long"' in line)
    record = json.loads(lines[number])
    vectors = np.frombuffer(base64.b64decode(record["vector"]), "<f4").reshape(-1, 32)
    record["vector"] = base64.b64encode(change(vectors).astype("<f4").tobytes()).decode()
    lines[number] = json.dumps(record)
    file.write_text("\n".join(lines))
    with Memory(tmp_path / "b.db", encoder=Narrow(), policy=None) as other:
        with pytest.raises(FormatError, match=f"export.jsonl, line {number + 1}: the vector"):
            other.import_file(file)
        assert len(other) == 0


def test_a_damaged_vector_of_several_is_found_and_repaired(memory: Memory) -> None:
    expected = best(memory)
    stored = rows(memory)
    for wrong in (stored[:, :-1], stored * 3, stored[:0]):
        with memory.store.transaction() as connection:
            connection.execute(
                "UPDATE vectors SET vector = ? "
                "WHERE passage = (SELECT rowid FROM passages WHERE id = 'long')",
                (wrong.tobytes(),),
            )
        assert [problem.what for problem in memory.verify()] == ["vector"]
        memory.repair()
        assert memory.verify() == []
        assert best(memory) == expected


@pytest.mark.parametrize(
    "wrong", [np.full(32, np.nan), np.ones(32), np.ones(31), np.zeros((2, 32)), "none", None]
)
def test_vectors_given_with_passages_are_looked_at(memory: Memory, wrong: object) -> None:
    passage = Passage(id="given", text="an old bridge")
    with pytest.raises(InputError, match="the vectors of passage 'given'"):
        memory.store.restore([passage], {((), "given"): wrong}, made_by="hash-32 (32 dim)")
    assert "given" not in [p.id for p in memory.store.passages()]


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(FILLER.split()),
        st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po"]), min_size=1, max_size=90),
        st.just("\n\n"),
        st.just("码头上的船长写信给医生。"),
    ),
    min_size=1,
    max_size=120,
).map(lambda words: " ".join(f"{i}{word}" for i, word in enumerate(words)))  # each but once


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, window=st.integers(1, 40))
def test_windows_fit_and_nothing_of_the_text_is_left_out(text: str, window: int) -> None:
    encoder = Narrow()
    parts = split_windows(encoder, text, window)
    assert all(count <= max(window, 1) for count in encoder.count_tokens(parts))
    at = 0  # up to where the text is covered
    for part in parts:  # each goes on where the last one ended, or before
        starts = [m.start() for m in re.finditer(f"(?={re.escape(part)})", text)]
        fitting = [start for start in starts if not text[at:start].strip()]
        assert fitting
        at = max(at, max(fitting) + len(part))
    assert not text[at:].strip()


def test_windows_end_at_sentences_and_overlap() -> None:
    parts = split_windows(Narrow(), "".join(f"thing {i} is one. " for i in range(40)), 48)
    assert all(part.endswith(".") for part in parts)
    assert all(one.split(". ")[-1] in other for one, other in pairwise(parts))
    parts = split_windows(Narrow(), " ".join(f"w{i}" for i in range(100)), 48)
    assert all(one.split()[-6:] == other.split()[:6] for one, other in pairwise(parts))


def test_a_text_that_fits_is_one_vector_with_the_bits_of_the_encoder() -> None:
    texts = ["an old bridge", "river"]
    for encoder in (HashEncoder(), Narrow()):
        vectors = encode_passages(encoder, texts)
        assert [v.shape for v in vectors] == [(1, 32), (1, 32)]
        assert np.concatenate(vectors).tobytes() == encoder.encode(texts).tobytes()


def test_progress_counts_texts_and_not_windows(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with Store(tmp_path / "a.db", encoder=Narrow()) as store:
        store.add(
            [Passage(id=str(i), text=f"{i} {LONG}") for i in range(3)],
            progress=lambda *at: seen.append(at),
        )
    assert seen == [(0, 3), (3, 3)]
