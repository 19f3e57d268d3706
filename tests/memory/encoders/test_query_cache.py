"""Queries remembered in memory: the same vectors, of the right encoder, and how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hoptrail import Memory, Passage
from hoptrail.errors import ConfigError
from hoptrail.memory.encoders.query_cache import CacheStats, QueryCache, RememberingEncoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.networks.network_config import NetworkConfig
from hoptrail.policies.networks.policy_network import PolicyNetwork
from hoptrail.policies.policy import Policy


def test_what_was_encoded_lately_is_not_encoded_again() -> None:
    encoder, cache = HashEncoder(), QueryCache(3)
    first = cache.encode(encoder, ["a", "b", "a"])
    assert np.array_equal(first, HashEncoder().encode(["a", "b", "a"]))
    assert encoder.texts_encoded == 2
    assert np.array_equal(cache.encode(encoder, ["b", "c", "a"]), encoder.encode(["b", "c", "a"]))
    assert cache.stats == CacheStats(hits=3, misses=3, kept=3, room=3)
    assert cache.stats.rate == 0.5
    cache.encode(encoder, ["d"])  # b is the oldest now
    before = encoder.texts_encoded
    cache.encode(encoder, ["c", "a", "d"])
    assert encoder.texts_encoded == before
    cache.encode(encoder, ["b"])
    assert encoder.texts_encoded == before + 1
    cache.clear()
    assert cache.stats.kept == 0


def test_another_encoder_never_meets_these_vectors() -> None:
    cache = QueryCache(10)
    narrow, wide = HashEncoder(8), HashEncoder(16)
    assert cache.encode(narrow, ["a"]).shape == (1, 8)
    assert np.array_equal(cache.encode(wide, ["a"]), wide.encode(["a"]))
    assert RememberingEncoder(wide, cache).fingerprint == wide.fingerprint


def test_a_caller_s_changes_do_not_reach_the_cache() -> None:
    encoder, cache = HashEncoder(), QueryCache(10)
    cache.encode(encoder, ["a"])[:] = 0
    cache.encode(encoder, ["a"])[:] = 0
    assert np.array_equal(cache.encode(encoder, ["a"]), encoder.encode(["a"]))


def test_without_room_nothing_is_kept_and_wrong_room_is_refused(tmp_path: Path) -> None:
    encoder, cache = HashEncoder(), QueryCache(0)
    for _ in range(2):
        cache.encode(encoder, ["a", "a"])
    assert (encoder.texts_encoded, cache.stats) == (4, CacheStats(0, 0, 0, 0))
    for wrong in (-1, 1.5, True):
        with pytest.raises(ConfigError, match="at least 0"):
            Memory(tmp_path / "a.db", queries_kept=wrong)


def test_threads_share_a_cache() -> None:
    encoder, cache = HashEncoder(), QueryCache(20)
    words = [f"word {i % 40}" for i in range(400)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda word: cache.encode(encoder, [word])[0], words))
    assert np.array_equal(np.stack(found), HashEncoder().encode(words))
    assert cache.stats.kept == 20
    assert cache.stats.hits + cache.stats.misses == 400


def test_a_memory_remembers_and_what_is_written_is_found_all_the_same(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "vectors"))  # no other test's vectors
    encoder = HashEncoder()
    with Memory(tmp_path / "a.db", encoder=encoder) as memory:
        memory.add([Passage("a", "an old stone bridge"), Passage("b", "a river")])
        for _ in range(3):
            memory.search("stone bridge", 1)
        before = encoder.texts_encoded
        memory.update("b", text="a stone bridge")
        assert memory.search("stone bridge", 1)[0].passage.text == "a stone bridge"
        assert encoder.texts_encoded == before + 1  # the passage, not the query
        info = memory.store.cache_info()
        assert (info.queries.hits, info.queries.misses) == (3, 1)
        assert info.passages.hits == 2
        memory.delete("b")
        assert memory.search("stone bridge", 1)[0].passage.id == "a"
        memory.purge()
        assert memory.store.cache_info().queries.kept == 0


def test_a_recall_repeated_encodes_nothing_and_is_the_same(tmp_path: Path, twelve) -> None:
    import torch

    torch.manual_seed(0)
    policy = Policy([PolicyNetwork(NetworkConfig())])
    question = "Where was Ada Lind born?"
    encoder = HashEncoder()
    with Memory(tmp_path / "a.db", encoder=encoder, policy=policy) as memory:
        memory.add(twelve)
        first = memory.recall(question)
        before = encoder.texts_encoded
        again = memory.recall(question)
        assert encoder.texts_encoded == before
        assert (again.hits, again.trails) == (first.hits, first.trails)
        assert memory.store.cache_info().queries.rate == 0.5
    with Memory(tmp_path / "a.db", encoder=HashEncoder(), policy=policy, queries_kept=0) as memory:
        assert memory.recall(question).hits == first.hits
        assert memory.store.cache_info().queries == CacheStats(0, 0, 0, 0)


def test_what_is_remembered_is_the_query_side_s(tmp_path: Path, twelve) -> None:
    import torch

    encoder, quick = HashEncoder(), HashEncoder()
    encoder.query_side = quick
    torch.manual_seed(0)
    policy = Policy([PolicyNetwork(NetworkConfig())])
    with Memory(tmp_path / "a.db", encoder=encoder, policy=policy) as memory:
        memory.add(twelve)
        memory.recall("Where was Ada Lind born?")
        assert quick.texts_encoded == memory.store.cache_info().queries.misses > 0


def test_a_bare_store_remembers_only_when_told(tmp_path: Path) -> None:
    for kept, encoded in ((0, 3), (8, 1)):
        encoder = HashEncoder()
        with Store(tmp_path / "a.db", encoder=encoder, queries_kept=kept) as store:
            for _ in range(3):
                store.encode_queries(["a river"])
            assert encoder.texts_encoded == encoded


def test_what_is_timed_remembers_nothing(tmp_path: Path, corpus, monkeypatch) -> None:
    from hoptrail.formats.jsonl import passage_record, write_jsonl
    from hoptrail.policies.data.corpora import open_corpus

    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path))
    write_jsonl(tmp_path / "corpus.jsonl", map(passage_record, corpus))
    encoder = HashEncoder()
    with Memory(open_corpus(tmp_path / "corpus.jsonl", encoder)) as memory:
        before = encoder.texts_encoded
        for _ in range(3):
            memory.search("river", 1)
        assert encoder.texts_encoded == before + 3
        assert memory.store.cache_info().queries.room == 0
        assert memory.history(corpus[0].id).counts.recalls == 0
