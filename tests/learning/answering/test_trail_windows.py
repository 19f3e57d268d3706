"""What a reader sees at once: whole passages side by side, long ones in parts, words uncut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hoptrail.errors import InputError
from hoptrail.learning.answering.answer_network import places_of
from hoptrail.learning.answering.trail_windows import (
    WindowLayout,
    answer_spans,
    cut_texts,
    pad_windows,
)
from hoptrail.memory.encoders.transformer import TransformerEncoder
from hoptrail.memory.encoders.windows import tokenizer_of


@pytest.fixture
def tokenizer(tiny_bert):
    return tokenizer_of(TransformerEncoder(tiny_bert, device="cpu").model.tokenizer)


def test_passages_stand_side_by_side_while_they_fit_and_then_in_the_next_window(tokenizer) -> None:
    question, *passages = cut_texts(tokenizer, ["the city"] + ["old bridge river"] * 30)
    layout = WindowLayout(2, 3, 64)
    windows = layout.windows(question.ids, passages)
    assert len(windows) > 1
    assert all(len(window.ids) <= 64 for window in windows)
    assert [place for window in windows for _, place in window.marks] == list(range(30))
    for window in windows:
        assert window.ids[0] == 2
        assert list(window.ids[1 : 1 + len(question.ids)]) == list(question.ids)
        assert all(window.ids[at] == 3 for at, _ in window.marks)


def test_a_long_passage_is_read_in_parts_that_repeat_the_end_of_the_one_before(tokenizer) -> None:
    question, passage = cut_texts(tokenizer, ["who", " ".join(["old bridge city"] * 80)])
    windows = WindowLayout(2, 3, 64).windows(question.ids, [passage])
    read = [set(window.token[window.passage == 0].tolist()) for window in windows]
    assert set.union(*read) == set(range(len(passage.ids)))
    assert all(len(one & other) == 8 for one, other in pairwise(read))


def test_nothing_read_is_a_window_of_the_question_alone(tokenizer) -> None:
    (question,) = cut_texts(tokenizer, ["the city"])
    (window,) = WindowLayout(2, 3, 64).windows(question.ids, [])
    assert list(window.ids) == [2, *question.ids]
    assert not window.begins.any()


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(InputError, match="at least 32 tokens, got 16"):
        WindowLayout(2, 3, 16)


def test_an_answer_is_found_in_whole_words_and_in_the_window_that_holds_it(tokenizer) -> None:
    text = "The old bridge. A bridge of the city"
    question, passage = cut_texts(tokenizer, ["who", text])
    spans = answer_spans(text, passage, ["bridge"], max_span=5)
    said = [text[passage.characters[i, 0] : passage.characters[j, 1]] for i, j in spans]
    assert said.count("bridge") == 2
    assert answer_spans(text, passage, ["ridge", "yes"], max_span=5) == []
    (window,) = WindowLayout(2, 3, 64).windows(question.ids, [passage])
    places = places_of(window, [(0, span) for span in spans])
    assert [window.token[i] for i, _ in places] == [i for i, _ in spans]
    assert places_of(window, [(1, spans[0])]) == []


def test_tokens_can_be_taken_out_and_found_again(tokenizer) -> None:
    text = "old bridge . city river"
    (tokens,) = cut_texts(tokenizer, [text])
    rest = tokens.without(0, text.index("city"))
    assert [text[a:b] for a, b in rest.characters] == ["city", "river"]
    assert rest.span_of(text.index("river"), len(text)) == (1, 1)
    assert rest.span_of(0, 3) is None


def test_padding_belongs_to_no_passage(tokenizer) -> None:
    question, one, other = cut_texts(tokenizer, ["who", "old bridge", "city"])
    layout = WindowLayout(2, 3, 64)
    trails = [layout.windows(question.ids, [one, other]), layout.windows(question.ids, [other])]
    batch = pad_windows(trails)
    assert batch.ids.shape == batch.mask.shape
    assert batch.trail.tolist() == [0, 1]
    assert np.all(batch.passage.numpy()[batch.mask.numpy() == 0] == -1)
