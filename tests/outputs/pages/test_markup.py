"""HTML is built of elements, in which every text is data."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.outputs.pages.markup import Markup, element, escaped, together
from hoptrail.outputs.printable import printable_lines

ANY = st.text(st.characters(codec=None), max_size=60)


class Reader(HTMLParser):
    """What a browser's parser makes of some HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANY, ANY)
def test_a_text_is_read_as_text_and_an_attribute_as_its_value(text: str, value: str) -> None:
    page = Reader(element("p", text, title=value))
    assert page.elements == [("p", {"title": "\n".join(printable_lines(value))})]
    assert page.text == "\n".join(printable_lines(text))


def test_what_hides_or_turns_is_shown_as_its_escape() -> None:
    assert escaped("a\u202eb\x00\x1b[2J") == "a\\u202eb\\x00\\x1b[2J"


def test_elements_stand_within_elements_and_nothing_is_escaped_twice() -> None:
    inner = element("b", "1 < 2")
    assert element("p", inner, None, " & so on") == "<p><b>1 &lt; 2</b> &amp; so on</p>"
    assert together(inner, inner) == inner + inner
    assert isinstance(inner, Markup)


def test_attributes_may_be_bare_or_left_out_and_need_not_be_python_s_words() -> None:
    assert element("hr", class_="x", aria_label="y", hidden=True, id=None, dir=False) == (
        '<hr class="x" aria-label="y" hidden>'
    )
    assert element("meter", value=0.25, max=1) == '<meter value="0.25" max="1"></meter>'


def test_names_are_the_program_s_own() -> None:
    with pytest.raises(ValueError, match="element"):
        element("p onclick=1")
    with pytest.raises(ValueError, match="attribute"):
        element("p", **{"x y": "1"})
