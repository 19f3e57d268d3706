"""A corpus's store: built once, kept, and never answered from when it is not that corpus."""

from __future__ import annotations

import json
import os
import time

import pytest

from hoptrail.errors import FormatError, InputError, StoreUnavailable
from hoptrail.memory.testing.hash_encoder import HashEncoder
from hoptrail.policies.data import corpora
from hoptrail.policies.data.corpora import OpenCorpus, open_corpus


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("HOPTRAIL_CACHE", str(folder))
    return folder


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "corpus.jsonl"
    write(file, [{"id": "a", "title": "Alder", "text": "Alder knows Benta."}, benta()])
    return file


def benta(text: str = "Benta is a town."):
    return {"id": "b", "title": "Benta", "text": text}


def write(file, records) -> None:
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def stores(cache):
    return sorted(path.name for path in (cache / "corpora").iterdir())


def test_built_once_and_used_again(corpus, cache) -> None:
    encoder, seen = HashEncoder(), []
    with open_corpus(corpus, encoder, progress=lambda *x: seen.append(x)) as store:
        assert len(store) == 2
    assert seen[-1] == (2, 2)
    assert encoder.texts_encoded == 2
    for _ in range(2):
        with open_corpus(corpus, encoder, progress=lambda *x: seen.append(x)) as store:
            assert store.get("b").text == "Benta is a town."
            assert store.search("town", 1)[0].passage.id == "b"
    assert len(seen) == 1
    assert len(stores(cache)) == 1


def test_another_content_or_encoder_is_another_store(corpus, cache) -> None:
    with open_corpus(corpus, HashEncoder()):
        pass
    write(corpus, [benta("Benta is a village.")])
    with open_corpus(corpus, HashEncoder()) as store:
        assert [p.text for p in store.passages()] == ["Benta is a village."]
    with open_corpus(corpus, HashEncoder(8)) as store:
        assert len(store) == 1
    assert len(stores(cache)) == 3


def test_a_copy_under_another_name_is_the_same_corpus(corpus, cache, tmp_path) -> None:
    copy = tmp_path / "other" / "passages.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(corpus.read_bytes())
    for file in (corpus, copy):
        open_corpus(file, HashEncoder()).close()
    assert len(stores(cache)) == 1


def test_a_half_built_store_is_replaced(corpus, cache) -> None:
    with open_corpus(corpus, HashEncoder()) as store:
        folder = store.path.parent
        store.delete(["b"])
    (folder / corpora.COMPLETE).unlink()
    with open_corpus(corpus, HashEncoder()) as store:
        assert len(store) == 2


def test_a_build_that_fails_leaves_nothing_behind(corpus, cache) -> None:
    class Broken(HashEncoder):
        def encode(self, texts):
            raise MemoryError

    with pytest.raises(MemoryError):
        open_corpus(corpus, Broken())
    assert stores(cache) == []
    with open_corpus(corpus, HashEncoder()) as store:
        assert len(store) == 2


def test_who_comes_second_uses_what_is_there(corpus, cache, monkeypatch) -> None:
    """Two processes build the same corpus at a time; neither writes into the other's store."""
    real = corpora.read_corpus

    def slow(path):
        monkeypatch.setattr(corpora, "read_corpus", real)
        with open_corpus(corpus, HashEncoder()) as store:
            assert len(store) == 2
        return real(path)

    monkeypatch.setattr(corpora, "read_corpus", slow)
    with open_corpus(corpus, HashEncoder()) as store:
        assert len(store) == 2
    assert len(stores(cache)) == 1


def test_what_a_killed_builder_left_goes_in_time(corpus, cache) -> None:
    old, young = cache / "corpora" / "partial-old", cache / "corpora" / "partial-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "store.db").touch()
    past = time.time() - 2 * corpora.ABANDONED_SECONDS
    os.utime(old, (past, past))
    open_corpus(corpus, HashEncoder()).close()
    assert not old.exists()
    assert young.exists()


def test_a_file_that_is_no_corpus(tmp_path, cache) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        open_corpus(tmp_path / "nowhere.jsonl", HashEncoder())
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "text": "fine"}\n{"id": 3}\n', encoding="utf-8")
    with pytest.raises(FormatError, match="2"):
        open_corpus(bad, HashEncoder())
    assert not (cache / "corpora").exists() or stores(cache) == []


def test_a_cache_that_cannot_be_written(corpus, cache) -> None:
    cache.touch()
    with pytest.raises(StoreUnavailable, match="HOPTRAIL_CACHE"):
        open_corpus(corpus, HashEncoder())


def test_gold_is_found_in_the_question_s_namespace(tmp_path) -> None:
    corpus, questions = tmp_path / "c.jsonl", tmp_path / "q.jsonl"
    write(corpus, [{**benta(), "namespace": [name]} for name in ("one", "two")])
    asked = {"id": "q", "question": "What is Benta?", "supporting_ids": ["b", "b"]}
    write(questions, [{**asked, "namespace": ["one"]}, {**asked, "namespace": ["two"]}])
    opened = OpenCorpus(corpus, questions, HashEncoder())
    for question in opened.questions:
        view = opened.scope(question.namespace).view
        [slot] = opened.gold(question)
        [passage] = view.passages([slot])
        assert passage.namespace == question.namespace
        assert view.size == 1
    assert opened.scope(("one",)) is opened.scope(("one",))
    opened.close()


def test_gold_that_is_not_in_the_corpus_is_named(tmp_path, corpus) -> None:
    questions = tmp_path / "q.jsonl"
    write(questions, [{"id": "q7", "question": "What?", "supporting_ids": ["a", "zz"]}])
    opened = OpenCorpus(corpus, questions, HashEncoder())
    with pytest.raises(FormatError, match=r"question 'q7' needs passage 'zz'"):
        opened.gold(opened.questions[0])
    opened.close()


def test_a_corpus_in_sequence_is_another_store(tmp_path, cache) -> None:
    file = tmp_path / "turns.jsonl"
    write(file, [{"id": str(i), "text": f"Turn {i}.", "session": i // 2} for i in range(4)])
    with open_corpus(file, HashEncoder()) as plain:
        assert not plain.get("0").links
    with open_corpus(file, HashEncoder(), sequence="session") as linked:
        assert [[link.target for link in p.links] for p in linked.passages()] == [
            ["1"],
            [],
            ["3"],
            [],
        ]
        with pytest.raises(InputError, match="links are its own"):
            open_corpus(linked.path, HashEncoder(), sequence="session")
    assert len(stores(cache)) == 2
    with pytest.raises(InputError, match="no passage has 'day'"):
        open_corpus(file, HashEncoder(), sequence="day")
    assert len(stores(cache)) == 2
