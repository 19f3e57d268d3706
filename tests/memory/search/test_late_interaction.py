"""MaxSim over compressed token vectors, and a cross-encoder, on models made on the spot."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hoptrail.errors import ConfigError, FormatError, InputError
from hoptrail.memory.content_hash import cache_key
from hoptrail.memory.encoders import disk_cache
from hoptrail.memory.encoders.vectors import unit
from hoptrail.memory.maintenance import checks
from hoptrail.memory.search.codecs import Half, Scalar
from hoptrail.memory.search.first_stages import Search
from hoptrail.memory.search.late_interaction import (
    MaxSim,
    TokenCache,
    TokenEncoder,
    maxsim,
    token_vectors,
)
from hoptrail.memory.search.pipeline import Pipeline
from hoptrail.memory.search.rerankers.cross_encoder import CrossEncoder
from hoptrail.memory.store import Store
from hoptrail.memory.testing.hash_encoder import HashEncoder

QUERY = "the clock tower of the town of Tolle"


class WordEncoder(HashEncoder):
    """Each word is a token, its vector the hash encoder's of the word alone."""

    def encode_tokens(self, texts):
        found = []
        for text in texts:
            words = text.casefold().replace(".", " ").split()
            spans = np.zeros((len(words), 2), dtype=np.int64)
            found.append((super().encode(words), spans, super().encode([text])[0]))
        return found


@pytest.fixture
def store(tmp_path, twelve):
    with Store(tmp_path / "s.db", encoder=HashEncoder()) as store:
        store.add(twelve)
        yield store


def test_the_score_is_the_mean_of_each_word_s_best_cosine() -> None:
    question = unit(np.array([[1.0, 0.0], [1.0, 1.0]], dtype=np.float32))
    passage = unit(np.array([[0.0, 2.0], [3.0, 3.0]], dtype=np.float32))
    assert maxsim(question, passage) == pytest.approx((np.sqrt(0.5) + 1) / 2)
    assert maxsim(question, passage[:0]) == 0


@pytest.mark.parametrize(("codec", "bound"), [(Half(), 1e-3), (Scalar(8), 1e-2), (Scalar(4), 0.15)])
def test_a_compressed_score_is_the_exact_one_within_a_bound(tmp_path, store, codec, bound) -> None:
    encoder = WordEncoder()
    assert isinstance(encoder, TokenEncoder)
    stage = MaxSim(encoder, keep=3, codec=codec, folder=tmp_path / "cache")
    found = Pipeline([Search(keep=12), stage]).search(store, QUERY, 3)
    question = unit(encoder.encode_tokens([QUERY])[0][0])
    for hit in found.hits:
        exact = maxsim(question, unit(encoder.encode_tokens([hit.passage.content])[0][0]))
        assert hit.score == pytest.approx(exact, abs=bound)
    assert found.hits[0].passage.id == "p-tolle"


def test_tokens_are_encoded_once_and_cost_the_stated_bytes(tmp_path, store) -> None:
    encoder = WordEncoder()
    stage = MaxSim(encoder, keep=12, codec=Scalar(4), folder=tmp_path / "cache")
    pipeline = Pipeline([Search(keep=12), stage])
    first = pipeline.search(store, QUERY, 12)
    read = encoder.texts_encoded
    again = pipeline.search(store, QUERY, 12)
    assert again.hits == first.hits
    assert [one.stages[1].cached for one in (first, again)] == [0, 12]
    assert encoder.texts_encoded < read + 30  # the question's words, and no passage's
    tokens = [len(e[0]) for e in encoder.encode_tokens([p.content for p in store.passages()])]
    assert stage.tokens.bytes_per_text() == 4 + np.mean(tokens) * Scalar(4).width(32)


def test_a_purge_erases_the_tokens_of_what_was_deleted(tmp_path, store) -> None:
    folder = tmp_path / "cache"
    stage = MaxSim(WordEncoder(), keep=12, folder=folder)
    Pipeline([Search(keep=12), stage]).search(store, QUERY, 12)
    key = cache_key(store.get("p-tolle").content)
    stage.tokens.close()

    def there() -> tuple[int, int]:
        with closing(sqlite3.connect(stage.tokens.path)) as db:
            (rows,) = db.execute("SELECT count(*) FROM vectors").fetchone()
            (own,) = db.execute("SELECT count(*) FROM vectors WHERE key = ?", (key,)).fetchone()
        return rows, own

    assert there() == (12, 1)
    store.delete(["p-tolle"])
    assert "p-tolle" not in [h.passage.id for h in store.search(QUERY, 12)]
    assert checks.purge(store, cache=folder).cached_vectors == 1
    assert there() == (11, 0)
    assert disk_cache.erase_others([], folder) == 11


