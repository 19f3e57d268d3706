"""What an encoder says of its window, and how texts are counted in its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from hoptrail.errors import InputError
from hoptrail.memory.encoders import windows
from hoptrail.memory.encoders.disk_cache import CachedEncoder
from hoptrail.memory.encoders.query_cache import QueryCache, RememberingEncoder
from hoptrail.memory.encoders.windows import Windowed, count_tokens, window_of
from hoptrail.memory.testing.hash_encoder import HashEncoder


def test_wrappers_pass_the_window_and_the_count_of_the_encoder_inside_through(tmp_path: Path):
    class Narrow(HashEncoder):
        window = 7

        def count_tokens(self, texts):
            return [len(text) for text in texts]

    inside = Narrow()
    for encoder in (
        inside,
        CachedEncoder(inside, tmp_path),
        RememberingEncoder(CachedEncoder(inside, tmp_path), QueryCache(3)),
    ):
        assert isinstance(encoder, Windowed)
        assert window_of(encoder) == 7
        assert count_tokens(encoder, ["five!", ""]) == [5, 0]


def test_an_encoder_that_names_no_window_reads_all_and_has_its_tokens_estimated(tmp_path: Path):
    encoder = CachedEncoder(HashEncoder(), tmp_path)
    assert encoder.window is None
    assert encoder.count_tokens(["four", "fives", ""]) == [1, 2, 0]


def test_one_string_is_not_taken_for_a_list_of_texts_to_count():
    with pytest.raises(InputError, match="not one string"):
        count_tokens(HashEncoder(), "text")


def read_tokenizers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of tokenisers that are read from now on."""
    read: list[str] = []
    tokenizer_of = windows.tokenizer_of
    monkeypatch.setattr(
        windows, "tokenizer_of", lambda text: read.append(text) or tokenizer_of(text)
    )
    return read


def test_a_tokenizer_that_cuts_is_made_of_one_that_was_read(monkeypatch) -> None:
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "river": 5, "##s": 6}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[CLS]", "[SEP]", "[new]"])
    tokenizer.add_tokens(["hoptrail"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    plain = tokenizer.to_str()
    tokenizer.enable_truncation(9)
    tokenizer.enable_padding(length=12)
    cutting = tokenizer.to_str()

    read = read_tokenizers(monkeypatch)
    cutter = windows.shared_tokenizer(plain, 5)
    assert windows.shared_tokenizer(cutting, 5) is cutter
    assert windows.shared_tokenizer(cutting).to_str() == plain
    assert read == [plain]
    expected = windows.truncating_tokenizer(plain, 5)
    assert cutter.to_str() == expected.to_str()
    text = "Rivers a river [new] hoptrail rivers"
    assert cutter.encode(text).ids == expected.encode(text).ids
    assert len(windows.shared_tokenizer(plain).encode(text).ids) == 10
