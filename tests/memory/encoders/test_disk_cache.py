"""The vector cache: no text is encoded twice, and what it gives is what was encoded."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders import disk_cache
from hoptrail.memory.encoders.disk_cache import CachedEncoder, cache_folder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.types import Passage

TEXTS = ["river", "bridge", "an old bridge", "river", "\ud800 half a pair"]


def cached(tmp_path: Path, dim: int = 32, **options) -> CachedEncoder:
    return CachedEncoder(HashEncoder(dim), tmp_path / "cache", **options)


def test_a_hit_is_identical_and_the_encoder_is_not_asked(tmp_path: Path) -> None:
    first = cached(tmp_path)
    vectors = first.encode(TEXTS)
    assert first.inner.texts_encoded == 4  # the repeated one once
    assert np.array_equal(vectors, HashEncoder().encode(TEXTS))
    assert np.array_equal(first.encode(TEXTS), vectors)
    assert first.inner.texts_encoded == 4
    first.close()
    second = cached(tmp_path)
    assert np.array_equal(second.encode(TEXTS[::-1]), vectors[::-1])
    assert second.inner.texts_encoded == 0
    assert second.encode(["river", "new"]).shape == (2, 32)
    assert second.inner.texts_encoded == 1
    second.close()


def test_it_is_an_encoder_and_keeps_encoders_apart(tmp_path: Path) -> None:
    wide, narrow = cached(tmp_path), cached(tmp_path, 8)
    assert isinstance(wide, Encoder)
    assert (wide.fingerprint, wide.dim) == ("hash-32", 32)
    assert wide.encode(["river"]).shape == (1, 32)
    assert narrow.encode(["river"]).shape == (1, 8)
    assert wide.encode([]).shape == (0, 32)
    wide.close()
    narrow.close()


def test_a_vector_of_a_wrong_length_is_made_again(tmp_path: Path) -> None:
    first = cached(tmp_path)
    expected = first.encode(["river"])
    first.close()
    connection = sqlite3.connect(tmp_path / "cache" / "vectors-hash-32.db")
    connection.execute("UPDATE vectors SET v = x'00'")
    connection.commit()
    connection.close()
    second = cached(tmp_path)
    assert np.array_equal(second.encode(["river"]), expected)
    assert second.inner.texts_encoded == 1
    second.close()


class Named(HashEncoder):
    """An encoder of a given fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint


@pytest.mark.parametrize("name", ["BAAI/bge-m3", "../../other", "a\\b", "a\nb", "long" * 100])
def test_whatever_an_encoder_is_called_its_vectors_lie_in_the_folder_and_can_be_erased(
    tmp_path: Path, name: str
) -> None:
    cache = CachedEncoder(Named(name), tmp_path / "cache")
    cache.encode(["a secret"])
    cache.close()
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.parent == tmp_path / "cache"
    assert disk_cache.erase_vectors([cache_key("a secret")], tmp_path / "cache") == 1


def test_a_plain_fingerprint_stands_in_the_name_of_the_file(tmp_path: Path) -> None:
    cache = CachedEncoder(Named("openai:text-embedding-3-small"), tmp_path)
    cache.encode(["a"])
    cache.close()
    assert [file.name for file in tmp_path.iterdir()] == [
        "vectors-openai:text-embedding-3-small.db"
    ]


def test_progress_counts_different_texts_also_those_it_had(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk_cache, "CHUNK", 2)
    first = cached(tmp_path)
    first.encode(["one"])
    first.close()
    seen: list[tuple[int, int]] = []
    second = cached(tmp_path, progress=lambda *at: seen.append(at))
    second.encode(["one", "two", "three", "four", "two"])
    assert seen == [(3, 4), (4, 4)]
    second.close()


def test_what_was_encoded_before_a_failure_is_kept(tmp_path: Path, monkeypatch) -> None:
    class Failing(HashEncoder):
        def encode(self, texts):
            if self.texts_encoded:
                raise MemoryError
            return super().encode(texts)

    monkeypatch.setattr(disk_cache, "CHUNK", 2)
    first = CachedEncoder(Failing(), tmp_path / "cache")
    with pytest.raises(MemoryError):
        first.encode(["a", "bb", "ccc", "dddd"])
    first.close()
    second = cached(tmp_path)
    second.encode(["a", "bb", "ccc", "dddd"])
    assert second.inner.texts_encoded == 2
    second.close()


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    monkeypatch.delenv("HOPTRAIL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "hoptrail"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_the_folder_in_use_stays_where_it_is_when_the_system_s_moves(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("HOPTRAIL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "hoptrail"
    (tmp_path / ".cache" / "hoptrail").mkdir(parents=True)
    assert cache_folder() == tmp_path / ".cache" / "hoptrail"


def test_a_store_caches_passages_and_never_queries(tmp_path: Path) -> None:
    encoder = cached(tmp_path)
    with Store(tmp_path / "a.db", encoder=encoder) as store:
        store.add([Passage(id="a", text="an old bridge")])
        before = encoder.inner.texts_encoded
        for _ in range(2):
            assert store.search("bridge", 1, mode="dense")[0].passage.id == "a"
        assert encoder.inner.texts_encoded == before + 2
    with Store(tmp_path / "b.db", encoder=encoder) as store:
        store.add([Passage(id="a", text="an old bridge")])
        assert encoder.inner.texts_encoded == before + 2
    encoder.close()
