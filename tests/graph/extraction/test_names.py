from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.graph.extraction.names import NameMatcher, fold, head, heads, name_in_texts, words


def found(titles: list[str], text: str, *, question: bool = False) -> list[str]:
    """The stretches of a text that name one of the titles."""
    names = [name for title in titles if (name := name_in_texts(title))]
    tokens = words(text)
    return [
        text[tokens.spans[match.first][0] : tokens.spans[match.last][1]]
        for match in NameMatcher(names).matches(tokens, question=question)
    ]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Custody (2007 film)", "custody"),
        ("(I Can't Get No) Satisfaction", "i can t get no satisfaction"),
        ("Procter &amp; Gamble", "procter gamble"),
        ("AT&T; Inc", "at inc"),
        ("Łódź", "lodz"),
        ("東京", "東 京"),
        ("서울특별시", "서 울 특 별 시"),
        ("水", None),
        ("ตา", None),
        ("भारत", "भारत"),
        ("ﾄｳｷｮｳ", "ト ウ キ ョ ウ"),
        ("的" * 25, None),
        ("İSTANBUL", "istanbul"),
        ("(x)(yz)", None),
        ("(xy)(yz)", "xy"),
        ("(1984)", None),
        ("1984", None),
        ("X", None),
        ("The Who", None),
        ("one two three four five six seven eight nine", None),
        ("...", None),
        ("", None),
        (None, None),
    ],
)
def test_a_title_gives_the_name_that_texts_use(title: str | None, name: str | None) -> None:
    assert name_in_texts(title) == name


@pytest.mark.parametrize(
    ("title", "text", "match"),
    [
        ("Schindler's List", "He saw Schindler’s List twice.", "Schindler’s List"),
        ("Canada", "It is Canada's flag.", "Canada"),
        ("Lautaro Murúa", "A film by Lautaro Murua.", "Lautaro Murua"),
        ("Lautaro Murua", unicodedata.normalize("NFD", "By Lautaro Murúa."), None),
        ("Hanau-Lichtenberg", "the county of Hanau–Lichtenberg was", "Hanau–Lichtenberg"),
        ("St. Louis", "He moved to St. Louis in 1900.", "St. Louis"),
        ("Procter & Gamble", "Procter &amp; Gamble was founded", "Procter &amp; Gamble"),
        ("Paris, Texas", "Paris, Texas is a film.", "Paris, Texas"),
        ("New York", "He lives in New\nYork.", "New\nYork"),
        ("iPhone", "The iPhone of 2007", "iPhone"),
    ],
)
def test_spelling_does_not_break_a_match(title: str, text: str, match: str | None) -> None:
    expected = match or text[3:-1]
    assert found([title], text) == [expected]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("The Voice", "the voice of reason"),
        ("The Voice", "The voice of reason"),
        ("Custody", "a custody battle"),
        ("Texas Rangers", "He came from Texas. Rangers of the park found him."),
        ("Texas Rangers", "Texas\n\nRangers"),
        ("New York City", "New York is a state"),
    ],
)
def test_words_that_are_no_name_are_no_match(title: str, text: str) -> None:
    assert found([title], text) == []


def test_the_longest_name_wins_and_matches_do_not_overlap() -> None:
    titles = ["New York", "New York City", "City Council", "York"]
    assert found(titles, "The New York City Council met in York.") == ["New York City", "York"]


def test_a_shorter_name_is_found_when_the_longer_one_fails_behind_it() -> None:
    titles = ["New Boston", "New Boston. City hall of fame"]
    assert found(titles, "In New Boston. City hall of fame is shut.") == ["New Boston"]


def test_a_question_may_be_in_any_case_but_one_word_needs_a_capital_or_quotes() -> None:
    titles = ["Sir Thomas Lawley, 3rd Baronet", "Water", "Once (film)"]
    assert found(titles, "who was sir thomas lawley, 3Rd baronet?", question=True)
    assert found(titles, "what is water made of?", question=True) == []
    assert found(titles, 'who wrote "water"?', question=True) == ["water"]
    assert found(titles, "Is Water a film?", question=True) == ["Water"]


def test_a_name_can_be_forgotten() -> None:
    matcher = NameMatcher(["new york", "new york city"])
    matcher.discard("new york city")
    text = words("New York City")
    assert [match.name for match in matcher.matches(text)] == ["new york"]
    assert len(matcher) == 1
    assert "new york city" not in matcher


@given(st.text())
def test_spans_are_the_words(text: str) -> None:
    tokens = words(text)
    assert all(
        fold(text[a:b]) == word for (a, b), word in zip(tokens.spans, tokens.folded, strict=True)
    )
    assert all(a < b for a, b in tokens.spans)


@given(st.text(alphabet="aA bB.'ß-é\u0301&;"))
def test_every_name_that_a_text_mentions_is_found_by_its_head(text: str) -> None:
    name, tokens = name_in_texts(text), words(text)
    if name and list(NameMatcher([name]).matches(tokens)):
        assert head(name) in heads(tokens)


@given(st.lists(st.sampled_from(["Aa", "Bb", "Cc", "dd"]), max_size=12), st.data())
def test_matches_equal_the_plain_search(text: list[str], data: st.DataObject) -> None:
    name = st.lists(st.sampled_from(["aa", "bb", "cc", "dd"]), min_size=1, max_size=4)
    names = set(map(" ".join, data.draw(st.lists(name, max_size=6))))
    expected, i = [], 0
    while i < len(text):
        for length in range(4, 0, -1):
            part = text[i : i + length]
            folded = " ".join(part).lower()
            if len(part) == length and folded in names and any(w != "dd" for w in part):
                expected.append(folded)
                i += length - 1
                break
        i += 1
    matches = NameMatcher(names).matches(words(" ".join(text)))
    assert [match.name for match in matches] == expected
