"""A recall as a page: the whole walk, nothing from elsewhere, and every passage as data."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from hoptrail.types import Cost, Hit, HitSource, Hop, Passage, Recall, Shares, Trail

QUESTION = "In which town was the designer of the Fram born?"


def recall_of(*texts: str, question: str = QUESTION) -> Recall:
    """A recall that returned passages whose title, id, text, namespace, metadata are a text."""
    passages = [
        Passage(f"{number}{text}", text, title=text, namespace=(text,), metadata={text: text})
        for number, text in enumerate(texts, start=1)
    ]
    hops = [Hop(question, passages[0].id, None, 0.9, 0.1, passages[0].namespace)]
    hops += [Hop(f"{question} {p.text}", p.id, p.text, 0.7, 0.2, p.namespace) for p in passages[1:]]
    trails = (
        Trail(tuple(hops), 0.6, "policy", 0.8),
        Trail(tuple(hops[:1]), 0.25, "budget", 0.3),
        Trail((), 0.05, "exhausted"),
    )
    hits = tuple(Hit(p, 0.5, p.text) for p in passages)
    return Recall(question, hits, trails, Cost(12.0, 3, 40, 2))


class Elements(HTMLParser):
    """The elements of a page with their attributes, its style, and what it says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.style = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.names and self.names[-1] == "style" and not self.style:
            self.style = data
        else:
            self.text += data


def test_a_page_shows_queries_links_probabilities_and_why_it_stopped() -> None:
    ship = Passage("fram", "Fram was designed by Colin Archer.", title="Fram")
    born = Passage("archer", "He was born in Larvik.", title="Colin Archer", metadata={"page": 3})
    hops = (
        Hop(QUESTION, "fram", None, 0.91, 0.04),
        Hop(f"{QUESTION} Colin Archer", "archer", "mentions", 0.83, 0.12),
        Hop(f"{QUESTION} Larvik", "larvik", "~stands_on", 0.42, 0.5),
    )
    trail = Trail(hops, 0.57, "policy", 0.96)
    other = Trail(hops[:1], 0.25, "budget", 0.3)
    tail = Passage("nansen", "Nansen drifted.")
    shares = Shares(policy=0.8, links=0.75, lexical=0.9, dense=0.999, judge=1.2)
    sources = (
        HitSource("lexical", rank=4),
        HitSource("title"),
        HitSource(None, link="mentions", id="fram"),
        HitSource(None, link="~stands_on", id="\u202e<b>"),
    )
    hits = (Hit(ship, 0.9), Hit(born, 0.75, None, shares, sources), Hit(tail, 0.1))
    recall = Recall(QUESTION, hits, (trail, other), Cost(8.0, 2, 31, 3))
    text = Elements(recall.to_html()).text
    for phrase in (
        QUESTION,
        "8 ms, 3 passages read out of 31 candidates, 2 texts encoded",
        f"hop 2, query: {QUESTION} Colin Archer",
        "found by the question",
        "named in what was read",
        "over a link: stands_on (against its direction)",
        "He was born in Larvik.",
        '{"page": 3}',
        "91% to read this",
        "12% to stop before it",
        "STOP",
        "the policy has read enough",
        "96% to have enough",
        "57% for the whole trail",
        "read on the way, and not among what came back",
        "0.75",
        "found by the question; on trails of 82% together",
        "named in what was read; on trails of 57% together",
        "on none of these trails: ranked by",
        "score: 0.8 by the policy (75% over links) \u00d7 0.9 words \u00d7 1.2 judged jointly",
        "in the pool by: words (rank 4), the question names it, named (fram), link ~stands_on (",
    ):
        assert phrase in text, phrase


def test_other_trails_are_there_folded_and_a_recall_of_nothing_says_so() -> None:
    page = recall_of("one", "two").to_html()
    elements = Elements(page)
    assert elements.names.count("details") == 2
    assert "no hops left" in elements.text
    assert "nothing left to read" in elements.text
    assert "nothing" in Elements(Recall(QUESTION, (), (), Cost(0, 0, 0, 0)).to_html()).text


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    page = Elements(recall_of("one", "two").to_html())
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.names)
    assert not [a for a in page.attributes if a[0] in {"src", "href", "style", "srcdoc"}]
    assert "url(" not in page.style
    assert "prefers-color-scheme: dark" in page.style
    policy = next(value for name, value in page.attributes if value.startswith("default-src"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_hostile_texts_change_no_element_of_a_page(markup_texts: list[str]) -> None:
    harmless = Elements(recall_of("one", "two").to_html())
    assert len(markup_texts) > 100
    for text in markup_texts:
        recall = recall_of(text, text, question=text)
        for page in (recall.to_html(), recall._repr_html_()):
            elements = Elements(page)
            if page.startswith("<!doctype"):
                assert elements.names == harmless.names
            allowed = {"class", "dir", "tabindex", "min", "max", "value", "aria-label", "lang"}
            of_frame = {"charset", "http-equiv", "content", "name"}
            assert {name for name, _ in elements.attributes} <= allowed | of_frame
            assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", page)


def test_a_notebook_shows_the_same_with_a_style_of_its_own() -> None:
    recall = recall_of("one", "two")
    fragment = Elements(recall._repr_html_())
    assert fragment.names[:2] == ["div", "style"]
    assert "html" not in fragment.names
    assert "The walk, hop by hop" in fragment.text
    rules = re.sub(r"@media[^{]*{", "", fragment.style).split("}")
    assert all(rule.strip().startswith(".hoptrail") for rule in rules if rule.strip())
