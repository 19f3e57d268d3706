"""A memory as a page: a drawing whose dots lead to the texts, and every passage as data."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hoptrail.outputs.pages.memory_page import memory_page
from hoptrail.types import Passage


def page_of(first: str, second: str, kind: str) -> str:
    passages = [Passage(text, text, title=text, metadata={text: text}) for text in (first, second)]
    return memory_page(first, [second], 5, passages, [(0.0, 1.0), (1.0, 0.0)], [(0, 1, kind)])


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str]]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))
        values = dict(attrs)
        self.links += [values["href"] or ""] if "href" in values else []
        self.ids += [values["id"] or ""] if "id" in values else []


def test_every_dot_leads_to_the_passage_that_it_is() -> None:
    elements = Elements(page := page_of("Varn", "Ister", "stands_on"))
    assert elements.links == ["#p0", "#p1"]
    assert elements.ids == ["p0", "p1"]
    assert "Varn → Ister: stands_on" in page
    assert "2 of them here" in page


def test_a_long_name_is_cut_in_the_drawing_and_whole_in_the_text() -> None:
    page = page_of("A" * 60, "b", "link")
    assert f"{'A' * 22}…" in page
    assert "A" * 60 in page


def test_hostile_texts_change_no_element_of_the_page(markup_texts: list[str]) -> None:
    harmless = Elements(page_of("one", "two", "three"))
    for text in markup_texts:
        page = page_of(text, text, text)
        elements = Elements(page)
        assert elements.seen == harmless.seen
        assert elements.links == harmless.links
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", page)
