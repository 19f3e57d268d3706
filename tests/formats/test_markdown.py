"""Markdown as people write it, and as nobody should."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.formats.documents import passages_of
from hoptrail.formats.markdown import Block, Heading, parse_blocks, slug
from hoptrail.types import Passage


def cut(**texts: str) -> dict[str, Passage]:
    given = {f"{name.replace('__', '/')}.md": text for name, text in texts.items()}
    return {passage.id: passage for passage in passages_of(given)}


def targets(passage: Passage) -> list[str]:
    return [link.target for link in passage.links if link.kind == "link"]


def test_front_matter_is_metadata_and_title_and_no_text() -> None:
    front = (
        "---\ntitle: Reactor Manual\ntags: [safety, 'b']\ndate: 2024-03-01\n"
        "at: 2024-03-01 10:00:00\nnested: {a: {b: [1, 2.5, null, true]}}\n7: seven\n"
        "source: https://example.org\nbad: .inf\n---\n"
    )
    one = cut(manual=f"\ufeff{front}\nThe pump is in room 12.\n".removeprefix("\ufeff"))[
        "manual.md"
    ]
    assert (one.title, one.text) == ("Reactor Manual", "The pump is in room 12.")
    assert one.metadata == {
        "title": "Reactor Manual",
        "tags": ["safety", "b"],
        "date": "2024-03-01",
        "at": "2024-03-01T10:00:00",
        "nested": {"a": {"b": [1, 2.5, None, True]}},
        "7": "seven",
        "source": "https://example.org",  # the author's, not ours
        "bad": "inf",
    }
    toml = cut(a='+++\r\ntitle = "T"\r\nday = 2024-01-02\r\n+++\r\n## H\r\n\r\nText.')["a.md"]
    assert (toml.title, toml.text, toml.metadata["day"]) == ("T", "H\n\nText.", "2024-01-02")
    both = cut(a="---\ntitle: Front\n---\n# *Head* `ing`\n\nText.\n")["a.md"]
    assert (both.title, both.metadata["title"]) == ("Head ing", "Front")


@pytest.mark.parametrize(
    "text",
    [
        "---\nkept: [\n---\ntext",  # not YAML
        "---\n\nkept\n\n---\ntext",  # two thematic breaks
        "---\n- kept\n---\ntext",  # no mapping
        "---\nkept: yes\ntext",  # never closed
        "+++\nkept = \n+++\ntext",
        "---\nkept: &a [*a]\n---\ntext",  # holds itself
        "---\n" + "a: " + "[" * 5_000 + "kept\n---\ntext",
        "---\nx0: &x0 [kept]\n"
        + "".join(f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 30))
        + "---\ntext",
        "---\nx0: &x0 {kept: 1}\n"
        + "".join(
            f"x{n}: &x{n}\n  <<: [{','.join([f'*x{n - 1}'] * 9)}]\n  y{n}: 1\n"
            for n in range(1, 30)
        )
        + "---\ntext",
        f"---\na: &a {'kept ' * 1_000}\nb: [{','.join(['*a'] * 2_000)}]\n---\ntext",
        f"---\nkept: {':'.join(['59'] * 9_000)}\n---\ntext",
        f"---\nkept: {{a: 0x{'f' * 9_000}}}\n---\ntext",
    ],
)
def test_what_only_looks_like_front_matter_stays_text(text) -> None:
    parts = cut(a=text)
    together = "".join(part.text for part in parts.values())
    assert "kept" in together
    assert "text" in together
    assert passages_of({"a.md": text}).documents[0].text == text


def test_front_matter_that_is_none_is_named_and_an_empty_one_is_taken_away() -> None:
    (odd,) = passages_of({"a.md": "---\nx: [\n---\ntext", "b.md": "plain"}).remarks()
    assert odd.path == "a.md"
    assert "no valid YAML" in odd.why
    assert cut(a="---\n---\n\ntext")["a.md"].text == "text"
    assert cut(a="---\ntitle: only\n---\n") == {}


def test_values_that_are_merged_stay_metadata() -> None:
    front = "base: &base {author: Ann, year: 1999}\nthis: {<<: *base, year: 2001}"
    assert cut(a=f"---\n{front}\n---\ntext")["a.md"].metadata["this"] == {
        "author": "Ann",
        "year": 2001,
    }


def test_wikilinks_lead_by_name_path_alias_and_heading() -> None:
    found = cut(
        index=(
            "See [[Valve List]], [[valve list|shown]], [[Deep/note]], [[V-9]], ![[note]],\n"
            "[[Valve List#Red ones]], [[#Below]], [[Missing]] and `[[Valve List]]`.\n\n"
            "| a | b |\n|---|---|\n| [[note\\|cell]] | x |\n\n# Below\n\nHere."
        ),
        **{"sub__Valve List": "---\naliases: [V-9, valve nine]\n---\nAll.\n\n## Red ones\n\nRed."},
        sub__deep__note="Deep.",
        other__note="Other.",
    )
    first = found["index.md"]
    assert targets(first) == ["sub/Valve List.md", "sub/deep/note.md", "other/note.md",
                              "sub/Valve List.md#2", "index.md#2"]  # fmt: skip
    assert "See Valve List, shown, Deep/note, V-9, note," in first.text
    assert "Missing and `[[Valve List]]`." in first.text


@pytest.mark.parametrize(
    "text", ["[[ -f x ]] && y", "[[1, 2], [3]]", "a[[0]]", "[[", "[[]]", "[[\na]]"]
)
def test_brackets_that_are_no_wikilink_stay(text) -> None:
    assert cut(a=text)["a.md"].text == text


def test_links_of_every_kind_lead_to_the_chunk_that_they_name() -> None:
    found = cut(
        a=(
            "[x][ref] [ref] <https://x.org> [up](../b%20c.md#Über-uns) [root](/b%20c.md#same-1)\n"
            "[no](javascript:x) [two\nlines](<b c.md> 'title') ![pic](p.png) [d](sub/) [e](d)\n\n"
            "[ref]: b%20c.md#setext\n"
        ),
        **{"b c": "Setext\n===\n\nx\n\n## Same\n\ny\n\n## Same\n\nz\n\n## Über uns!\n\nw"},
        sub__README="Sub.",
        d="D.",
    )
    first = found["a.md"]
    assert targets(first) == ["b c.md", "b c.md#3", "sub/README.md", "d.md"]  # `../` leads out
    assert first.text.startswith(
        "x ref <https://x.org> up root\n[no](javascript:x) two\nlines pic d e"
    )
    inner = cut(s__a="[u](../b.md#über-uns)", b="# B\n\nx\n\n## Über uns\n\ny")
    assert targets(inner["s/a.md"]) == ["b.md#2"]


def test_only_what_the_parser_calls_a_heading_is_one() -> None:
    text = (
        "<!--\n# comment\n-->\n\n> # quoted\n\n- # in a list\n\n    # code\n\n"
        "~~~\n# fenced\n```\n~~~\n\n"
        "Set\next\n---\n\nunder it\n\n#no heading\n"
    )
    items = list(parse_blocks(text.split("\n")))
    assert [item.name for item in items if isinstance(item, Heading)] == ["Set ext"]
    (first, second) = cut(a=text).values()
    for words in ("comment", "quoted", "in a list", "code", "fenced"):
        assert words in first.text
    assert "#no heading" in second.text


def test_a_table_and_a_fence_are_cut_between_rows_with_what_stands_above() -> None:
    rows = "\n".join(f"| row {n} | some words about it |" for n in range(200))
    parts = list(cut(a=f"| a | b |\n|---|---|\n{rows}").values())
    assert len(parts) > 3
    for part in parts:
        lines = part.text.split("\n")
        assert lines[:2] == ["| a | b |", "|---|---|"]
        assert all(line.startswith("| row ") for line in lines[2:])
    seen = [line for part in parts for line in part.text.split("\n")[2:]]
    assert "\n".join(seen) == rows
    code = "\n".join(f"    value_{n} = call({n})" for n in range(200))
    for closing in ("\n```", ""):
        parts = list(cut(a=f"```python\n{code}{closing}").values())
        assert all(part.text.startswith("```python\n    value_") for part in parts)
        assert all(part.text.endswith(closing) for part in parts)
        seen = [line for part in parts for line in part.text.split("\n") if "```" not in line]
        assert "\n".join(seen) == code


def test_a_heading_that_is_too_long_for_one_stands_in_the_text() -> None:
    long = "very long heading " * 40
    (part, *rest) = cut(a=f"# {long}\n\nText.").values()
    assert part.text.startswith("# very long")
    assert len(part.title or "") < 300
    assert "Text." in "".join(part.text for part in (part, *rest))


def test_a_slug_is_what_github_makes() -> None:
    assert slug("Hello, World! (v1.2)") == "hello-world-v12"
    assert slug("snake_case & dash-es") == "snake_case--dash-es"
    assert slug("日本語 の 見出し") == "日本語-の-見出し"


ATTACKS = {
    name: text * (20_000 // len(text))
    for name, text in {
        "brackets": "[", "stars": "*", "parentheses": "(", "ticks": "`", "quotes": "> ",
        "lists": "- ", "images": "![", "wiki": "[[a|", "angles": "<a ", "links": "[x](",
        "anchors": "[x](<", "pipes": "|", "hashes": "#", "underscores": "*a_ ", "comments": "<!--",
        "colons": "[a]: ", "marks": "e\u0301", "returns": "\r", "breaks": "---\n",
    }.items()
} | {
    "nested links": "[a" * 4_000 + "](b)" * 4_000,
    "nested images": "![a" * 3_000 + "](b)" * 3_000,
    "deep lists": "\n".join("  " * depth + "- x" for depth in range(140)),
    "deep quotes": "\n".join(">" * depth + " x" for depth in range(200)),
    "blanks": "a" + " " * 1_000_000 + "b",
    "blanks in a heading": "# a" + " " * 1_000_000 + "b",
    "front matter": "---\n" + "[" * 40_000 + "\n---\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_makes_reading_slow_or_deep(name) -> None:
    started = time.process_time()
    for path in ("a.md", "a.txt"):
        list(passages_of({path: ATTACKS[name]}))
    assert time.process_time() - started < 8


WORDS = st.sampled_from(
    "word~湖水~# ~## ~- ~> ~`~```\n~[x](y.md)~[[n]]~1. ~    ~---\n~===\n~<b>~\\~![~](".split("~")
    + "*~[r]: u\n~&amp;~\t~\n~\n\n~| a |~|-|\n".split("~")
)


@given(st.lists(WORDS, max_size=40).map("".join))
def test_every_word_of_a_document_is_in_a_block(text) -> None:
    blocks = [
        item.block if isinstance(item, Heading) else item for item in parse_blocks(text.split("\n"))
    ]
    assert all(isinstance(block, Block) for block in blocks)
    together = "".join(block.text for block in blocks)
    assert together.count("word") == text.count("word")
    assert together.count("湖水") == text.count("湖水")
