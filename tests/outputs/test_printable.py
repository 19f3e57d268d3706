"""What a terminal is shown of stored text, and how namespaces are spelled."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import InputError
from hoptrail.outputs.printable import (
    namespace_of,
    namespace_text,
    printable,
    printable_json,
    printable_lines,
    quoted,
)

ANY = st.text(st.characters(codec=None), max_size=40)
HOSTILE = (
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066\u2069",
    "\u200b\ufeff\u200f",
    "\x7f\x00\x08",
    "\U000e0041",
    "\ud800",
)


def unsafe(text: str) -> list[str]:
    """The characters that no terminal should get."""
    return [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(ANY)
def test_a_printable_text_is_one_line_without_orders_to_a_terminal(text: str) -> None:
    shown = printable(text)
    assert set(unsafe(shown)) <= {"\u200c", "\u200d"}
    assert len(shown.splitlines()) <= 1
    for line in printable_lines(text):
        assert set(unsafe(line)) <= {"\u200c", "\u200d"}


@given(ANY.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_printable_json_means_the_same(text: str) -> None:
    spelled = printable_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert json.loads(spelled) == {text: [text]}
    assert set(unsafe(spelled)) <= {"\n", "\u200c", "\u200d"}
    assert json.loads(quoted(text)) == text
    assert len(quoted(text).splitlines()) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_unsafe_is_shown_as_its_escape(text: str) -> None:
    assert not unsafe(printable(text))
    assert "\\" in printable(text)


@pytest.mark.parametrize(
    "text",
    [
        "Lwów — “a city”",
        "می\u200cخواهم",  # noqa: RUF001
        "👩\u200d🔬 ran",
        "क्\u200dष",
        "日本語、ไทย, עברית, العَرَبِيَّة",
        "e\u0301 ½ €",
    ],
)
def test_letters_marks_and_emoji_of_every_script_stay(text: str) -> None:
    assert printable(text) == text
    assert json.loads(quoted(text)) == text


def test_lines_are_divided_wherever_a_reader_would_divide_them() -> None:
    assert printable("a\nb\r\nc\u2028d\x0be\tf") == "a b c d e f"
    assert printable_lines("a\r\nb\u2028c\x85d\x1be") == ["a", "b", "c", "d\\x1be"]


PARTS = st.lists(ANY.filter(bool), max_size=4).map(tuple)


@given(PARTS)
def test_a_namespace_is_read_back_from_its_spelling(namespace: tuple[str, ...]) -> None:
    shown = namespace_text(namespace)
    assert namespace_of(shown) == namespace
    assert printable(shown) == shown


@given(PARTS, PARTS)
def test_two_namespaces_are_never_spelled_alike(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    assert (namespace_text(one) == namespace_text(two)) == (one == two)


def test_a_namespace_that_slashes_cannot_spell_is_a_json_list() -> None:
    assert namespace_text(("team", "ann")) == "team/ann"
    assert namespace_text(("a/b", "c")) == '["a/b", "c"]'
    assert namespace_text(("[x]",)) == '["[x]"]'
    assert namespace_text(()) == ""
    assert namespace_of("") == ()
    for wrong in ("a//b", "/", "[1]", '["a"', "[" * 100_000, '{"a": 1}/', '["a", ""]'):
        if wrong.startswith("{"):
            assert namespace_of(wrong[:-1]) == ('{"a": 1}',)
            continue
        with pytest.raises(InputError, match="a namespace is spelled a/b"):
            namespace_of(wrong)
