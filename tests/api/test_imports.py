"""What cannot be imported is named by its line, nothing of it is written, and no store is left."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.cli.main import main
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.testing.hash_encoder import HashEncoder

HEAD = '{"hoptrail": 1, "encoder": "hash-32 (32 dim)"}'


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(encoders, "minilm", lambda **_: HashEncoder())
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


def line(**fields: object) -> str:
    return json.dumps({"id": "a", "text": "One.", **fields})


def with_vector(values: list[float] | np.ndarray) -> str:
    return line(vector=base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode())


GOOD = line(id="good")

WRONG = {
    "nothing": [],
    "no header": [GOOD],
    "another header": ['{"hoptrail": 99}', GOOD],
    "a header that is a list": ["[]", GOOD],
    "an encoder that is a number": ['{"hoptrail": 1, "encoder": 7}', with_vector([1.0])],
    "no JSON": [HEAD, GOOD, "{"],
    "cut short": [HEAD, GOOD, line(id="b")[:-9]],
    "NaN": [HEAD, GOOD, '{"id": "b", "text": "x", "metadata": {"x": NaN}}'],
    "a list": [HEAD, GOOD, "[1]"],
    "no text": [HEAD, GOOD, '{"id": "b"}'],
    "ids twice": [HEAD, GOOD, GOOD],
    "a namespace of numbers": [HEAD, GOOD, line(namespace=[1])],
    "a namespace that is a text": [HEAD, GOOD, line(namespace="a/b")],
    "a separator in a namespace": [HEAD, GOOD, line(namespace=["a\x1fb"])],
    "links that are none": [HEAD, GOOD, line(links=[7])],
    "a link of weight 0": [HEAD, GOOD, line(links=[{"target": "x", "kind": "y", "weight": 0}])],
    "a time that is none": [HEAD, GOOD, line(expires_at="later")],
    "metadata that is a list": [HEAD, GOOD, line(metadata=[1])],
    "counts that are none": [HEAD, GOOD, line(counts={"updates": -1})],
    "a vector of another width": [HEAD, GOOD, with_vector([1.0] * 31)],
    "a vector of NaN": [HEAD, GOOD, with_vector([float("nan")] * 32)],
    "a vector that is infinite": [HEAD, GOOD, with_vector([float("inf")] * 32)],
    "a vector of zeros": [HEAD, GOOD, with_vector([0.0] * 32)],
    "a vector that is too long": [HEAD, GOOD, with_vector([3e38] * 32)],
    "a vector in words": [HEAD, GOOD, line(vector="???")],
    "a vector that is a list": [HEAD, GOOD, line(vector=[1.0] * 32)],
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_imported_leaves_nothing(tmp_path: Path, what: str, capsys) -> None:
    file, new, old = tmp_path / "in.jsonl", tmp_path / "new.db", tmp_path / "old.db"
    file.write_text("".join(row + "\n" for row in WRONG[what]))
    with Memory(old, encoder=HashEncoder(), policy=None) as memory:
        memory.add("It stays.")
    for store in (new, old):
        assert main(["import", "--store", str(store), str(file)]) != 0
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(file) in said or "twice" in said
    assert not new.exists()
    with Memory(old, encoder=HashEncoder(), policy=None) as memory:
        assert memory.count() == 1


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path, capsys) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "unread")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "folder", "loop", "bytes"):
        assert main(["import", "--store", str(tmp_path / "new.db"), str(tmp_path / name)]) != 0
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert name in said
        assert not list(tmp_path.glob("new.db*"))
