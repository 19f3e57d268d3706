"""What an encoder says of its window, and how texts are counted in its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoptrail.errors import InputError
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
