from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError
from hoptrail.evaluation.evaluate import Settings, evaluate
from hoptrail.formats import passage_record, question_record, write_jsonl

ONE_SHOT = Settings(retrievers=("bm25", "dense", "hybrid", "pagerank"))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path, twelve):
    file = tmp_path / "corpus.jsonl"
    write_jsonl(file, map(passage_record, twelve))
    return file


@pytest.fixture
def questions(tmp_path, three_hops):
    file = tmp_path / "questions.jsonl"
    write_jsonl(file, [question_record(three_hops)])
    return file


def test_files_in_report_out(corpus, questions, hash_encoder, twelve) -> None:
    told = []
    report = evaluate(
        corpus,
        questions,
        ONE_SHOT,
        encoder=hash_encoder,
        progress=lambda *step: told.append(step),
    )
    json.dumps(report, allow_nan=False)
    assert list(report["retrievers"]) == list(ONE_SHOT.retrievers)
    (question,) = report["questions"]
    for ranked in question["ranked"].values():
        assert sorted(hit["id"] for hit in ranked) == sorted(passage.id for passage in twelve)
    assert report["settings"]["passages"] == 12
    assert report["settings"]["gold_outside_corpus"] == 0
    assert report["settings"]["encoder"] == "hash-32"
    assert ("encoding", 12, 12) in told
    assert told[-1] == ("asking", 1, 1)


def test_a_second_run_encodes_the_questions_only(corpus, questions, hash_encoder) -> None:
    first = evaluate(corpus, questions, ONE_SHOT, encoder=hash_encoder)
    before = hash_encoder.texts_encoded
    second = evaluate(corpus, questions, ONE_SHOT, encoder=hash_encoder)
    assert hash_encoder.texts_encoded == before + 6  # three retrievers, warmed up and timed
    for question, again in zip(first["questions"], second["questions"], strict=True):
        assert question["ranked"] == again["ranked"]


def test_gold_that_the_corpus_lacks_is_counted_and_missed(
    corpus, tmp_path, three_hops, hash_encoder
) -> None:
    more = replace(three_hops, supporting_ids=(*three_hops.supporting_ids, "p-nowhere"))
    file = tmp_path / "more.jsonl"
    write_jsonl(file, [question_record(more)])
    report = evaluate(corpus, file, Settings(retrievers=("bm25",)), encoder=hash_encoder)
    assert report["settings"]["gold_outside_corpus"] == 1
    assert report["retrievers"]["bm25"]["recall@10"] <= 0.75


def test_questions_about_another_corpus_are_refused(
    corpus, tmp_path, three_hops, hash_encoder
) -> None:
    file = tmp_path / "other.jsonl"
    write_jsonl(file, [question_record(replace(three_hops, supporting_ids=("x",)))])
    with pytest.raises(InputError, match=r"none of .* supporting_ids \(the first is 'x'\)"):
        evaluate(corpus, file, ONE_SHOT, encoder=hash_encoder)
    write_jsonl(file, [question_record(replace(three_hops, namespace=("n",)))])
    with pytest.raises(InputError, match="are these its questions"):
        evaluate(corpus, file, ONE_SHOT, encoder=hash_encoder)


def test_settings_that_make_no_sense_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="no retriever 'bm26': choose from bm25, dense, hybrid"):
        Settings(retrievers=("bm26",))
    with pytest.raises(InputError, match="no retriever was named"):
        Settings(retrievers=())
    with pytest.raises(InputError, match="named twice: bm25, bm25"):
        Settings(retrievers=("bm25", "bm25"))


def test_what_is_wrong_is_said_before_anything_is_encoded(
    corpus, questions, tmp_path, hash_encoder
) -> None:
    walk = Settings(retrievers=("policy",))
    with pytest.raises(FormatError, match=r"none\.jsonl does not exist"):
        evaluate(corpus, tmp_path / "none.jsonl", ONE_SHOT, encoder=hash_encoder)
    with pytest.raises(PolicyError, match="no policy in"):
        evaluate(corpus, questions, walk, encoder=hash_encoder, policy=tmp_path)
    with pytest.raises(ConfigError, match="no effort 'heroic'"):
        evaluate(corpus, questions, replace(walk, effort="heroic"), encoder=hash_encoder)
    assert hash_encoder.texts_encoded == 0
