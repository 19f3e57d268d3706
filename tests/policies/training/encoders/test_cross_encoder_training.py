"""Training a cross-encoder on lists of what search brings, on a network made on the spot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import ConfigError, FormatError, InputError, PolicyError
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.cross_encoder import CrossEncoder
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.training.encoders import list_training
from hoptrail.policies.training.encoders.cross_encoder_training import tune_cross_encoder
from hoptrail.policies.training.encoders.list_training import ListTrainingConfig
from hoptrail.policies.training.encoders.ranking_lists import list_batches, mine_lists

QUICK = ListTrainingConfig(epochs=20, batch=3, learning_rate=1e-2, same=2.0)


@pytest.fixture
def opened(one_set: TrainingSet, base):
    corpus = OpenCorpus(one_set.corpus, one_set.questions, base)
    yield corpus
    corpus.close()


def test_a_list_holds_the_right_passages_and_the_best_wrong_ones(opened, base) -> None:
    lists = mine_lists([opened], base, depth=3, same=2.0)
    assert len(lists.questions) == 6
    for question, labelled in zip(lists.questions, opened.questions, strict=True):
        right = {lists.passages[row] for row in question.right}
        assert right == {opened.store.get(id).content for id in labelled.supporting_ids}
        assert len(question.wrong) == 3
        assert not right & {lists.passages[row] for row in question.wrong}
    (batch,) = list_batches(lists, size=6, wrong=2, same=2.0, seed=[0])
    assert (batch.own.sum(1) == 4).all()
    assert (batch.positives.sum(1) == 2).all()
    assert (batch.own | ~batch.positives).all()
    assert len(set(batch.passages)) == len(batch.passages)


def test_what_says_the_same_as_a_right_passage_is_not_learned_as_wrong(opened, base) -> None:
    lists = mine_lists([opened], base, depth=5, same=2.0)
    cosines = lists.vectors @ lists.vectors.T
    same = float(np.median(cosines))
    strict = mine_lists([opened], base, depth=5, same=same)
    assert sum(len(one.wrong) for one in strict.questions) < sum(
        len(one.wrong) for one in lists.questions
    )
    for question in strict.questions:
        pairs = strict.vectors[list(question.wrong)] @ strict.vectors[list(question.right)].T
        assert (pairs < same).all()
    (batch,) = list_batches(strict, size=6, wrong=2, same=same, seed=[0])
    assert not batch.comparable.all()
    assert (batch.comparable | ~batch.positives).all()


@pytest.mark.parametrize("objective", ["contrastive", "binary"])
def test_training_orders_what_search_brings(one_set, base, tmp_path, objective) -> None:
    out = tmp_path / "crossed"
    tuned = tune_cross_encoder(
        TrainingData(train=[one_set], dev=[one_set]),
        out,
        replace(QUICK, objective=objective),
        encoder=base,
        command="hoptrail encoder tune",
    )
    (figures,) = tuned.made_of["dev"]
    assert figures["after"]["recall@5"] > figures["before"]["recall@5"]
    losses = tuned.made_of["losses"]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    card = json.loads((out / "cross-encoder.json").read_text())
    assert card["made_of"] == tuned.made_of
    assert not (out / "checkpoint.safetensors").exists()


def test_the_folder_is_a_stage_and_can_be_gone_on_from(one_set, opened, base, tmp_path) -> None:
    out, further = tmp_path / "crossed", tmp_path / "further"
    data = TrainingData(train=[one_set])
    tune_cross_encoder(data, out, replace(QUICK, epochs=1), encoder=base)
    question = opened.questions[0].text
    pipeline = Pipeline([Search(keep=7), CrossEncoder(out, keep=3)])
    scores = [hit.score for hit in pipeline.search(opened.store, question, 3).hits]
    assert scores == sorted(scores, reverse=True)
    tuned = tune_cross_encoder(
        data, further, replace(QUICK, epochs=1, learning_rate=1e-9), encoder=base, start=out
    )
    again = Pipeline([Search(keep=7), CrossEncoder(further, keep=3)])
    hits = again.search(opened.store, question, 3).hits
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-4)
    assert tuned.made_of["start"] == str(out)


@pytest.mark.slow  # the import of the library takes seconds
def test_other_programs_read_the_folder(one_set, base, tmp_path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="the extra is not installed")
    import torch

    out = tmp_path / "crossed"
    tune_cross_encoder(TrainingData(train=[one_set]), out, replace(QUICK, epochs=1), encoder=base)
    pairs = [("who built the bridge", "old bridge"), ("when", "city of river")]
    theirs = library.CrossEncoder(str(out), device="cpu", activation_fn=torch.nn.Identity())
    ours = CrossEncoder(out, keep=1, device="cpu")._forward(pairs)
    np.testing.assert_allclose(theirs.predict(pairs), ours, atol=1e-5)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    one_set, base, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(list_training, "SAVED_EVERY", 3)
    data, config = TrainingData(train=[one_set]), replace(QUICK, epochs=4)
    whole = tune_cross_encoder(data, tmp_path / "whole", config, encoder=base)

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if stage == "cross-encoder" and done == 5:
            raise KeyboardInterrupt

    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        tune_cross_encoder(data, parts, config, encoder=base, progress=stop)
    assert (parts / "checkpoint.safetensors").exists()
    with pytest.raises(PolicyError, match="other settings or data"):
        tune_cross_encoder(data, parts, replace(config, seed=1), encoder=base, resume=True)
    resumed = tune_cross_encoder(data, parts, config, encoder=base, resume=True)
    assert resumed.made_of["losses"] == whole.made_of["losses"][3:]
    assert _bytes(parts) == _bytes(tmp_path / "whole")


HASTY = replace(QUICK, epochs=20, stop_after=2, held_out=0.4, learning_rate=3e-2)


def test_training_ends_when_what_is_held_out_is_ranked_no_better(apart, base, tmp_path) -> None:
    data = TrainingData(train=[apart])
    tuned = tune_cross_encoder(data, tmp_path / "early", HASTY, encoder=base)
    losses = [row["held_out_loss"] for row in tuned.made_of["curve"]]
    assert len(losses) == int(np.argmin(losses)) + 1 + 2 < 20
    assert tuned.made_of["questions"] + tuned.made_of["held_out"] == 6
    assert tuned.made_of["held_out"] == 2
    assert len(tuned.made_of["losses"]) == 2 * len(losses)  # steps of three questions
    never = replace(HASTY, stop_after=len(losses))
    longer = tune_cross_encoder(data, tmp_path / "longer", replace(never, epochs=20), encoder=base)
    assert [row["held_out_loss"] for row in longer.made_of["curve"]][: len(losses)] == losses


@pytest.mark.parametrize("done", [3, 5])
def test_a_run_that_was_stopped_ends_early_where_it_would_have(
    apart, base, tmp_path, monkeypatch, done
) -> None:
    monkeypatch.setattr(list_training, "SAVED_EVERY", 1)
    data = TrainingData(train=[apart])
    whole = tune_cross_encoder(data, tmp_path / "whole", HASTY, encoder=base)
    assert len(whole.made_of["losses"]) > done

    def stop(stage: str, step: int, total: int, figures: object) -> None:
        if stage == "cross-encoder" and step == done:
            raise KeyboardInterrupt

    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        tune_cross_encoder(data, parts, HASTY, encoder=base, progress=stop)
    resumed = tune_cross_encoder(data, parts, HASTY, encoder=base, resume=True)
    assert resumed.made_of["curve"] == whole.made_of["curve"]
    assert _bytes(parts) == _bytes(tmp_path / "whole")


def test_too_few_questions_to_hold_any_out_are_told(apart, base, tmp_path) -> None:
    config = replace(HASTY, held_out=0.1)
    with pytest.raises(ConfigError, match="stop_after is 2, and no question is held out"):
        tune_cross_encoder(TrainingData(train=[apart]), tmp_path / "x", config, encoder=base)


def _bytes(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_what_cannot_be_learned_from_or_written_is_refused(one_set, base, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"objective must be one of likelihood, .* got 'ndcg'"):
        replace(QUICK, objective="ndcg")
    nobody = tmp_path / "none.jsonl"
    nobody.write_text(json.dumps({"id": "q", "question": "who", "answers": ["it"]}))
    unlabelled = TrainingData(train=[TrainingSet(one_set.corpus, nobody)])
    with pytest.raises(InputError, match="no question names its supporting passages"):
        tune_cross_encoder(unlabelled, tmp_path / "out", QUICK, encoder=base)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "model.safetensors").write_bytes(b"")
    with pytest.raises(FormatError, match="is no cross-encoder's: give another folder"):
        tune_cross_encoder(TrainingData(train=[one_set]), foreign, QUICK, encoder=base)
