from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError
from hoptrail.evaluation.evaluate import Settings, evaluate
from hoptrail.formats.jsonl import passage_record, question_record, write_jsonl

ONE_SHOT = Settings(retrievers=("bm25", "dense", "hybrid", "pagerank"))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))


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


def test_gold_that_the_corpus_lacks_is_refused_by_name(
    corpus, tmp_path, three_hops, hash_encoder
) -> None:
    file = tmp_path / "more.jsonl"
    lacking = replace(three_hops, supporting_ids=(*three_hops.supporting_ids, "p-nowhere"))
    write_jsonl(file, [question_record(lacking)])
    sentence = r"more\.jsonl: question '.*' needs passage 'p-nowhere', which is not in .*corpus"
    with pytest.raises(FormatError, match=sentence):
        evaluate(corpus, file, ONE_SHOT, encoder=hash_encoder)
    elsewhere = replace(three_hops, namespace=("n",))
    write_jsonl(file, [question_record(elsewhere)])
    with pytest.raises(FormatError, match=f"needs passage '{three_hops.supporting_ids[0]}'"):
        evaluate(corpus, file, ONE_SHOT, encoder=hash_encoder)


def test_gold_of_a_narrower_namespace_is_within_the_question_s(
    tmp_path, twelve, questions, hash_encoder
) -> None:
    file = tmp_path / "nested.jsonl"
    write_jsonl(file, (passage_record(replace(p, namespace=("a", "b"))) for p in twelve))
    report = evaluate(file, questions, Settings(retrievers=("bm25",)), encoder=hash_encoder)
    assert report["retrievers"]["bm25"]["recall@10"] > 0


def test_settings_that_make_no_sense_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="no retriever 'bm26': choose from bm25, dense, hybrid"):
        Settings(retrievers=("bm26",))
    with pytest.raises(InputError, match="no retriever was named"):
        Settings(retrievers=())
    with pytest.raises(InputError, match="named twice: bm25, bm25"):
        Settings(retrievers=("bm25", "bm25"))
    with pytest.raises(ConfigError, match="no effort 'heroic'"):
        Settings(effort="heroic")


def test_what_is_wrong_is_said_before_anything_is_encoded(
    corpus, questions, tmp_path, hash_encoder
) -> None:
    walk = Settings(retrievers=("policy",))
    with pytest.raises(FormatError, match=r"none\.jsonl does not exist"):
        evaluate(corpus, tmp_path / "none.jsonl", ONE_SHOT, encoder=hash_encoder)
    with pytest.raises(PolicyError, match="no policy in"):
        evaluate(corpus, questions, walk, encoder=hash_encoder, policy=tmp_path)
    bare = tmp_path / "bare.jsonl"
    write_jsonl(bare, [{"id": "q", "question": "Who?"}])
    with pytest.raises(InputError, match="question 'q' names no supporting_ids"):
        evaluate(corpus, bare, ONE_SHOT, encoder=hash_encoder)
    assert hash_encoder.texts_encoded == 0
