"""What all pages share: one file without a script, and a style for light and dark.

A page asks for nothing: its policy (CSP) forbids every script and every address, and lets in the
one style that it holds, by its digest.
"""

from __future__ import annotations

import base64
import hashlib

from hoptrail.outputs.pages.markup import Markup, element, escaped, together

GENERATOR = "hoptrail"
"""What a page names as its maker, by which it is known as ours."""

STYLE = """
.hoptrail { color-scheme: light dark; --ink: #1c2430; --dim: #5b6675; --paper: #ffffff;
  --card: #f5f7fa; --line: #d5dbe3; --blue: #0b62c4; --green: #197a3d; --red: #b3261e;
  --gold: #8a5a00; color: var(--ink); background: var(--paper); margin: 0; text-align: start;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
@media (prefers-color-scheme: dark) { .hoptrail { --ink: #e6e9ee; --dim: #a0abb9;
  --paper: #12161c; --card: #1b212a; --line: #343d4a; --blue: #7db7ff; --green: #6fd08c;
  --red: #ff8a80; --gold: #f0c36d; } }
.hoptrail * { box-sizing: border-box; }
.hoptrail main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
.hoptrail h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
.hoptrail h2 { font-size: 1.1rem; margin: 2rem 0 .75rem; }
.hoptrail p { margin: .25rem 0; }
.hoptrail h1, .hoptrail h2, .hoptrail p, .hoptrail td, .hoptrail summary {
  overflow-wrap: anywhere; }
.hoptrail .dim { color: var(--dim); font-size: .875rem; }
.hoptrail .text { white-space: pre-wrap; overflow-wrap: anywhere; }
.hoptrail .clip { max-height: 12rem; overflow: auto; }
.hoptrail .card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; margin: 0; }
.hoptrail .name { font-weight: 600; }
.hoptrail .link { color: var(--gold); }
.hoptrail .stop { border-color: var(--red); }
.hoptrail .stop .name { color: var(--red); }
.hoptrail .gain { color: var(--blue); }
.hoptrail .walk { list-style: none; margin: 0; padding: 0; }
.hoptrail .walk > li + li::before { content: "\\2193"; display: block; text-align: center;
  color: var(--dim); line-height: 1.4; }
.hoptrail table { border-collapse: collapse; width: 100%; }
.hoptrail th, .hoptrail td { text-align: start; vertical-align: top; padding: .4rem .6rem .4rem 0;
  border-bottom: 1px solid var(--line); }
.hoptrail td.number, .hoptrail th.number { text-align: end; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.hoptrail .wide { overflow-x: auto; }
.hoptrail meter { width: 7rem; height: .7rem; vertical-align: middle; }
.hoptrail details { margin: .4rem 0; }
.hoptrail summary { cursor: pointer; }
.hoptrail a { color: var(--blue); }
.hoptrail :focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.hoptrail svg { max-width: 100%; height: auto; display: block; }
.hoptrail svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.hoptrail svg .edge { stroke: var(--dim); stroke-opacity: .5; stroke-width: 1.5; fill: none; }
.hoptrail svg .node { fill: var(--blue); }
@media print { .hoptrail .clip { max-height: none; } }
"""


def html_page(title: str, *parts: Markup, style: str = "") -> str:
    """A whole page, to be written to a file as UTF-8.

    Args:
        title: What a browser's tab says.
        parts: What it shows, one below the other.
        style: What this page needs beside the common style; from the program, never from a text.
    """
    rules = STYLE + style
    digest = base64.b64encode(hashlib.sha256(rules.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="generator", content=GENERATOR),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(rules)),
    )
    body = element("body", element("main", *parts), class_="hoptrail")
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def html_fragment(*parts: Markup) -> str:
    """Parts within somebody else's page, such as a notebook's: the style reaches no further.

    Args:
        parts: What it shows, one below the other.
    """
    return element(
        "div", element("style", Markup(STYLE)), element("main", *parts), class_="hoptrail"
    )


def heading(title: str, *lines: str) -> Markup:
    """The head of a page: its title and, in small print, what it is about.

    Args:
        title: Of any origin: its direction is its own.
        lines: Below it.
    """
    return together(
        element("h1", title, dir="auto"),
        *(element("p", line, class_="dim") for line in lines),
    )


def section(title: str, *parts: Markup | None) -> Markup:
    """A part of a page under a heading of its own.

    Args:
        title: Of the part.
        parts: What it shows.
    """
    return element("section", element("h2", title), *parts)


def table(headings: list[str], rows: list[list[str]], *, names: int = 1) -> Markup:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        headings: Of its columns.
        rows: Of as many cells, texts or elements.
        names: Columns at the left that hold words; the others hold numbers.
    """

    def line(tag: str, cells: list[str]) -> Markup:
        return element(
            "tr",
            *(
                element(tag, cell, class_="number" if place >= names else None, dir="auto")
                for place, cell in enumerate(cells)
            ),
        )

    body = element("tbody", *(line("td", row) for row in rows))
    head = element("thead", line("th", headings))
    return element("div", element("table", head, body), class_="wide")


def probability(value: float, label: str) -> Markup:
    """A probability as a bar and as a number, which is read aloud with its name.

    Args:
        value: In [0, 1].
        label: What it is the probability of.
    """
    return together(
        element("meter", min=0, max=1, value=float(value), aria_label=label),
        escaped(f" {value:.0%} {label}"),
    )
