"""Whether two are of one country: what is asked, whom it is about, and what their passages say."""

from __future__ import annotations

import pytest

from hoptrail import Passage
from hoptrail.learning.answering.comparisons.countries import countries_in
from hoptrail.learning.answering.comparisons.country_comparison import compare_countries

PASSAGES = [
    Passage("a", "Ann Ray (born 3 May 1950 in Vienna, Austria) is a Swiss singer.", "Ann Ray"),
    Passage("b", "Bo Lee was a Canadian-American dancer who lived in France.", "Bo Lee"),
    Passage("c", "Cy Poe is an American judge and a friend of Swiss directors.", "Cy Poe"),
    Passage("f", "Frost is a 1977 Italian film. It was directed by Ann Ray.", "Frost (1977 film)"),
    Passage("g", "Glow is a 1975 film by director Bo Lee about another director.", "Glow (film)"),
    Passage("h", "Hill School is a school in Leeds, Yorkshire, England.", "Hill School"),
    Passage("m", "Mill Bridge is a bridge over the Tweed in Scotland.", "Mill Bridge"),
    Passage("n", "Nobody says where this stands.", "Nowhere Tower"),
]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Are Bo Lee and Cy Poe from the same country?", "yes"),
        ("Do Ann Ray and Cy Poe have the same nationality?", "no"),
        ("Are both Hill School and Mill Bridge located in the same country?", "yes"),
        ("Are both films, Frost (1977 Film) and Glow (Film), from the same country?", None),
        ("Do the films Frost and Glow have directors of the same nationality?", "no"),
        ("Are Nowhere Tower and Mill Bridge located in the same country?", None),
        ("Are Ann Ray and Dee Fox from the same country?", None),
        ("Who of Ann Ray and Bo Lee sang better?", None),
    ],
)
def test_what_the_passages_say_of_themselves_decides(question: str, answer: str | None) -> None:
    comparison = compare_countries(question, PASSAGES)
    assert (comparison and comparison.text) == answer


def test_the_countries_are_named_where_they_stand() -> None:
    comparison = compare_countries("Are Bo Lee and Cy Poe of the same nationality?", PASSAGES)
    assert comparison
    texts = [PASSAGES[place].text[start:end] for place, start, end in comparison.places]
    assert texts == ["Canadian", "American", "American"]


def test_a_word_speaks_for_a_country_as_it_is_written() -> None:
    named = countries_in("A turkey from New South Wales, a Welsh hen and an Indianapolis egg")
    assert [country for country, _, _ in named] == ["Australia", "United Kingdom"]
