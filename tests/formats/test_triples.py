"""Files of triples and of questions about them: what is read, and what is refused by its line."""

from __future__ import annotations

import json

import pytest

from hoptrail.errors import FormatError
from hoptrail.formats.triples import entities, read_entity_questions, read_triples
from hoptrail.types import Link, Passage


def test_entities_become_passages_and_triples_links(tmp_path) -> None:
    file = tmp_path / "kb.txt"
    file.write_text(
        "\ufeffTolle|lies on|Ister Beck\n\nTolle|has_mayor|Ann Ode\n Tolle | has_mayor | Ann Ode \n"
        "Ister Beck\tends in\tTolle\n",
        encoding="utf-8",
    )
    assert list(read_triples(file, ("maps",))) == [
        Passage("Ann Ode", "Ann Ode", namespace=("maps",)),
        Passage("Ister Beck", "Ister Beck", namespace=("maps",), links=(Link("Tolle", "ends in"),)),
        Passage(
            "Tolle",
            "Tolle",
            namespace=("maps",),
            links=(Link("Ann Ode", "has_mayor"), Link("Ister Beck", "lies on")),
        ),
    ]


def test_the_order_of_lines_carries_nothing() -> None:
    triples = [("a", "r", "b"), ("c", "s", "a"), ("a", "q", "c")]
    assert list(entities(triples)) == list(entities(triples[::-1]))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Tolle|lies on", "line 2: a line must be head|relation|tail, got 'Tolle|lies on'"),
        ("Tolle||Ister", "line 2"),
        ("a|b|c|d", "line 2"),
        ("Tolle|~lies on|Ister", "~ marks a relation's inverse"),
        ("x" * 90, "\\.\\.\\."),
    ],
)
def test_what_is_no_triple_is_refused_with_its_line(tmp_path, line, says) -> None:
    file = tmp_path / "kb.txt"
    file.write_text(f"a|b|c\n{line}\n", encoding="utf-8")
    with pytest.raises(FormatError, match=says.replace("|", "\\|")):
        list(read_triples(file))


def test_files_that_cannot_be_read_are_named(tmp_path) -> None:
    with pytest.raises(FormatError, match=r"nowhere\.txt cannot be read"):
        list(read_triples(tmp_path / "nowhere.txt"))
    with pytest.raises(FormatError, match=r"nowhere\.jsonl does not exist"):
        read_entity_questions(tmp_path / "nowhere.jsonl")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9|is|here\n")
    with pytest.raises(FormatError, match="not UTF-8"):
        list(read_triples(tmp_path / "latin.txt"))


def test_questions_with_their_topic_path_and_kind(tmp_path) -> None:
    file = tmp_path / "two-hop.jsonl"
    lines = [
        {"question": "who leads [Tolle]?", "answers": ["Ann Ode"], "topic": "Tolle", "qtype": "m",
         "path": ["has_mayor"]},
        {"id": "mine", "question": "where?", "answers": ["a", "b"], "kind": "k"},
    ]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    first, second = read_entity_questions(file)
    assert first.question.id == "two-hop:1"
    assert first.question.answers == first.question.supporting_ids == ("Ann Ode",)
    assert (first.topic, first.path, first.question.kind) == ("Tolle", ("has_mayor",), "m")
    assert (second.question.id, second.question.kind) == ("mine", "k")
    assert (second.topic, second.path) == (None, ())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"answers": ["a"]}, '"question"'),
        ({"question": " ", "answers": ["a"]}, '"question"'),
        ({"question": "who?", "answers": "a"}, '"answers"'),
        ({"question": "who?", "answers": [""]}, '"answers"'),
        ({"question": "who?", "answers": ["a"], "path": [3]}, '"path"'),
        ({"question": "who?", "answers": ["a"], "topic": 3}, '"topic"'),
    ],
)
def test_a_question_that_cannot_be_used_is_refused(tmp_path, line, says) -> None:
    file = tmp_path / "qa.jsonl"
    file.write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(FormatError, match=f"line 1: {says}"):
        read_entity_questions(file)
