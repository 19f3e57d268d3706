"""The reader on passages that trails share: against the reader on each trail whole."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from hoptrail.errors import InputError
from hoptrail.learning.reader.span_reader import NO, YES, SpanReader, Target, answer_target
from hoptrail.learning.reader.tokens import Encoded, TrailTokens, encoded_text, trail_tokens
from hoptrail.learning.reader.trail_scores import read_passages, trails_log_prob

DIM = 16
QUESTION = "Who wrote it?"
CONTENTS = ("Ann Lee wrote a book, said Ann Lee.", "Bo read Ann Lee.", "Nobody is here", "Bo")
TRAILS = [(0,), (1, 0), (3, 2, 1, 0), (2,), (), (2, 3)]


def encode(text: str) -> Encoded:
    """A toy encoder: a vector a word."""
    words = list(re.finditer(r"\w+|[^\w\s]", text))
    rows = [np.random.default_rng(sum(map(ord, w.group()))).normal(size=DIM) for w in words]
    vectors = np.asarray(rows, dtype=np.float32)
    return vectors, np.asarray([w.span() for w in words], dtype=np.int64), vectors.mean(0)


def tokens(*contents: str) -> TrailTokens:
    encoded = [encode(encoded_text(QUESTION, content)) for content in contents]
    return trail_tokens(QUESTION, contents, encoded, dim=DIM)


@pytest.fixture
def reader() -> SpanReader:
    made = SpanReader(DIM, width=8, max_span=4, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(made.length, generator=torch.Generator().manual_seed(1))
    return made


def whole(reader: SpanReader, answers: list[str]) -> torch.Tensor:
    """Each trail as a thing of its own."""
    trails = [tokens(*(CONTENTS[i] for i in trail)) for trail in TRAILS]
    targets = [answer_target(t, answers, max_span=reader.max_span) for t in trails]
    return reader.log_prob(trails, targets)


def shared(reader: SpanReader, answers: list[str], classes: tuple[int, ...]) -> torch.Tensor:
    """Each passage once."""
    passages = [tokens(content) for content in CONTENTS]
    targets = [answer_target(p, answers, max_span=reader.max_span) for p in passages]
    sums = read_passages(reader, passages, targets)
    return trails_log_prob(reader, sums, TRAILS, [classes] * len(TRAILS))


@pytest.mark.parametrize(
    ("answers", "classes"), [(["Ann Lee"], ()), (["Bo", "nobody"], ()), (["no", "Bo"], (NO,))]
)
def test_equals_reading_each_trail_whole(reader, answers, classes) -> None:
    expected, found = whole(reader, answers), shared(reader, answers, classes)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert bool((expected == -math.inf).any()) != bool(classes)
    ours, theirs = (
        torch.autograd.grad(value[value != -math.inf].sum(), list(reader.parameters()))
        for value in (found, expected)
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_a_trail_of_nothing_has_the_classes_alone(reader) -> None:
    sums = read_passages(reader, [], [])
    found = trails_log_prob(reader, sums, [(), ()], [(YES,), ()]).detach()
    assert -10 < float(found[0]) < 0
    assert found[1] == -math.inf


def test_bad_input_is_refused(reader) -> None:
    nowhere = Target(torch.zeros(0, 2, dtype=torch.long), ())
    with pytest.raises(InputError, match="one passage each"):
        read_passages(reader, [tokens(*CONTENTS[:2])], [nowhere])
    with pytest.raises(InputError, match="as many targets"):
        read_passages(reader, [tokens(CONTENTS[0])], [])
    with pytest.raises(InputError, match="as many lists of classes"):
        trails_log_prob(reader, read_passages(reader, [], []), [()], [])
