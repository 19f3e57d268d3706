"""Training the vectors of tokens for late interaction, on a network made on the spot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoptrail.errors import ConfigError, FormatError
from hoptrail.memory.encoders.tuned.token_tuned import TokenTunedEncoder
from hoptrail.memory.search.late_interaction import maxsim, token_vectors
from hoptrail.policies.data.training_data import TrainingData
from hoptrail.policies.training.encoders import list_training
from hoptrail.policies.training.encoders.ranking_lists import ListBatch
from hoptrail.policies.training.encoders.token_vectors import (
    TokenRanker,
    TokenVectorsConfig,
    tune_token_vectors,
)

QUICK = TokenVectorsConfig(
    epochs=80, batch=6, learning_rate=3e-3, temperature=0.2, same=2.0, rank=16
)
TEXTS = ["old bridge", "the river under it", "city of bridge and river", "built"]


def test_what_trains_is_what_serves_but_for_half_precision(base) -> None:
    ranker = TokenRanker(base, QUICK)
    with torch.no_grad():
        for change in ranker.changes.values():
            change.b.fill_(0.03)
    questions = ["who built the old bridge", "when"]
    mask = torch.ones(2, 4, dtype=torch.bool)
    scores, extra = ranker.scores(ListBatch(questions, TEXTS, mask, mask, mask))
    assert extra == 0
    tuned = ranker.tuned(base)
    assert tuned.fingerprint != base.fingerprint
    served = token_vectors(tuned, TEXTS)
    expected = [[maxsim(q, p) for p in served] for q in token_vectors(tuned, questions)]
    np.testing.assert_allclose(scores.detach().numpy(), expected, atol=2e-3)


def test_training_orders_what_search_brings_better_than_the_encoder_s_tokens(
    one_set, base, tiny_bert, tmp_path
) -> None:
    out = tmp_path / "tokens"
    tuned = tune_token_vectors(
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
    loaded = TokenTunedEncoder.load(out)
    assert (loaded.made_of, loaded.size) == (tuned.made_of, tuned.size)
    (out / "token-tuned.safetensors").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="no token vectors can be read from"):
        TokenTunedEncoder.load(out)


def test_a_stopped_run_goes_on_and_wrong_settings_are_refused(
    one_set, base, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(list_training, "SAVED_EVERY", 3)
    data = TrainingData(train=[one_set])
    config = TokenVectorsConfig(epochs=3, batch=3, same=2.0, rank=4)
    whole = tune_token_vectors(data, tmp_path / "whole", config, encoder=base)

    def stop(stage: str, done: int, total: int, figures: object) -> None:
        if stage == "late interaction" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_token_vectors(data, tmp_path / "parts", config, encoder=base, progress=stop)
    resumed = tune_token_vectors(data, tmp_path / "parts", config, encoder=base, resume=True)
    assert resumed.made_of["losses"] == whole.made_of["losses"][3:]
    with pytest.raises(ConfigError, match="rank must be"):
        TokenVectorsConfig(rank=0)
