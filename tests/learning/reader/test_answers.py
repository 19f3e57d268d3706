from __future__ import annotations

import random
import re

import numpy as np
import pytest
from numpy.typing import NDArray

from hoptrail.errors import InputError
from hoptrail.learning.reader.answers import inside_word, match_spans, normalize_answer


def tokenize(text: str, piece: int = 4) -> NDArray[np.int64]:
    """Words and punctuation, words cut into pieces as a word-piece tokenizer does."""
    spans = [
        (start, min(start + piece, word.end()))
        for word in re.finditer(r"\w+|[^\w\s]", text)
        for start in range(word.start(), word.end(), piece)
    ]
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def brute_force(
    text: str, characters: NDArray[np.int64], answers: list[str], max_span: int
) -> list[tuple[int, int]]:
    wanted = {normalize_answer(answer) for answer in answers} - {""}
    return [
        (i, j)
        for i in range(len(characters))
        for j in range(i, min(i + max_span, len(characters)))
        if normalize_answer(text[characters[i, 0] : characters[j, 1]]) in wanted
        and not inside_word(text, int(characters[i, 0]))
        and not inside_word(text, int(characters[j, 1]))
    ]


def said(text: str, answers: list[str], max_span: int = 20) -> list[str]:
    characters = tokenize(text)
    found = match_spans(text, characters, answers, max_span=max_span)
    return [text[characters[i, 0] : characters[j, 1]] for i, j in found]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Beatles", "beatles"),
        ("  U.S.A. ", "usa"),
        ("Straße", "strasse"),
        ("1990\u201391", "199091"),
        ("The The", "the the"),
        ("!!!", "!!!"),
        ("", ""),
        ("$5", "5"),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


def test_every_occurrence_with_all_its_trimmings_is_found() -> None:
    text = "The Beatles (from Liverpool) met; the beatles, all four."
    assert said(text, ["Beatles"]) == [
        "The Beatles",
        "The Beatles (",
        "Beatles",
        "Beatles (",
        "; the beatles",
        "; the beatles,",
        "the beatles",
        "the beatles,",
        "beatles",
        "beatles,",
    ]


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Smithson met Smith", "Smith", ["Smith"]),
        ("American-born poet", "American", ["American", "American-"]),
        ("the Battle of the Somme", "Battle of Somme", ["the Battle of the Somme"]),
        ("A.B.C. Murders", "ABC Murders", ["A.B.C. Murders"]),
        ("no such thing", "Paris", []),
        ("in 1990s London", "1990", []),
    ],
)
def test_what_counts_as_an_occurrence(text: str, answer: str, expected: list[str]) -> None:
    found = said(text, [answer])
    assert set(expected) <= set(found)
    assert bool(found) == bool(expected)


def test_longer_spans_than_allowed_and_blank_answers_match_nothing() -> None:
    assert said("one two three", ["one two three"], max_span=2) == []
    assert said("one two three", ["", "  "]) == []
    assert said("", ["one"]) == []


def test_equals_brute_force_on_random_texts() -> None:
    rng = random.Random(0)
    parts = ["the", "a", "an", "A.", "Foo", "foobarbaz", "bar", "-", ".", "(", "\u2019s", "X", "7"]
    checked = 0
    for _ in range(300):
        text = "".join(rng.choice(parts) + rng.choice(["", " "]) for _ in range(12))
        characters = tokenize(text, piece=3)
        answers = []
        for _ in range(3):
            start = rng.randrange(len(characters))
            end = min(start + rng.randrange(4), len(characters) - 1)
            answers.append(text[characters[start, 0] : characters[end, 1]])
        got = match_spans(text, characters, answers, max_span=6)
        assert got == brute_force(text, characters, answers, 6), (text, answers)
        checked += len(got)
    assert checked > 500


def test_a_span_length_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="max_span should be at least 1, got 0"):
        match_spans("one", tokenize("one"), ["one"], max_span=0)
