from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.graph.extraction.entities import find_aliases, find_entities
from hoptrail.graph.extraction.names import name_in_texts, words


def names(text: str, title: str | None = None) -> list[str]:
    return [mention.name for mention in find_entities(words(text), title)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She joined the Conservative Party of Canada.", ["conservative party of canada"]),
        ("A suite by J. S. Bach, Ludwig van Beethoven.", ["j s bach", "ludwig van beethoven"]),
        ("It is by Procter & Gamble.", ["procter gamble"]),
        ("He lives in Springfield, Illinois.", ["springfield", "illinois"]),
        ("After World War II. He left for Rome.", ["world war ii", "rome"]),
        (
            "Gerald O'Hara on Apollo 13 met Mel Brooks's son.",
            ["gerald o hara", "apollo 13", "mel brooks"],
        ),
        ("Hey Gina, thanks! Wow, I saw Caroline.", ["gina", "caroline"]),
        ("Glad I came on Monday, 5 May 1999.", []),
        ("Many came. Although it rained, Born was there.", ["born"]),
        ("Will Smith and the US sang.", ["will smith", "us"]),
        ("NATO met. Nobody else did.", ["nato"]),
        ("Although Dr. House left, the Dr. stayed.", ["dr house"]),
        ("nothing here at all", []),
        ("", []),
    ],
)
def test_runs_of_capitalised_words_are_names(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_a_last_name_alone_is_the_full_name_again() -> None:
    text = "Albert Einstein left Bern. Einstein was 26. Mileva Einstein stayed; so did Einstein."
    assert names(text)[0] == names(text)[2] == "albert einstein"
    assert names(text)[-1] == "mileva einstein"
    assert names("Miller wrote. Arthur Miller read. Miller left.", "Rebecca Miller") == [
        "rebecca miller",
        "rebecca miller",
        "arthur miller",
        "rebecca miller",
    ]
    assert names("Texas is near Alabama.", "Fort Deposit, Alabama")[-1] == "alabama"


def test_a_title_is_an_entity_of_its_passage_without_a_place() -> None:
    first = find_entities(words("He was born."), "Ada Lind (clockmaker)")[0]
    assert (first.name, first.start, first.end) == ("ada lind", -1, -1)


def test_spans_are_where_the_name_stands() -> None:
    text = "In Bern, the Café Müller opened."
    assert [text[m.start : m.end] for m in find_entities(words(text))] == ["Bern", "Café Müller"]


@given(st.text(alphabet="aAbB .,'-&\nßÉ1I\u0301", max_size=60))
def test_any_text_gives_names_that_its_spans_spell(text: str) -> None:
    for mention in find_entities(words(text)):
        assert 0 <= mention.start < mention.end <= len(text)
        assert mention.name
        assert len(mention.name.split()) <= 8


@pytest.mark.parametrize(
    ("title", "text", "aliases"),
    [
        ("Maria Komnene, Queen of Jerusalem", "She was a queen.", ["maria komnene"]),
        ("Bill Clinton", "William Jefferson Clinton was president.", ["william jefferson clinton"]),
        ("Bill Clinton", "Bill Clinton was president.", []),
        ("Bill Clinton", "He was president with Hillary Clinton.", []),
        ("Battle of Sedan", "University of Paris is far.", []),
        ("The Who", "The Who are a band.", []),
        (None, "Ada Lind was a clockmaker.", []),
    ],
)
def test_aliases_come_from_the_title_and_the_opening(
    title: str | None, text: str, aliases: list[str]
) -> None:
    assert find_aliases(title, text) == aliases


@given(st.text(alphabet="aAbB ,of()", max_size=30), st.text(alphabet="aAbB ,of.", max_size=30))
def test_an_alias_is_never_the_title_itself(title: str, text: str) -> None:
    assert name_in_texts(title) not in find_aliases(title, text)
