from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoptrail.errors import FormatError
from hoptrail.formats.chunking import CHARACTERS_A_TOKEN, TOKENS, estimated
from hoptrail.formats.documents import passages_of
from hoptrail.formats.jsonl import read_folder, read_source
from hoptrail.types import Link


def write(root, **files) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_md", ".md").replace("_txt", ".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def test_a_folder_becomes_linked_passages(tmp_path) -> None:
    write(
        tmp_path,
        lakes__sorrel_md="# Lake Sorrel\n\nA deep lake, fed by the [Ister Beck](../ister.md).\n",
        ister_md="# Ister Beck\n\nA river.\n\n## Course\n\nIt ends in [the lake](lakes/sorrel.md).",
        notes_txt="Read [this](ister.md) later.",
    )
    beck, course, lake, notes = read_folder(tmp_path)
    assert (beck.id, beck.title, beck.text) == ("ister.md", "Ister Beck", "A river.")
    assert beck.links == (Link("ister.md#2", "next"),)
    assert (course.id, course.title) == ("ister.md#2", "Ister Beck")
    assert course.text == "Course\n\nIt ends in the lake."
    assert course.links == (Link("lakes/sorrel.md"),)
    assert course.metadata == {"source": "ister.md", "heading": "Ister Beck > Course"}
    assert (lake.id, lake.text) == ("lakes/sorrel.md", "A deep lake, fed by the Ister Beck.")
    assert lake.links == (Link("ister.md"),)
    assert (notes.id, notes.title, notes.text) == (
        "notes.txt",
        "notes",
        "Read [this](ister.md) later.",
    )
    assert notes.links == ()


def test_links_find_their_heading_and_leave_out_what_is_not_here() -> None:
    documents = {
        "a b.md": "# One\n\nx\n\n## Two words\n\ny",
        "c.md": (
            "[w](a%20b.md#two-words) [w](<a b.md>) [w](a%20b.md) [w](#down) ![i](a%20b.md)\n"
            "[w](https://x.org/a.md) [w](../up.md) [w](c.md)\n\n# Down\n\n[w](a%20b.md 'title')"
        ),
    }
    found = {passage.id: passage for passage in passages_of(documents)}
    targets = [link.target for link in found["c.md"].links if link.kind == "link"]
    assert targets == ["a b.md#2", "a b.md", "c.md#2"]
    assert [link.target for link in found["c.md#2"].links] == ["a b.md"]


def test_a_hash_in_code_is_no_heading() -> None:
    (only,) = passages_of({"a.md": "# T\n\n```sh\n# comment\n~~~\n# more\n```\nend"})
    assert only.title == "T"
    assert "# comment" in only.text
    assert "# more" in only.text


def test_headings_above_an_empty_one_are_kept() -> None:
    (only,) = passages_of({"a.md": "# T\n## A\n### B ##\ntext"})
    assert only.text == "A > B\n\ntext"


def test_only_headings_are_still_text_and_an_empty_file_is_none() -> None:
    (only,) = passages_of({"plan.md": "# One\n## Two\n", "empty.md": " \n", "empty.txt": ""})
    assert (only.id, only.title, only.text) == ("plan.md", "One", "## Two")
    (only,) = passages_of({"plan.md": "# One\n"})
    assert (only.title, only.text) == ("One", "# One")


def test_a_heading_over_nothing_is_said_where_it_stands() -> None:
    text = "# Plan\n\nFirst.\n\n## Empty\n\n## Also *empty*\n\n## Full\n\nText.\n\n### End\n"
    parts = list(passages_of({"a.md": text}))
    assert [part.text for part in parts] == [
        "First.\n\n## Empty\n\n## Also *empty*",
        "Full\n\nText.\n\n### End",
    ]


def test_long_text_is_cut_between_paragraphs_then_sentences_then_words() -> None:
    sentence = "word " * 59 + "end."
    paragraphs = "\n\n".join([sentence] * 9)
    parts = [part.text.split("\n\n") for part in passages_of({"a.txt": paragraphs})]
    assert all(text == sentence for part in parts for text in part)
    assert [len(part) for part in parts] == [4, 4, 1]
    parts = [part.text for part in passages_of({"a.txt": " ".join([sentence] * 9)})]
    assert [part.count("end.") for part in parts] == [4, 4, 1]
    assert all(part.endswith("end.") for part in parts)
    parts = [part.text.split() for part in passages_of({"a.txt": "word " * 450})]
    assert {word for part in parts for word in part} == {"word"}
    assert sum(map(len, parts)) == 450
    parts = [part.text for part in passages_of({"a.txt": "湖" * 4500})]
    assert "".join(parts) == "湖" * 4500
    assert max(map(len, parts)) <= TOKENS


@given(st.text(st.sampled_from("ab .\n#`湖。|->[]("), max_size=400), st.sampled_from("ab.湖"))
def test_no_letter_is_lost_and_every_chunk_fits(text, letter) -> None:
    for name in ("a.md", "a.markdown", "a.txt"):
        parts = list(passages_of({name: (text + letter) * 20}))
        for part in parts:
            assert part.text.strip()
            assert estimated([part.content])[0] <= TOKENS
            assert len(part.text) <= TOKENS * CHARACTERS_A_TOKEN
        if name == "a.txt":
            together = "".join("".join(part.text.split()) for part in parts)
            assert together == "".join(((text + letter) * 20).split())
        assert [part.id for part in parts] == [
            name if number == 1 else f"{name}#{number}" for number in range(1, len(parts) + 1)
        ]
        following = [[x.target for x in part.links if x.kind == "next"] for part in parts]
        assert [target for row in following for target in row] == [part.id for part in parts[1:]]
        assert {(part.document, part.parts) for part in parts} <= {(name, len(parts))}


def test_hidden_files_are_left_out_and_a_folder_without_text_is_refused(tmp_path) -> None:
    write(tmp_path, **{".git__a_md": "hidden", "_md": "hidden", "picture": "x"})
    with pytest.raises(FormatError, match=r"holds no file of a kind that is read: \.md, "):
        read_folder(tmp_path)


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(FormatError, match=r"a\.txt, line 2: not UTF-8 \(byte 0xe9 at column 4\)"):
        read_folder(tmp_path)


def test_a_source_is_known_by_what_it_is(tmp_path) -> None:
    write(tmp_path, a_md="# A\n\ntext")
    (tmp_path / "c.jsonl").write_text('{"id": "x", "text": "y"}\n')
    assert [passage.id for passage in read_source(tmp_path)] == ["a.md"]
    assert [passage.id for passage in read_source(tmp_path / "a.md")] == ["a.md"]
    assert [passage.id for passage in read_source(tmp_path / "c.jsonl")] == ["x"]