def test_a_damaged_row_is_made_anew(tmp_path) -> None:
    texts = ["the old bridge", "a river"]
    encoder = WordEncoder()
    cache = TokenCache(encoder, Scalar(8), tmp_path)
    first = cache.get(texts)
    with closing(sqlite3.connect(cache.path)) as db, db:
        (blob,) = db.execute(
            "SELECT v FROM vectors WHERE key = ?", (cache_key(texts[0]),)
        ).fetchone()
        broken = blob[:10] + bytes([blob[10] ^ 1]) + blob[11:]
        db.execute("UPDATE vectors SET v = ? WHERE key = ?", (broken, cache_key(texts[0])))
    read = encoder.texts_encoded
    again = cache.get(texts)
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert encoder.texts_encoded > read
    assert cache.known == 1
    cache.close()


def test_an_encoder_without_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="MaxSim needs an encoder of tokens"):
        MaxSim(HashEncoder(), keep=3)


VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] the clock tower town of tolle is a lake".split()


def make_cross_encoder(folder: Path, *, labels: int = 1) -> Path:
    """A BERT of 16 dims that scores pairs, with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
    )
    folder.mkdir(parents=True)
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
def test_a_cross_encoder_ranks_by_its_own_scores_in_any_batch(tmp_path, store, labels) -> None:
    folder = make_cross_encoder(tmp_path / "cross", labels=labels)
    small, large = (CrossEncoder(folder, keep=4, device="cpu", batch_size=size) for size in (1, 32))
    found = [Pipeline([Search(keep=12), s]).search(store, QUERY, 4) for s in (small, large)]
    assert [h.passage for h in found[0].hits] == [h.passage for h in found[1].hits]
    scores = [hit.score for hit in found[0].hits]
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx([h.score for h in found[1].hits], abs=1e-5)
    pair = (QUERY, found[0].hits[0].passage.content)
    assert small._forward([pair]) == pytest.approx(scores[:1], abs=1e-5)
    again = Pipeline([Search(keep=12), small]).search(store, QUERY, 4)
    assert again.stages[1].cached == 12
    assert again.hits == found[0].hits


def test_a_folder_without_a_cross_encoder_is_refused(tmp_path) -> None:
    with pytest.raises(FormatError, match="is none"):
        CrossEncoder(tmp_path / "nothing", keep=3)
    with pytest.raises(FormatError, match="no cross-encoder could be loaded"):
        CrossEncoder(tmp_path, keep=3)
    with pytest.raises(ConfigError, match="one or two numbers for a pair, got 3"):
        CrossEncoder(make_cross_encoder(tmp_path / "three", labels=3), keep=3)


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: tokens * np.nan,
        lambda tokens: tokens[:, :-1],
        lambda tokens: tokens[0],
        lambda tokens: None,
        lambda tokens: [["a"]],
    ],
)
def test_token_vectors_that_are_none_are_refused_and_not_cached(tmp_path, change) -> None:
    class Wrong(WordEncoder):
        def encode_tokens(self, texts):
            return [(self.made(t), spans, v) for t, spans, v in super().encode_tokens(texts)]

    Wrong.made = staticmethod(change)
    cache = TokenCache(Wrong(), Scalar(8), tmp_path)
    with pytest.raises(InputError, match="the encoder hash-32 should give"):
        cache.get(["the old bridge"])
    Wrong.made = staticmethod(lambda tokens: tokens.astype(np.float64))
    assert cache.get(["the old bridge"])[0].shape == (3, 32)
    assert cache.known == 0


def test_the_tokens_of_a_long_text_are_those_of_all_its_windows() -> None:
    class Narrow(WordEncoder):
        window = 6

        def count_tokens(self, texts):
            return [len(text.split()) for text in texts]

        def encode_tokens(self, texts):
            return super().encode_tokens([" ".join(text.split()[:6]) for text in texts])

    text = "the old bridge of the city leads over a river to the tower of the clock"
    (tokens,) = token_vectors(Narrow(), [text])
    for word in text.split():
        assert np.isclose(tokens @ HashEncoder().encode([word])[0], 1, atol=1e-5).any()


def test_a_token_cache_that_does_not_serve_is_done_without(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = TokenCache(WordEncoder(), Scalar(8), tmp_path / "file")
    assert [rows.shape for rows in cache.get(["the old bridge", "a"])] == [(3, 32), (1, 32)]
    assert cache.bytes_per_text() == 0


def test_a_cross_encoder_s_score_that_is_not_finite_is_refused(tmp_path, store) -> None:
    stage = CrossEncoder(make_cross_encoder(tmp_path / "model", labels=1), keep=4, device="cpu")
    stage._model.classifier.bias.data[:] = float("nan")
    with pytest.raises(InputError, match="not finite for the question"):
        Pipeline([Search(keep=12), stage]).search(store, QUERY, 3)
