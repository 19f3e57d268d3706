"""Training the query side of an encoder: it learns what is missing, and leaves passages alone."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.formats.jsonl import read_corpus, read_questions
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.feedback import FeedbackLog, LoggedRecall
from hoptrail.memory.store import Store
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import FeedbackSource, TrainingData, TrainingSet
from hoptrail.policies.training.encoders.evidence_queries import PassageScores
from hoptrail.policies.training.encoders.query_encoder import (
    QueryEncoderConfig,
    dense_recalls,
    train_query_encoder,
    tune_query_encoder,
)
from hoptrail.policies.training.run import train

QUICK = QueryEncoderConfig(rank=4, epochs=12, batch=4, learning_rate=1e-2, anchor=0.0)
WORDS = "old bridge river city under built".split()


@pytest.fixture
def opened(one_set: TrainingSet, base: TransformerEncoder):
    corpus = OpenCorpus(one_set.corpus, one_set.questions, base)
    yield corpus
    corpus.close()


def test_training_finds_what_was_missing_and_leaves_the_encoder_alone(opened, base) -> None:
    fingerprint, passages = base.fingerprint, base.encode(WORDS)
    before = dense_recalls(opened, base)
    tuned = train_query_encoder([opened], base, QUICK)
    assert dense_recalls(opened, tuned)["recall@5"] > before["recall@5"]
    assert base.fingerprint == tuned.fingerprint == fingerprint
    np.testing.assert_array_equal(base.encode(WORDS), passages)
    assert query_side(tuned).fingerprint != fingerprint


@pytest.mark.parametrize("objective", ["recall", "ndcg"])
def test_a_measure_of_the_ranking_can_be_trained_for(opened, base, objective) -> None:
    before = dense_recalls(opened, base)
    config = replace(QUICK, objective=objective, temperature=0.2)
    tuned = train_query_encoder([opened], base, config)
    assert dense_recalls(opened, tuned)["recall@5"] > before["recall@5"]
    assert tuned.made_of["collapse"]["after"]["effective_rank"] > 1
    with pytest.raises(ConfigError, match="objective must be one of"):
        replace(QUICK, objective="mrr")


def test_an_anchor_holds_queries_where_they_were(opened, base) -> None:
    def turned(anchor: float) -> float:
        config = QueryEncoderConfig(
            rank=4, epochs=4, batch=4, learning_rate=1e-2, anchor=anchor, seed=1
        )
        tuned = train_query_encoder([opened], base, config)
        cosines = (query_side(tuned).encode(WORDS) * base.encode(WORDS)).sum(1)
        return float(1 - cosines.mean())

    assert turned(100.0) < turned(0.0) / 2


def test_a_seed_decides(opened, base) -> None:
    one, other = (train_query_encoder([opened], base, QUICK) for _ in range(2))
    assert query_side(one).fingerprint == query_side(other).fingerprint
    third = train_query_encoder(
        [opened], base, QueryEncoderConfig(rank=4, epochs=12, batch=4, learning_rate=1e-2, seed=5)
    )
    assert query_side(third).fingerprint != query_side(one).fingerprint


def test_scores_are_those_of_the_memorys_own_dense_search(opened, base) -> None:
    view = opened.scope(()).view
    assert len(view.dense.windows()[0]) > 0, "the long passage should have windows"
    queries = base.encode(["the bridge", "and the river", "who built it"])
    hits, slots = view.dense.search(queries, view.size)
    scores = PassageScores(view, "cpu")
    found = scores(torch.tensor(queries)).numpy()
    for row, (expected, at) in enumerate(zip(hits, slots, strict=True)):
        np.testing.assert_allclose(found[row, scores.row[at]], expected, atol=1e-4)


def test_a_folder_is_written_that_says_what_it_was_made_of(
    one_set, base, tiny_bert, tmp_path
) -> None:
    told = []
    out = tmp_path / "tuned"
    tuned = tune_query_encoder(
        TrainingData(train=[one_set], dev=[one_set]),
        out,
        QUICK,
        encoder=base,
        encoder_name=str(tiny_bert),
        command="hoptrail encoder tune",
        progress=lambda stage, done, total, figures: told.append((stage, done, total)),
    )
    assert told[-1][0] == "query encoder"
    assert told[-1][1] == told[-1][2]
    loaded = load_encoder(out)
    assert loaded.made_of == tuned.made_of
    (figures,) = loaded.made_of["dev"]
    assert figures["after"]["recall@5"] > figures["before"]["recall@5"]
    assert loaded.made_of["config"]["rank"] == 4
    assert loaded.made_of["command"] == "hoptrail encoder tune"


def test_questions_without_evidence_teach_nothing(tmp_path, base, one_set) -> None:
    questions = tmp_path / "none.jsonl"
    questions.write_text(json.dumps({"id": "q", "question": "who", "answers": ["it"]}))
    with pytest.raises(InputError, match="no question names its supporting passages"):
        tune_query_encoder(
            TrainingData(train=[TrainingSet(one_set.corpus, questions)]),
            tmp_path / "out",
            QUICK,
            encoder=base,
        )
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_elses_is_refused_before_anything_slow(
    tmp_path, base, one_set
) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    (out / "query-tuned.json").write_text("[]")
    with pytest.raises(FormatError, match="give another folder"):
        tune_query_encoder(
            TrainingData(train=[TrainingSet(Path("/nowhere"), Path("/nowhere"))]),
            out,
            encoder=base,
        )


@pytest.mark.parametrize(
    "settings",
    [{"rank": 0}, {"epochs": 1.5}, {"temperature": 0}, {"anchor": -1}, {"anchor": float("nan")}],
)
def test_settings_are_checked(settings) -> None:
    with pytest.raises(ConfigError):
        QueryEncoderConfig(**settings)


@pytest.mark.parametrize("objective", ["contrastive", "triplet"])
def test_a_loss_of_a_list_falls_as_it_is_trained_for(opened, base, objective) -> None:
    config = replace(QUICK, objective=objective, epochs=4, same=1.1)
    steps: list[float] = []
    train_query_encoder(
        [opened], base, config, progress=lambda *step: steps.append(step[3]["loss"])
    )
    assert np.mean(steps[-3:]) < np.mean(steps[:3])


@pytest.mark.parametrize("objective", ["listnet", "lambda", "margin"])
def test_losses_with_a_teacher_or_of_ndcg_move_the_query_side(opened, base, objective) -> None:
    tuned = train_query_encoder([opened], base, replace(QUICK, objective=objective, epochs=1))
    assert query_side(tuned).fingerprint != base.fingerprint


def test_passages_alone_teach_how_to_ask_for_them(one_set, base, tmp_path) -> None:
    tuned = tune_query_encoder(
        TrainingData(unlabelled=[one_set.corpus], dev=[one_set]),
        tmp_path / "tuned",
        replace(QUICK, epochs=2, cloze=4),
        encoder=base,
    )
    assert query_side(tuned).fingerprint != base.fingerprint


def test_clicks_are_learned_from(one_set, base, tmp_path: Path) -> None:
    memory = tmp_path / "memory.db"
    questions = read_questions(one_set.questions)
    with closing(Store(memory, encoder=base)) as store:
        store.add(read_corpus(one_set.corpus))
        log, view = FeedbackLog(store), store.view()
        for question in questions:
            slots = [view.slot_of(id) for id in question.supporting_ids]
            rows = tuple(int(view.rowids[slot]) for slot in slots if slot is not None)
            recall = LoggedRecall(
                question.id,
                question.text,
                (),
                None,
                "fast",
                None,
                "0",
                store.version,
                0.0,
                rows,
                (),
            )
            assert log.record(recall, 1.0, rows)
    clicks = FeedbackSource(memory)
    data = TrainingData(feedback=[clicks], dev=[one_set])
    tuned = tune_query_encoder(data, tmp_path / "tuned", QUICK, encoder=base)
    [figures] = tuned.made_of["dev"]
    assert figures["after"]["recall@5"] > figures["before"]["recall@5"]
    assert tuned.made_of["feedback"] == [{"store": f"{tmp_path.name}/memory.db", "namespace": []}]
    before = data.fingerprint()["feedback"]
    with closing(Store(memory, encoder=base)) as store:
        log = FeedbackLog(store)
        log.record(log.entries()[0].recall, 0.0, log.entries()[0].recall.returned)
    assert data.fingerprint()["feedback"] != before, "a run of other clicks is another run"


def test_feedback_is_refused_where_it_is_not_learned_from(one_set, base, tmp_path: Path) -> None:
    nothing = TrainingData(feedback=[FeedbackSource(one_set.corpus)])
    with pytest.raises(InputError, match="feedback lies in a memory"):
        tune_query_encoder(nothing, tmp_path / "tuned", QUICK, encoder=base)
    with pytest.raises(InputError, match="a policy does not learn from feedback in this training"):
        train(TrainingData([one_set], feedback=nothing.feedback), tmp_path / "p", encoder=base)


def test_training_ends_when_what_is_held_out_is_found_no_better(apart, base, tmp_path) -> None:
    config = replace(QUICK, epochs=30, learning_rate=5e-2, stop_after=2, held_out=0.4)
    data = TrainingData(train=[apart])
    card = tune_query_encoder(data, tmp_path / "early", config, encoder=base).made_of
    losses = [row["held_out_loss"] for row in card["curve"]]
    assert len(losses) == int(np.argmin(losses)) + 1 + 2 < 30
    assert card["held_out"] == 2
    longer = replace(config, stop_after=30)
    whole = tune_query_encoder(data, tmp_path / "whole", longer, encoder=base).made_of
    assert [row["held_out_loss"] for row in whole["curve"]][: len(losses)] == losses
    with pytest.raises(ConfigError, match="stop_after is 2, and no question is held out"):
        tune_query_encoder(data, tmp_path / "none", replace(config, held_out=0.1), encoder=base)
