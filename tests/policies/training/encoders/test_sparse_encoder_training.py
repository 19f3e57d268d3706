"""Training learned weights of terms, on a network made on the spot."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, FormatError
from hoptrail.memory.search.learned_sparse.sparse_encoder import SparseEncoder
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders import list_training
from hoptrail.policies.training.encoders.ranking_lists import ListBatch
from hoptrail.policies.training.encoders.sparse_encoder_training import (
    SparseEncoderConfig,
    SparseRanker,
    fitted_head,
    tune_sparse_encoder,
)

QUICK = SparseEncoderConfig(epochs=20, batch=3, learning_rate=1e-2, same=2.0, rank=4, flops=1e-4)
TEXTS = ["old bridge", "the river under it", "city of bridge and river", "who built when"]


def test_the_fitted_head_gives_passages_their_own_terms_and_questions_their_idf(base) -> None:
    head = fitted_head(base, TEXTS, seed=0)
    words = {word: i for i, word in enumerate(_vocabulary(base))}
    tokens = torch.from_numpy(base.encode_tokens(["old bridge"])[0][0])
    weights = head.passage(tokens)
    own = weights[[words["old"], words["bridge"]]]
    assert own.min() > weights.median()
    query = head.query()
    assert query[words["bridge"]] < query[words["old"]] < query[words["|"]]


def _vocabulary(base) -> list[str]:
    vocabulary = json.loads(base.record.tokenizer)["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)


def test_what_trains_is_what_serves(base) -> None:
    ranker = SparseRanker(base, TEXTS, QUICK)
    with torch.no_grad():
        for one in (ranker.head.query_change, ranker.head.bias_change):
            one.copy_(torch.linspace(-0.02, 0.02, len(one)))
    questions = ["who built the old bridge", "when"]
    mask = torch.ones(2, 4, dtype=torch.bool)
    scores, price = ranker.scores(ListBatch(questions, TEXTS, mask, mask, mask))
    assert price > 0
    encoder = ranker.tuned(base)
    served = [
        dict(zip(*map(np.ndarray.tolist, one), strict=True)) for one in encoder.passage_terms(TEXTS)
    ]
    for row, question in zip(scores, questions, strict=True):
        terms, weights = encoder.query_terms(question)
        expected = [
            sum(w * passage.get(t, 0.0) for t, w in zip(terms.tolist(), weights, strict=True))
            for passage in served
        ]
        np.testing.assert_allclose(row.detach().numpy(), expected, atol=1e-3)


def test_training_finds_by_terms_what_words_do_not(one_set, base, tiny_bert, tmp_path) -> None:
    out = tmp_path / "weights"
    tuned = tune_sparse_encoder(
        TrainingData(train=[one_set], dev=[one_set]),
        out,
        QUICK,
        encoder=base,
        encoder_name=str(tiny_bert),
    )
    (figures,) = tuned.made_of["dev"]
    assert figures["after"]["recall@5"] > figures["before"]["recall@5"]
    losses = tuned.made_of["losses"]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    loaded = SparseEncoder.load(out)
    assert loaded.made_of == tuned.made_of
    assert loaded.size == tuned.size
    (out / "sparse-encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="no sparse encoder can be read from"):
        SparseEncoder.load(out)


def test_the_price_of_shared_terms_makes_passages_sparser(one_set, base, tmp_path) -> None:
    def postings(flops: float) -> int:
        config = replace(QUICK, flops=flops, epochs=8)
        folder = tmp_path / str(flops)
        tune_sparse_encoder(TrainingData(train=[one_set]), folder, config, encoder=base)
        tensors = SparseRanker(base, TEXTS, config)
        encoder = SparseEncoder(base, *_learned(folder))
        assert tensors.tuned(base).fingerprint != encoder.fingerprint
        return sum(len(terms) for terms, _ in encoder.passage_terms(TEXTS))

    assert postings(1.0) < postings(1e-6)


def _learned(folder):
    from safetensors.numpy import load_file

    from hoptrail.memory.encoders.tuned.factor_tensors import factors_of

    tensors = load_file(folder / "sparse-encoder.safetensors")
    return factors_of(tensors), tensors


def test_a_stopped_run_goes_on_and_wrong_settings_are_refused(
    one_set, base, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(list_training, "SAVED_EVERY", 3)
    data, config = TrainingData(train=[one_set]), replace(QUICK, epochs=3)
    whole = tune_sparse_encoder(data, tmp_path / "whole", config, encoder=base)

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if stage == "sparse encoder" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_sparse_encoder(data, tmp_path / "parts", config, encoder=base, progress=stop)
    resumed = tune_sparse_encoder(data, tmp_path / "parts", config, encoder=base, resume=True)
    assert resumed.made_of["losses"] == whole.made_of["losses"][3:]
    with pytest.raises(ConfigError, match="flops must be"):
        replace(QUICK, flops=0.0)
