"""Whoever mentions a name is found by it, and next to nobody else."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.graph.extraction.name_index import index_keys, index_query
from hoptrail.graph.extraction.names import NameMatcher, name_in_texts, words


def texts_found(name: str, texts: Sequence[str], namespace: str = "") -> list[int]:
    """The numbers of the texts that the index finds for a name."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (keys, detail=none, tokenize=ascii)")
        connection.executemany(
            "INSERT INTO t (rowid, keys) VALUES (?, ?)",
            [(i, index_keys(words(text), "")) for i, text in enumerate(texts)],
        )
        query = index_query(name, namespace)
        rows = connection.execute("SELECT rowid FROM t WHERE t MATCH ?", (query,))
        return sorted(rowid for (rowid,) in rows)


WORDS = [
    "Red",
    "red",
    "SEA",
    "sea",
    "of",
    "Of",
    "the",
    "x_y",
    "Ünal",
    "ünal",
    "東京は",
    "7",
    "서울에",
]
BETWEEN = [" ", ", ", "-", " & "]


@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BETWEEN)), min_size=1, max_size=9),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=7),
)
def test_every_text_that_mentions_a_name_is_found(
    parts: list[tuple[str, str]], title: list[str]
) -> None:
    name = name_in_texts(" ".join(title))
    text = "".join(word + gap for word, gap in parts)
    whole = [f"{text} {' '.join(title)}", text, " ".join(title).lower()]
    if name:
        matcher = NameMatcher([name])
        mention = {i for i, one in enumerate(whole) if list(matcher.matches(words(one)))}
        assert mention <= set(texts_found(name, whole))


@pytest.mark.parametrize(
    ("name", "text", "vain"),
    [
        ("time", "The Time of day.", "It is time for Ann."),
        ("high school", "At High School they met.", "Ann left high school."),
        ("red sea", "the red Sea", "the Red boat at sea"),
        ("lord of the rings", "The lord of the Rings.", "The Lord of the Isles had Rings."),
        (
            "university of new york city",
            "A university of new York City.",
            "A University of New York.",
        ),
    ],
)
def test_a_text_that_has_the_words_otherwise_is_not(name: str, text: str, vain: str) -> None:
    assert texts_found(name, [text, vain]) == [0]


def test_another_namespace_has_other_keys() -> None:
    assert texts_found("red sea", ["The Red Sea."]) == [0]
    assert texts_found("red sea", ["The Red Sea."], "other") == []
