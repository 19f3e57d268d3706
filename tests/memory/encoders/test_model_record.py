"""A model that was loaded once is opened without: a recall then imports no torch."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from hoptrail.errors import FormatError
from hoptrail.memory.encoders import model_record, transformer
from hoptrail.memory.encoders.model_record import LEAST_HASHED, file_sha256
from hoptrail.memory.encoders.transformer import TransformerEncoder

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the old bridge river".split()
TEXTS = ["the old bridge", "river"]


def save_network(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    save_network(folder, 0)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_a_model_that_was_loaded_once_is_loaded_again_only_to_encode(folder, monkeypatch) -> None:
    first = TransformerEncoder(folder, device="cpu")
    vectors = first.encode(TEXTS)
    with monkeypatch.context() as patch:
        patch.delattr(transformer, "load_model")
        again = TransformerEncoder(folder, device="cpu")
        assert (again.fingerprint, again.dim) == (first.fingerprint, 16)
        assert (again.window, again.count_tokens(TEXTS)) == (first.window, [3, 1])
        assert (again.tokenizer_json, repr(again)) == (first.tokenizer_json, repr(first))
    np.testing.assert_array_equal(again.encode(TEXTS), vectors)


def test_other_weights_are_another_encoder(folder: Path) -> None:
    first = TransformerEncoder(folder, device="cpu")
    save_network(folder, 1)
    again = TransformerEncoder(folder, device="cpu")
    assert again.fingerprint != first.fingerprint
    assert not np.allclose(again.encode(TEXTS), first.encode(TEXTS), atol=1e-3)


def test_a_folder_that_is_changed_between_opening_and_loading_is_refused(folder: Path) -> None:
    fingerprint = TransformerEncoder(folder, device="cpu").fingerprint
    again = TransformerEncoder(folder, device="cpu")
    save_network(folder, 1)
    with pytest.raises(FormatError, match=f"should have the fingerprint {fingerprint}"):
        again.encode(TEXTS)


@pytest.mark.parametrize("damage", ["", "{", "[1]", "{}", '{"fingerprint": 3}'])
def test_a_damaged_record_is_made_anew(folder: Path, tmp_path: Path, damage: str) -> None:
    first = TransformerEncoder(folder, device="cpu")
    [record] = (tmp_path / "cache" / "models").iterdir()
    content = record.read_text(encoding="utf-8")
    record.write_text(damage or content.replace('"dim": 16', '"dim": "16"'), encoding="utf-8")
    assert TransformerEncoder(folder, device="cpu").fingerprint == first.fingerprint
    assert record.read_text(encoding="utf-8") == content


def test_without_a_place_for_records_a_model_is_loaded_each_time(folder, tmp_path) -> None:
    (tmp_path / "cache").write_text("in the way")
    first = TransformerEncoder(folder, device="cpu")
    assert TransformerEncoder(folder, device="cpu").fingerprint == first.fingerprint


def test_a_later_process_encodes_questions_without_torch(folder: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    code = f"""
import sys
from hoptrail.memory.encoders.query_side import for_questions
from hoptrail.memory.encoders.transformer import TransformerEncoder

quick = for_questions(TransformerEncoder({str(folder)!r}, device="cpu"))
total = quick.encode(["the old bridge"]).sum()
print(total, *sorted({{"torch", "transformers"}} & {{*sys.modules}}))
"""
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout.split() == [first.stdout.split()[0], "torch", "transformers"]
    assert second.stdout.split() == first.stdout.split()[:1]


def test_a_large_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"a" * LEAST_HASHED)
    monkeypatch.setattr(model_record, "SETTLED", -1)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file_sha256(file) == digest
    [entry] = (tmp_path / "cache").rglob("*.sha256")
    entry.write_text(entry.read_text().replace(digest, "as it was kept"))
    assert file_sha256(file) == "as it was kept"
    file.write_bytes(b"b" * LEAST_HASHED)
    os.utime(file, ns=(1, 1))  # a change within a tick of the clock is what SETTLED is for
    assert file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    entry.write_text("{")
    assert len(file_sha256(file)) == 64


def test_a_file_that_was_just_written_is_hashed_each_time(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOPTRAIL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights"
    file.write_bytes(b"a" * LEAST_HASHED)
    file_sha256(file)
    assert not list((tmp_path / "cache").rglob("*.sha256"))
