"""Training the passage side: it finds what was missing, and its index follows within its bound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import ConfigError, FormatError
from hoptrail.memory.encoders.query_side import query_side
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.vectors import unit
from hoptrail.policies.data.corpora import OpenCorpus
from hoptrail.policies.data.training_data import TrainingData, TrainingSet
from hoptrail.policies.training.encoders.passage_encoder import (
    PassageEncoderConfig,
    reencoded_recalls,
    train_passage_encoder,
    tune_passage_encoder,
)
from hoptrail.policies.training.encoders.query_encoder import dense_recalls

WORDS = "old bridge river city under built".split()
QUICK = PassageEncoderConfig(
    rank=8,
    epochs=20,
    batch=6,
    learning_rate=2e-2,
    temperature=0.05,
    anchor=0.0,
    max_age=3,
    same=1.1,
    hard=8,
)
ALL = replace(QUICK, side="both", epochs=40, learning_rate=1e-2, hard=36, max_age=None)
"""Both sides; every passage of the memory is encoded in each step."""


@pytest.fixture
def one_word(tmp_path: Path) -> TrainingSet:
    """Passages of a word, questions that ask for another by each, and passages of two words."""
    passages = [{"id": one, "text": one} for one in WORDS]
    passages += [
        {"id": f"{one} {other}", "text": f"{one} of the {other}"}
        for one in WORDS
        for other in WORDS
        if one != other
    ]
    rows = [
        {"id": one, "question": f"who {one}", "supporting_ids": [WORDS[(i + 2) % 6]]}
        for i, one in enumerate(WORDS)
    ]
    corpus, questions = tmp_path / "words.jsonl", tmp_path / "questions.jsonl"
    corpus.write_text("\n".join(map(json.dumps, passages)))
    questions.write_text("\n".join(map(json.dumps, rows)))
    return TrainingSet(corpus, questions)


@pytest.fixture
def opened(one_word: TrainingSet, transformer: TransformerEncoder):
    corpus = OpenCorpus(one_word.corpus, one_word.questions, transformer)
    yield corpus
    corpus.close()


@pytest.mark.parametrize("config", [QUICK, ALL], ids=["passage", "both"])
def test_training_finds_what_was_missing_once_a_memory_is_encoded_anew(
    opened, transformer, config
) -> None:
    before, vectors = dense_recalls(opened, transformer), transformer.encode(WORDS)
    tuned = train_passage_encoder([opened], transformer, config)
    after = reencoded_recalls(opened, transformer, tuned)
    assert after["recall@5"] > before["recall@5"] + 40
    assert dense_recalls(opened, transformer) == before
    np.testing.assert_array_equal(transformer.encode(WORDS), vectors)
    query_vectors = query_side(tuned).encode(WORDS)
    assert np.allclose(query_vectors, vectors, atol=1e-6) == (config.side == "passage")


def test_the_index_is_no_older_than_its_bound_and_less_stale_than_without(
    opened, transformer
) -> None:
    def index(max_age: int | None) -> dict:
        config = replace(QUICK, max_age=max_age, epochs=21, hard=2)
        tuned = train_passage_encoder([opened], transformer, config)
        return tuned.made_of["index"]

    never, often = index(None), index(1)
    assert max(look["oldest"] for look in often["staleness"]) <= 1
    assert max(look["oldest"] for look in never["staleness"]) > 3
    assert never["encoded"] == 0 < often["encoded"]
    at_worst = [min(look["cosine"] for look in one["staleness"]) for one in (never, often)]
    assert at_worst[0] < at_worst[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "contrastive", "negatives": "bank"},
        {"objective": "triplet", "negatives": "batch"},
        {"objective": "margin"},
        {"objective": "ndcg", "dims": (4, 8)},
    ],
)
def test_objectives_and_negatives_of_each_kind_move_the_passage_side(
    opened, transformer, settings
) -> None:
    config = replace(QUICK, epochs=5, **settings)
    tuned = train_passage_encoder([opened], transformer, config)
    assert np.abs(tuned.encode(WORDS) - transformer.encode(WORDS)).max() > 1e-3


def test_prefixes_that_are_trained_rank_better_than_those_that_are_not(opened, transformer) -> None:
    view = opened.scope(()).view
    slots = np.flatnonzero(view.alive)
    texts = [passage.content for passage in view.passages(slots.tolist())]

    def log_probability(dims: tuple[int, ...]) -> float:
        """Of the right passages by the cosines of two dimensions."""
        config = replace(ALL, dims=dims, epochs=25)
        tuned = train_passage_encoder([opened], transformer, config)
        passages = unit(tuned.encode(texts)[:, :2])
        total = 0.0
        for question in opened.questions:
            query = unit(query_side(tuned).encode([question.text])[:, :2])
            logits = (query @ passages.T)[0] / QUICK.temperature
            right = np.flatnonzero(np.isin(slots, opened.gold(question)))[0]
            total += float(logits[right] - np.log(np.exp(logits).sum()))
        return total

    assert log_probability((2,)) > log_probability(())


def test_codes_of_the_index_are_off_within_bounds_that_are_reported(opened, transformer) -> None:
    config = replace(QUICK, epochs=1, codes="int8")
    error = train_passage_encoder([opened], transformer, config).made_of["index"]["code_error"]
    assert 0 < error["score"] < 0.05
    assert error["gradient"] > error["score"]
    exact = train_passage_encoder([opened], transformer, replace(config, codes=""))
    assert exact.made_of["index"]["code_error"] is None


def test_a_seed_decides(opened, transformer) -> None:
    config = replace(QUICK, epochs=1)
    one, other, third = (
        train_passage_encoder([opened], transformer, replace(config, seed=seed)).fingerprint
        for seed in (0, 0, 5)
    )
    assert one == other != third


def test_a_folder_is_written_that_says_what_it_was_made_of(
    one_word, transformer, tiny_bert, tmp_path
) -> None:
    tuned = tune_passage_encoder(
        TrainingData(train=[one_word], dev=[one_word], unlabelled=[one_word.corpus]),
        tmp_path / "tuned",
        replace(QUICK, epochs=4, cloze=2),
        encoder=transformer,
        encoder_name=str(tiny_bert),
        command="hoptrail encoder tune",
    )
    loaded = load_encoder(tmp_path / "tuned")
    assert loaded.fingerprint == tuned.fingerprint
    assert loaded.made_of["dev"][0].keys() >= {"before", "after"}
    assert loaded.made_of["config"]["side"] == "passage"
    assert loaded.made_of["command"] == "hoptrail encoder tune"


def test_a_folder_of_somebody_elses_is_refused_before_anything_slow(tmp_path, transformer) -> None:
    (tmp_path / "passage-tuned.json").write_text("[]")
    nowhere = TrainingSet(Path("/nowhere"), Path("/nowhere"))
    with pytest.raises(FormatError, match="give another folder"):
        tune_passage_encoder(TrainingData(train=[nowhere]), tmp_path, encoder=transformer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": "query"}, "side must be one of passage, both, got 'query'"),
        ({"codes": "int3"}, "codes must be one of float16, int8, int4, sign, got 'int3'"),
        ({"dims": (8, 4)}, "ascending"),
        ({"max_age": -1}, "max_age"),
        ({"hard": -1}, "hard"),
        ({"negatives": "all"}, "negatives must be one of mined, batch, bank, got 'all'"),
        ({"objective": "triplet", "negatives": "bank"}, "too many in a bank"),
    ],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        PassageEncoderConfig(**settings)


def test_a_prefix_that_is_no_prefix_is_refused(opened, transformer) -> None:
    with pytest.raises(ConfigError, match="below the encoder's 16"):
        train_passage_encoder([opened], transformer, replace(QUICK, dims=(16,)))


@pytest.mark.parametrize("side", ["passage", "both"])
def test_training_ends_when_what_is_held_out_is_found_no_better(
    one_word, transformer, tmp_path, side
) -> None:
    config = replace(QUICK, side=side, epochs=30, learning_rate=5e-2, stop_after=2, held_out=0.4)
    data = TrainingData(train=[one_word])
    card = tune_passage_encoder(data, tmp_path / "early", config, encoder=transformer).made_of
    losses = [row["held_out_loss"] for row in card["curve"]]
    assert len(losses) == int(np.argmin(losses)) + 1 + 2 < 30
    assert card["held_out"] == 2
    assert (
        "curve"
        not in tune_passage_encoder(
            data, tmp_path / "all", replace(config, epochs=1, stop_after=None), encoder=transformer
        ).made_of
    )
