"""Bulk ingest through Ray Data: each passage once, also when the writer is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import DuplicateId, EncoderMismatch, MissingExtra
from hoptrail.integrations.ray_ingest import KEY, EncodingWorker, ingest_dataset, passage_key
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

KILLED = """
import os, signal, sys
import ray
from hoptrail import Memory
from hoptrail.integrations.ray_ingest import ingest_dataset
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

plain, batches = Store.add, []


def add(self, *args, **options):
    if len(batches) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    batches.append(plain(self, *args, **options))
    return batches[-1]


Store.add = add
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
rows = [{"id": f"p{i}", "text": f"river {i} under bridge {i % 7}"} for i in range(40)]
with Memory(sys.argv[1], encoder=HashEncoder()) as memory:
    ingest_dataset(memory, ray.data.from_items(rows), HashEncoder, batch=4)
"""
ROWS = [{"id": f"p{i}", "text": f"river {i} under bridge {i % 7}"} for i in range(40)]

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
"""Ray's own, of its settings."""


@pytest.fixture(scope="module")
def ray() -> Iterator:
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112, or workers wait for minutes on a busy machine
    library = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    library.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield library
    library.shutdown()


def contents(memory: Memory) -> dict[str, str]:
    return {passage.id: passage.content for passage in memory.store.passages()}


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory,
        pytest.raises(MissingExtra, match=r"pip install 'hoptrail\[ray\]'"),
    ):
        ingest_dataset(memory, None, HashEncoder)


def test_a_worker_encodes_only_what_is_not_there() -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra `ray` is not installed")
    texts: list[str] = []

    class Counting(HashEncoder):
        def encode(self, given_texts):
            texts.extend(given_texts)
            return super().encode(given_texts)

    there = Passage("p1", ROWS[1]["text"], namespace=("team",))
    other = Passage("p2", ROWS[2]["text"], metadata={"page": 3}, namespace=("team",))
    keys = np.array(sorted([passage_key(there), passage_key(other)]), dtype=KEY)
    rows = EncodingWorker(Counting, keys, ("team",))(pa.Table.from_pylist(ROWS[:3])).to_pylist()
    assert texts == [ROWS[0]["text"], ROWS[2]["text"]]
    assert [row["record"] is None for row in rows] == [False, False, True]


@pytest.mark.slow
def test_a_data_set_is_written_once_and_killed_runs_go_on(ray, tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    file = tmp_path / "a.db"
    code = subprocess.run(
        [sys.executable, "killed.py", str(file)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
    ).returncode
    assert code == -signal.SIGKILL
    dataset = ray.data.from_items(ROWS)
    with (
        Memory(file, encoder=HashEncoder()) as memory,
        Memory(tmp_path / "plain.db", encoder=HashEncoder()) as plain,
    ):
        before = len(memory)
        assert 0 < before < len(ROWS)
        done = ingest_dataset(memory, dataset, HashEncoder, batch=4)
        assert (done.written, done.present, done.skipped) == (40 - before, before, 0)
        again = ingest_dataset(memory, dataset, HashEncoder, batch=16)
        assert (again.written, again.present) == (0, 40)
        plain.add(ROWS)
        assert contents(memory) == contents(plain)
        scores = [
            [(hit.passage.id, hit.score) for hit in one.search("river 3 under bridge", k=5)]
            for one in (memory, plain)
        ]
        assert scores[0] == scores[1]


@pytest.mark.slow
def test_another_content_under_an_id_is_as_on_duplicate_says(ray, tmp_path: Path) -> None:
    rows = [ROWS[0], {"id": "p1", "text": "another text"}, {"text": "a text without an id"}]
    dataset = ray.data.from_items(rows[:2])
    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(ROWS[:2])
        with pytest.raises(DuplicateId, match="p1"):
            ingest_dataset(memory, dataset, HashEncoder)
        done = ingest_dataset(memory, dataset, HashEncoder, on_duplicate="skip")
        assert (done.written, done.present, done.skipped) == (0, 1, 1)
        assert memory.get("p1").text == ROWS[1]["text"]
        done = ingest_dataset(memory, dataset, HashEncoder, on_duplicate="replace")
        assert (done.written, done.present, done.skipped) == (1, 1, 0)
        assert memory.get("p1").text == "another text"
        dated = ray.data.from_items([{**rows[1], "year": 1893, "links": ["p0"]}])
        for written in (1, 0):  # other metadata is another passage, and once written the same
            done = ingest_dataset(memory, dated, HashEncoder, on_duplicate="replace")
            assert (done.written, done.present) == (written, 1 - written)
        assert memory.get("p1").metadata == {"year": 1893}
        nameless = ray.data.from_items([rows[2], rows[2]])
        done = ingest_dataset(memory, nameless, HashEncoder, namespace=("team",))
        assert (done.written, done.present) == (1, 1)
        assert memory.count(namespace=("team",)) == 1


@pytest.mark.slow
def test_vectors_of_another_encoder_are_refused(ray, tmp_path: Path) -> None:
    from functools import partial

    with Memory(tmp_path / "a.db", encoder=HashEncoder()) as memory:
        memory.add(ROWS[:2])
        with pytest.raises(EncoderMismatch):
            ingest_dataset(memory, ray.data.from_items(ROWS), partial(HashEncoder, dim=8))
