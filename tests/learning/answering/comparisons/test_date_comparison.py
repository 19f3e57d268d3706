"""Comparisons of dates: what is compared, which way, and where the dates stand."""

from __future__ import annotations

import pytest

from hoptrail import Passage
from hoptrail.learning.answering.comparisons.date_comparison import compare_dates

PEOPLE = [
    Passage("a", "Ann Ray (3 May 1950 – 2 June 1990) was a singer.", "Ann Ray"),
    Passage("b", "Bo Lee( born March 1, 1949) is a dancer. He died on 4 July 2001.", "Bo Lee"),
]
FILMS = [
    Passage("f", "Frost is a 1977 drama film directed by Ann Ray.", "Frost (film)"),
    Passage("g", "Glow, Again is a 1975 film by director Bo Lee.", "Glow, Again"),
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who was born later, Ann Ray or Bo Lee?", "Ann Ray"),
        ("Who is older, Ann Ray or Bo Lee?", "Bo Lee"),
        ("Was Bo Lee or Ann Ray born first?", "Bo Lee"),
        ("Who was born first out of Ann Ray and Bo Lee?", "Bo Lee"),
        ("Who died first, Bo Lee or Ann Ray?", "Ann Ray"),
        ("Who lived longer, Ann Ray or Bo Lee?", "Bo Lee"),
        ("Which film was released earlier, Glow, Again or Frost (Film)?", "Glow, Again"),
        ("Which film came out more recently, Glow, Again or Frost?", "Frost"),
        ("Which film has the director born first, Frost or Glow, Again?", "Glow, Again"),
        ("Which film has the director who died later, Frost or Glow, Again?", "Glow, Again"),
    ],
)
def test_the_dates_decide(question: str, answer: str) -> None:
    comparison = compare_dates(question, [*PEOPLE, *FILMS])
    assert comparison
    assert comparison.text == answer


def test_the_dates_are_named_where_they_stand() -> None:
    comparison = compare_dates("Who was born later, Ann Ray or Bo Lee?", PEOPLE)
    assert comparison
    texts = [PEOPLE[place].text[start:end] for place, start, end in comparison.places]
    assert texts == ["3 May 1950", "March 1, 1949"]


@pytest.mark.parametrize(
    "question",
    [
        "Who sang better, Ann Ray or Bo Lee?",
        "Who was born in 1950?",
        "Who was born later, Ann Ray or Cy Poe?",
        "Are Ann Ray and Bo Lee from the same country?",
        "Which film has the director born first, Frost or Ann Ray?",
    ],
)
def test_what_no_two_dates_decide_is_left_to_the_reader(question: str) -> None:
    assert compare_dates(question, [*PEOPLE, FILMS[0]]) is None


def test_equal_dates_decide_nothing() -> None:
    same = [Passage(i, f"{i} (born 1950) is a singer.", i) for i in ("Ann", "Bo")]
    assert compare_dates("Who was born later, Ann or Bo?", same) is None
