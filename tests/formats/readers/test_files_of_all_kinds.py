"""What each reader makes of its files, and what it refuses, with the file's name and the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hoptrail.errors import FormatError
from hoptrail.formats import read_source
from hoptrail.types import Passage


def passages(path: Path) -> list[Passage]:
    return list(read_source(path))


def links(passage: Passage) -> list[tuple[str, str]]:
    return [(link.target, link.kind) for link in passage.links]


def remarks(path: Path) -> list[str]:
    source = read_source(path)
    return [one.why for one in source.remarks()]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_word_pdf_and_html_become_documents(tmp_path, docx_writer, pdf_writer) -> None:
    docx_writer(tmp_path / "a.docx", "Fram", "She was built in Larvik.")
    pdf_writer(tmp_path / "b.pdf", "Nansen drifted across the Arctic.")
    html = "<html><script>evil()</script><h1>Archer</h1><p>He built <b>boats</b>.</p></html>"
    write(tmp_path / "c.HTM", html)
    (word,) = passages(tmp_path / "a.docx")
    assert (word.id, word.title, word.text) == ("a.docx", "Fram", "She was built in Larvik.")
    (page,) = passages(tmp_path / "b.pdf")
    assert page.text == "Nansen drifted across the Arctic."
    (site,) = passages(tmp_path / "c.HTM")
    assert site.title == "Archer"
    assert "evil" not in site.text


def test_what_cannot_be_converted_is_refused_with_the_reason(tmp_path, pdf_writer) -> None:
    pdf_writer(tmp_path / "scan.pdf", "")
    with pytest.raises(FormatError, match=r"scan\.pdf holds no text; a scan"):
        passages(tmp_path / "scan.pdf")
    for name, start in (("a.pdf", ""), ("b.pdf", "%PDF-1.4\n"), ("c.docx", ""), ("d.docx", "PK")):
        with pytest.raises(FormatError, match=f"{name} cannot be converted"):
            passages(write(tmp_path / name, f"{start}This is no such file."))


def test_a_table_with_texts_is_a_passage_a_row(tmp_path) -> None:
    file = write(
        tmp_path / "t.csv", 'ID;Title;Text;year\nx;Fram;"A ship; of oak.";1892\n;;Tea.;\ny;; ;1\n'
    )
    first, second = passages(file)
    assert (first.id, first.title, first.text) == ("t.csv", "Fram", "A ship; of oak.")
    assert first.metadata == {"source": "t.csv", "year": "1892"}
    assert (second.id, second.title, second.text) == ("t.csv#2", None, "Tea.")
    assert remarks(file) == ["1 rows without text"]


def test_another_table_is_a_document_whose_parts_repeat_the_header(tmp_path) -> None:
    rows = "".join(f"Town {n}\t{n * 1000} | about\n" for n in range(200))
    several = passages(write(tmp_path / "towns.tsv", f"name\tpeople\n{rows}"))
    assert len(several) > 1
    assert all(passage.text.startswith("| name | people |") for passage in several)
    assert "\\| about" in several[0].text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n", "no row below"),
        ("a,a\n1,2\n", "name each column once"),
        ("a,b\n1\n", "line 2: 1 cells under 2"),
        ('a,b\n"1,2\n', "no table"),
        ("id,text\nx,1\nx,2\n", "two rows have the id 'x'"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, complaint) -> None:
    with pytest.raises(FormatError, match=complaint):
        passages(write(tmp_path / "t.csv", text))


def test_a_notebook_is_its_cells(tmp_path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Drift\n", "How the ship drifted."]},
        {"cell_type": "code", "source": "print('```')", "outputs": [{"text": "secret"}]},
    ]
    notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}}
    (passage,) = passages(write(tmp_path / "n.ipynb", json.dumps(notebook)))
    assert passage.title == "Drift"
    assert "````python\nprint('```')\n````" in passage.text
    assert "secret" not in passage.text
    for broken in ({}, {"cells": [{"cell_type": "x", "source": ""}]}, []):
        with pytest.raises(FormatError, match=r"n\.ipynb"):
            passages(write(tmp_path / "n.ipynb", json.dumps(broken)))


def test_a_module_of_python_is_its_functions_and_classes(tmp_path) -> None:
    body = "\n".join(f"    step_{n} = {n}" for n in range(200))
    code = f'"""Sails."""\n\n# Hoists.\n@cache\ndef hoist():\n{body}\n\n\nclass Boat:\n    pass\n'
    several = passages(write(tmp_path / "m.py", code))
    headings = [passage.metadata.get("heading") for passage in several]
    assert {"m.py", "m.py > hoist", "m.py > Boat"} <= set(headings)
    hoist = next(p for p in several if p.metadata["heading"] == "m.py > hoist")
    assert "@cache\ndef hoist()" in hoist.text
    (odd,) = passages(write(tmp_path / "odd.py", "def (:\n"))
    assert odd.text == "def (:"
    assert remarks(tmp_path / "odd.py") == ["it does not parse, and was read as plain text"]
    (other,) = passages(write(tmp_path / "m.go", "package sails // # no heading\n"))
    assert other.text == "package sails // # no heading"


CHATS = [
    {"id": "mon", "messages": [{"role": "user", "content": "Tea?"}, {"role": "x", "content": ""}]},
    {"id": "mon", "messages": [{"role": "user", "content": "Rum?"}]},
]


def test_a_file_of_chats_is_their_turns(tmp_path) -> None:
    file = write(tmp_path / "c.json", json.dumps(CHATS))
    tea, rum = passages(file)
    assert (tea.id, tea.text, tea.metadata["session"]) == ("c.json", "Tea?", "mon (1)")
    assert (rum.id, rum.links, rum.metadata["session"]) == ("c.json#2", (), "mon (2)")
    assert remarks(file) == ["1 messages of the system or of tools, or without words"]
    one = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]
    first, second = passages(write(tmp_path / "d.json", json.dumps(one)))
    assert links(first) == [(second.id, "next")]


def test_an_export_of_chatgpt_is_the_branch_that_was_shown_last(tmp_path) -> None:
    def node(key, parent, role, text, kind="text"):
        content = {"content_type": kind, "parts": [text]}
        message = {"author": {"role": role}, "content": content, "create_time": 1.7e9}
        return {"id": key, "parent": parent, "message": message, "children": []}

    mapping = {
        "root": {"id": "root", "parent": None, "message": None, "children": []},
        "a": node("a", "root", "user", "Where is Larvik?"),
        "b": node("b", "a", "assistant", "In Sweden."),
        "c": node("c", "a", "assistant", "In Norway."),
        "d": node("d", "c", "assistant", "search()", "code"),
        "e": node("e", "d", "user", "Thanks."),
    }
    export = [
        {
            "title": "Larvik",
            "create_time": 1.7e9,
            "conversation_id": "k",
            "mapping": mapping,
            "current_node": "e",
        }
    ]
    file = write(tmp_path / "conversations.json", json.dumps(export))
    turns = passages(file)
    assert [turn.text for turn in turns] == ["Where is Larvik?", "In Norway.", "Thanks."]
    assert turns[0].metadata == {
        "source": "conversations.json",
        "speaker": "user",
        "session": "k",
        "conversation": "Larvik",
        "said_at": "2023-11-14T22:13:20+00:00",
    }
    assert links(turns[1]) == [(turns[2].id, "next")]
    assert len(remarks(file)) == 1
    mapping["a"]["parent"] = "e"
    with pytest.raises(FormatError, match="do not lead back"):
        passages(write(file, json.dumps(export)))


def test_works_of_openalex_cite_one_another(tmp_path) -> None:
    works = [
        {
            "id": "https://openalex.org/W1",
            "title": "Walking",
            "abstract_inverted_index": {"walk": [1], "We": [0, 2], "read.": [3]},
            "publication_year": 2020,
            "authorships": [{"author": {"display_name": "Ada Lind"}}],
            "referenced_works": ["https://openalex.org/W2", "https://openalex.org/W9"],
        },
        {"id": "https://openalex.org/W2", "display_name": "Reading", "referenced_works": []},
        {"id": "https://openalex.org/W3", "title": None, "referenced_works": []},
    ]
    file = write(tmp_path / "w.json", json.dumps({"meta": {}, "results": works}))
    walking, reading = passages(file)
    assert (walking.title, walking.text) == ("Walking", "We walk We read.")
    assert links(walking) == [(reading.id, "cites")]
    assert walking.metadata["cites"] == ["https://openalex.org/W2", "https://openalex.org/W9"]
    assert walking.metadata["authors"] == ["Ada Lind"]
    assert reading.text == "Reading"
    assert remarks(file) == ["1 works without a title or an abstract"]


@pytest.mark.parametrize("text", ["{", "7", "[]", '{"a": 1}', '[{"role": "user"}]', "[" * 99_999])
def test_json_without_a_meaning_is_refused(tmp_path, text) -> None:
    with pytest.raises(FormatError, match=r"x\.json"):
        passages(write(tmp_path / "x.json", text))


BIB = r"""Some words of a program, with an ad@ress.
@string{ns = "Nature" # " of Ships"}
@comment{ @article{no, title={No}} }
@Article{lind2020,
  author = {Lind, Ada and G{\"o}del, K. and {\O}re, {\'{E}}va},
  title  = "The {Fram} \& its {\v{s}}ip",
  journal = ns, year = 2020, month = jan,
  abstract = {How a ship {drifts} across the ice.},
  cites = {archer1892, nobody},
}
@book(archer1892, title = {Boats}, author={Archer, Colin}, publisher={A (b) c}, year=1892)
"""


def test_a_bibliography_is_its_entries(tmp_path) -> None:
    lind, archer = passages(write(tmp_path / "r.bib", BIB))
    assert lind.title == "The Fram & its šip"
    assert lind.text == "How a ship drifts across the ice."
    assert lind.metadata["author"] == "Lind, Ada and Gödel, K. and Øre, Éva"
    assert lind.metadata["journal"] == "Nature of Ships"
    assert (lind.metadata["key"], lind.metadata["type"]) == ("lind2020", "article")
    assert links(lind) == [(archer.id, "cites")]
    assert archer.text == "Archer, Colin. Boats. 1892"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("@book{a, title={x}}\n@book{a, title={y}}", "line 2: the key 'a' is that of line 1"),
        ("\n@book{a, title={x}", "line 2: this entry is not closed"),
        ("@book{a, title={x} author={y} %}", "is no field"),
        ("@book{a, year = unheard}", "'unheard' is no string"),
        ("@book{title = {x}}", "begins with its key"),
        ("@book{a, title = }", "there is no value"),
    ],
)
def test_what_is_no_bibtex_is_refused_with_its_line(tmp_path, text, complaint) -> None:
    with pytest.raises(FormatError, match=complaint):
        passages(write(tmp_path / "r.bib", text))


def test_a_graph_is_its_nodes_and_edges_as_networkx_writes_them(tmp_path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    graph.add_node("ada", text="Ada was born in Varn.", label="Ada", age=36, wise=True)
    graph.add_node("varn", label="Varn")
    graph.add_node("bare")
    graph.add_edge("ada", "varn", relation="born_in", weight=2.0)
    file = tmp_path / "g.graphml"
    networkx.write_graphml(graph, file)
    ada, varn, bare = passages(file)
    assert (ada.id, ada.title, ada.text) == ("g.graphml", "Ada", "Ada was born in Varn.")
    assert ada.metadata == {"source": "g.graphml", "node": "ada", "age": 36, "wise": True}
    assert [(one.target, one.kind, one.weight) for one in ada.links] == [(varn.id, "born_in", 2.0)]
    assert (varn.text, bare.text) == ("Varn", "bare")
    networkx.write_graphml(graph.to_undirected(), file)
    assert links(passages(file)[1]) == [("g.graphml", "born_in")]
    graph.edges["ada", "varn"]["since"] = 1892
    networkx.write_graphml(graph, file)
    with pytest.raises(FormatError, match="ada to varn has since, which no link keeps"):
        passages(file)


@pytest.mark.parametrize(
    "text",
    [
        "<graphml>",
        "<svg/>",
        '<!DOCTYPE x [<!ENTITY a "b">]><graphml/>',
        "<graphml/>",
        '<graphml><graph><node id="a"/><node id="a"/></graph></graphml>',
        '<graphml><graph><node id="a"/><edge source="a" target="b"/></graph></graphml>',
    ],
)
def test_what_is_no_graph_is_refused(tmp_path, text) -> None:
    with pytest.raises(FormatError, match=r"g\.graphml"):
        passages(write(tmp_path / "g.graphml", text))
