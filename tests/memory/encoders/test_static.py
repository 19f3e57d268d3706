"""The encoder without a network: a table of token vectors, kept in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from hoptrail.errors import EncoderMismatch, FormatError, InputError
from hoptrail.memory.encoders.static import StaticEncoder, load_encoder
from hoptrail.memory.encoders.transformer import Encoder
from hoptrail.memory.store import Store
from hoptrail.types import Passage

WORDS = "[UNK] the old bridge river under of city".split()


def words_tokenizer() -> str:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


@pytest.fixture
def encoder() -> StaticEncoder:
    table = np.random.default_rng(0).normal(size=(len(WORDS), 6))
    table[0] = 0  # an unknown word says nothing
    return StaticEncoder(table, words_tokenizer(), made_of={"teacher": "nobody"})


def test_a_text_is_the_normalised_sum_of_its_tokens(encoder: StaticEncoder) -> None:
    assert isinstance(encoder, Encoder)
    old, river, both = encoder.encode(["old", "river", "old river old"])
    table = encoder._table
    expected = 2 * table[WORDS.index("old")] + table[WORDS.index("river")]
    assert both == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)
    assert np.linalg.norm([old, river, both], axis=1) == pytest.approx(1, abs=1e-6)


def test_equal_bags_have_equal_bits_in_any_order_and_any_batch(encoder: StaticEncoder) -> None:
    one = encoder.encode(["the old bridge of the city"])[0]
    many = encoder.encode(["river", "city the of bridge old the", "under", ""] * 500)
    assert many[1].tobytes() == many[-3].tobytes() == one.tobytes()


def test_a_text_without_a_known_word_still_has_a_unit_vector(encoder: StaticEncoder) -> None:
    vectors = encoder.encode(["", "zzz", " "])
    assert (vectors == vectors[0]).all()
    assert np.linalg.norm(vectors[0]) == 1
    assert encoder.encode([]).shape == (0, 6)
    with pytest.raises(InputError, match="not one string"):
        encoder.encode("the old bridge")


def test_it_has_no_window_and_counts_its_own_tokens(encoder: StaticEncoder) -> None:
    assert encoder.window is None
    assert encoder.count_tokens(["the old bridge", "", "river " * 500]) == [3, 0, 500]


def test_a_folder_gives_the_same_encoder_back(encoder: StaticEncoder, tmp_path: Path) -> None:
    again = load_encoder(encoder.save(tmp_path / "static"))
    assert isinstance(again, StaticEncoder)
    assert repr(again) == repr(encoder)
    assert again.made_of == {"teacher": "nobody"}
    text = ["the river under the bridge"]
    assert again.encode(text).tobytes() == encoder.encode(text).tobytes()
    other = StaticEncoder(encoder._table + 1, words_tokenizer())
    assert other.fingerprint != encoder.fingerprint


def test_a_folder_without_a_static_encoder_is_taken_for_a_network_s(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no encoder could be loaded"):
        load_encoder(tmp_path)
    with pytest.raises(FormatError, match="no static encoder can be read"):
        StaticEncoder.load(tmp_path)


@pytest.mark.parametrize("file", ["tokens.safetensors", "tokenizer.json", "static.json"])
def test_a_damaged_folder_is_refused(encoder: StaticEncoder, tmp_path: Path, file: str) -> None:
    folder = encoder.save(tmp_path / "static")
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError):
        StaticEncoder.load(folder)


def test_a_table_of_another_encoder_is_noticed(encoder: StaticEncoder, tmp_path: Path) -> None:
    folder = encoder.save(tmp_path / "static")
    StaticEncoder(encoder._table * 2, words_tokenizer()).save(tmp_path / "other")
    (tmp_path / "other" / "tokens.safetensors").replace(folder / "tokens.safetensors")
    with pytest.raises(FormatError, match="a file of it was changed"):
        StaticEncoder.load(folder)
    card = json.loads((folder / "static.json").read_text())
    (folder / "static.json").write_text(json.dumps({**card, "format": "hoptrail-static-9"}))
    with pytest.raises(FormatError, match="should have the format 'hoptrail-static-1'"):
        StaticEncoder.load(folder)


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="two axes"):
        StaticEncoder(np.ones(8), words_tokenizer())
    with pytest.raises(InputError, match="knows 8 tokens and the table 3"):
        StaticEncoder(np.ones((3, 4)), words_tokenizer())
    with pytest.raises(InputError, match="float16 cannot hold"):
        StaticEncoder(np.full((8, 4), np.nan), words_tokenizer())
    with pytest.raises(FormatError, match="tokeniser of an encoder cannot be read"):
        StaticEncoder(np.ones((8, 4)), "{}")


def test_a_store_takes_it_and_names_it(encoder: StaticEncoder, tmp_path: Path) -> None:
    with Store(tmp_path / "s.db", encoder=encoder) as store:
        store.add([Passage("b", "the old bridge"), Passage("r", "the river under the city")])
        assert store.search("old bridge", 1, mode="dense")[0].passage.id == "b"
    other = StaticEncoder(encoder._table[:, :5], words_tokenizer())
    with pytest.raises(EncoderMismatch, match="5 dim"):
        Store(tmp_path / "s.db", encoder=other)
